"""A real server in a process of its own, on free loopback ports: for the demo, for tests and
for benchmarks. Knows how ``serve`` is started and stopped, and nothing of what is asked of it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from imagesieve_server.core.errors import StartupError

START_LIMIT_S = 240.0
STOP_LIMIT_S = 60.0
SERVER = "imagesieve_server"
"""The module that is run with ``serve``."""
OWN_SERVER = "imagesieve_server.commands.own_server"
"""The same for commands: on Linux it is gone once the thread that started it is."""
_STARTED = re.compile(r"gRPC on ([^ ]+):(\d+), .* metrics on port (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A server that listens."""

    process: subprocess.Popen[bytes]
    target: str
    metrics_url: str
    log: Path

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by name and labels."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.metrics_url, timeout=10) as page:
            lines = page.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def stop(self) -> int:
        """SIGTERM, and the exit code; one that takes too long, or for which nobody waits any
        more, is killed."""
        self.process.send_signal(signal.SIGTERM)
        with _killed_at_failure(self.process):
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(timeout=STOP_LIMIT_S)
            self.process.kill()
            return self.process.wait()


def launch(
    *,
    folder: Path,
    bundle: Path | None = None,
    policies: Path | None = None,
    module: str = SERVER,
    **settings: str,
) -> LocalServer:
    """Start a server whose queue lives in ``folder`` and wait until it listens.

    ``module`` is told this process's id before ``serve`` where it is not the server as such.
    ``settings`` are environment variables. Raises StartupError with the server's own words.
    """
    told = [] if module == SERVER else [str(os.getpid())]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("IMAGESIEVE__")},
        "IMAGESIEVE__SERVER__ADDRESS": "127.0.0.1:0",
        "IMAGESIEVE__METRICS__ADDRESS": "127.0.0.1:0",
        "IMAGESIEVE__QUEUE__DATABASE": str(folder / "queue.sqlite3"),
        "IMAGESIEVE__QUEUE__EVIDENCE": str(folder / "evidence"),
        "IMAGESIEVE__SERVER__DRAIN_SECONDS": "2",
        "IMAGESIEVE__LOG__LEVEL": "warning",
        **settings,
    }
    if bundle is not None:
        environment["IMAGESIEVE__MODEL__BUNDLE"] = str(bundle)
    if policies is not None:
        environment["IMAGESIEVE__POLICIES__FOLDER"] = str(policies)
    log = folder / f"server-{time.monotonic_ns()}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *told, "serve"], env=environment, stderr=sink
        )
    with _killed_at_failure(process):
        host, port, metrics = _started(process, log)
    return LocalServer(
        process=process,
        target=f"{host}:{port}",
        metrics_url=f"http://127.0.0.1:{metrics}/metrics",
        log=log,
    )


def _started(process: subprocess.Popen[bytes], log: Path) -> tuple[str, str, str]:
    """Host, port and port of the metrics, once it listens. Raises StartupError."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := _STARTED.search(log.read_text(errors="replace")):
            host, port, metrics = found.groups()
            return host, port, metrics
        time.sleep(0.02)
    raise _not_started(process, log)


def _not_started(process: subprocess.Popen[bytes], log: Path) -> StartupError:
    """How far it came, with what it said, if anything."""
    status = process.poll()
    how = (
        f"was not ready within {START_LIMIT_S:g} s; is this machine very busy?"
        if status is None
        else f"ended with status {status}"
    )
    said = log.read_text(errors="replace") or "(it said nothing)"
    return StartupError(f"the server did not start, it {how}\n{said}")


@contextmanager
def _killed_at_failure(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever comes out of the block, Ctrl-C among it: nobody will stop the process later."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise


@contextmanager
def start_server(
    *,
    folder: Path,
    bundle: Path | None = None,
    policies: Path | None = None,
    module: str = SERVER,
    **settings: str,
) -> Iterator[LocalServer]:
    """A server for the length of a block. Raises StartupError where it ends with a failure."""
    server = launch(folder=folder, bundle=bundle, policies=policies, module=module, **settings)
    try:
        yield server
    finally:
        code = server.stop() if server.process.poll() is None else server.process.returncode
    if code != 0:
        raise StartupError(f"the server ended with {code}:\n{server.log.read_text()}")
