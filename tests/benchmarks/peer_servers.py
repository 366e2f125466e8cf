"""The contenders as running servers, each for the length of a block.

There are two families of peers. *Tuned* ones run our graphs with ONNX Runtime in dynamic batches of
eight, with the workers and threads that they are given; those *as documented* run the graph that
their users would export (``peer_graphs``), set up as their documentation does. The torch peer makes
the same seeded weights itself.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peer_answers
import peer_calls
from peer_answers import Embedding
from peer_calls import Calls
from peer_graphs import Graph
from peer_processes import no_strays, send
from peer_ratios import Family

from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.bench.process_cost import family_thread_cpu_s
from imagesieve_server.encoders.bundle import load_bundle

HERE = Path(__file__).parent / "peers"
START_S = 180.0
MLSERVER_MODEL = "clip"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A server that runs, and how it is called."""

    name: str
    family: Family
    precision: str
    graph: str  # its kind: a precision, and of int8 as documented how it was made
    pid: int
    calls: Calls
    embedding: Callable[[Any], Embedding] | None  # out of an answer; None: it holds scores

    def processor_s(self) -> dict[int, float]:
        """Seconds on a processor by thread, of the server and everything below it."""
        return family_thread_cpu_s(self.pid)

    def signal(self, number: int) -> None:
        """To the server and all it started."""
        send(number, self.pid)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a peer with ONNX Runtime serves, and how."""

    family: Family
    graph: str
    model: Path
    side: int
    script: str  # its name ends so
    words: tuple[str, ...] = ()  # for the script, after its ports

    def command(self, python: str, server: str, *ports: int) -> list[str]:
        script = HERE / f"{server.lower()}_{self.script}.py"
        given = (self.model.absolute(), self.side, *ports)
        return [python, str(script), *map(str, given), *self.words]


def tuned(bundle: Path, *, workers: int, threads: int) -> Setup:
    """Our graph, so many workers of so many threads each."""
    manifest = load_bundle(bundle).manifest
    return Setup(
        family=Family.TUNED,
        graph=manifest.precision.value,
        model=bundle / "image_encoder.onnx",
        side=manifest.preprocessing.size,
        script="onnx",
        words=(str(workers), str(threads)),
    )


def as_documented(graph: Graph, *, side: int) -> Setup:
    """A graph as users export it, and a server as its documentation sets it up."""
    return Setup(
        family=Family.DOCUMENTED,
        graph=graph.kind,
        model=graph.path,
        side=side,
        script="documented",
    )


@contextmanager
def our_server(bench: Bench) -> Iterator[Contender]:
    """imagesieve with its defaults."""
    precision = bench.bundle.manifest.precision.value
    with server_of(bench) as server:
        yield Contender(
            name=f"ours, {precision}",
            family=Family.OURS,
            precision=precision,
            graph=precision,
            pid=server.process.pid,
            calls=peer_calls.to_ours(server.target),
            embedding=None,
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
                family=Family.DOCUMENTED,
                precision="fp32",
                graph="fp32",
                pid=process.pid,
                calls=peer_calls.to_plain_torch(f"127.0.0.1:{port}"),
                embedding=peer_answers.of_floats,
            )
        finally:
            process.kill()


@contextmanager
def litserve_peer(python: str, setup: Setup) -> Iterator[Contender]:
    """``python`` has litserve and onnxruntime."""
    port = _free_port()
    with _running(setup.command(python, "LitServe", port)) as process:
        _wait(f"http://127.0.0.1:{port}/health", process, "LitServe")
        calls = peer_calls.to_litserve(port)
        yield _peer("LitServe", setup, process, calls, peer_answers.of_json)


@contextmanager
def mlserver_peer(python: str, setup: Setup) -> Iterator[Contender]:
    """``python`` has mlserver and onnxruntime."""
    grpc, http = _free_port(), _free_port()
    with _running(setup.command(python, "MLServer", grpc, http)) as process:
        _wait(f"http://127.0.0.1:{http}/v2/models/{MLSERVER_MODEL}/ready", process, "MLServer")
        calls = peer_calls.to_mlserver(f"127.0.0.1:{grpc}", MLSERVER_MODEL)
        yield _peer("MLServer", setup, process, calls, peer_answers.of_infer_response)


def _peer(
    server: str,
    setup: Setup,
    process: subprocess.Popen[bytes],
    calls: Calls,
    embedding: Callable[[bytes], Embedding],
) -> Contender:
    no_strays(process.pid)
    return Contender(
        name=f"{server} {setup.family}, {setup.graph}",
        family=setup.family,
        precision=setup.graph.partition(" ")[0],
        graph=setup.graph,
        pid=process.pid,
        calls=calls,
        embedding=embedding,
    )


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
