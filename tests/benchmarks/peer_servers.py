"""The contenders as running servers, each for the length of a block.

The peers with ONNX Runtime run our graphs, in dynamic batches of eight, with the workers and
threads that they are given; the torch peer's model has other seeded weights and costs the same.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import peer_calls
from peer_calls import Calls

from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.bench.process_cost import family
from imagesieve_server.encoders.bundle import load_bundle

HERE = Path(__file__).parent / "peers"
START_S = 180.0
MLSERVER_MODEL = "clip"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A server that runs, and how it is called."""

    name: str
    precision: str
    ours: bool
    pid: int
    calls: Calls

    def signal(self, number: int) -> None:
        """To the server and everything below it."""
        send(number, self.pid)


def send(number: int, pid: int) -> None:
    """A signal to a process and everything below it; what ended meanwhile needs none."""
    for member in family(pid):
        with suppress(ProcessLookupError):
            os.kill(member, number)


@dataclass(frozen=True, kw_only=True)
class Cores:
    """How a peer with ONNX Runtime divides the machine."""

    workers: int
    threads: int  # of each worker


@contextmanager
def our_server(bench: Bench) -> Iterator[Contender]:
    """imagesieve with its defaults."""
    precision = bench.bundle.manifest.precision.value
    with server_of(bench) as server:
        yield Contender(
            name=f"ours, {precision}",
            precision=precision,
            ours=True,
            pid=server.process.pid,
            calls=peer_calls.to_ours(server.target),
        )


@contextmanager
def torch_peer(arch: str) -> Iterator[Contender]:
    """grpc.aio and open_clip in torch."""
    command = [sys.executable, str(HERE / "plain_torch.py"), arch]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield Contender(
                name="grpc.aio + open_clip in torch, fp32",
                precision="fp32",
                ours=False,
                pid=process.pid,
                calls=peer_calls.to_plain_torch(f"127.0.0.1:{port}"),
            )
        finally:
            process.kill()


@contextmanager
def litserve_peer(python: str, bundle: Path, cores: Cores) -> Iterator[Contender]:
    """LitServe on the bundle's graph. ``python`` has litserve and onnxruntime."""
    port = _free_port()
    words = [*_graph(bundle), str(port), str(cores.workers), str(cores.threads)]
    with _running([python, str(HERE / "litserve_onnx.py"), *words]) as process:
        _wait(f"http://127.0.0.1:{port}/health", process, "LitServe")
        yield _peer("LitServe", bundle, process, peer_calls.to_litserve(port))


@contextmanager
def mlserver_peer(python: str, bundle: Path, cores: Cores) -> Iterator[Contender]:
    """MLServer on the bundle's graph. ``python`` has mlserver and onnxruntime."""
    grpc, http = _free_port(), _free_port()
    words = [*_graph(bundle), str(grpc), str(http), str(cores.workers), str(cores.threads)]
    with _running([python, str(HERE / "mlserver_onnx.py"), *words]) as process:
        _wait(f"http://127.0.0.1:{http}/v2/models/{MLSERVER_MODEL}/ready", process, "MLServer")
        calls = peer_calls.to_mlserver(f"127.0.0.1:{grpc}", MLSERVER_MODEL)
        yield _peer("MLServer", bundle, process, calls)


def _peer(name: str, bundle: Path, process: subprocess.Popen[bytes], calls: Calls) -> Contender:
    precision = load_bundle(bundle).manifest.precision.value
    return Contender(
        name=f"{name} + ONNX Runtime, {precision}",
        precision=precision,
        ours=False,
        pid=process.pid,
        calls=calls,
    )


def _graph(bundle: Path) -> list[str]:
    side = load_bundle(bundle).manifest.preprocessing.size
    return [str((bundle / "image_encoder.onnx").absolute()), str(side)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a session of its own, killed at the end with all it started."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    process = subprocess.Popen(
        command, start_new_session=True, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        send(signal.SIGKILL, process.pid)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], name: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with opener.open(url, timeout=5) as page:
                if page.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"{name} did not start")
