"""What the server's own process spends on an image outside decoding and encoding ÷ what a bare
gRPC server spends on taking the same bytes.

Processor time, read from the kernel: all threads of the server's process but the encoder's, one for
each session. Decoding is in other processes; handing pictures to them and pixels back is in
the figure. The demo's encoder serves, for it is fast and the cost does not depend on it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import grpc

from imagesieve_server.commands.bench import echo_server, load, named_server
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Ratio, Series
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.bench.pictures import SMALL, Pictures
from imagesieve_server.commands.bench.process_cost import spent_between, thread_cpu_s
from imagesieve_server.commands.local_server import LocalServer
from imagesieve_server.core.errors import StartupError
from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders.bundle import load_bundle

NAME = "call-cost"
MESSAGE = 16  # images of a large message


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Processor seconds an image."""

    unary: float
    messages: float
    echo: float
    take: float


def measure(bench: Bench) -> list[Ratio]:
    """Unary calls and messages of 16, each ÷ a bare echo and ÷ a bare call with a short answer."""
    demo = replace(bench, bundle=load_bundle(DEMO_BUNDLE))
    pictures = Pictures(SMALL)
    module = named_server.__name__
    with (
        server_of(demo, module=module, IMAGESIEVE__MODEL__THREADS="1") as server,
        _bare_server() as (bare, target),
    ):
        encoder = _encoder_threads(server)
        rounds = [
            asyncio.run(_round(demo, server, encoder, bare, target, pictures))
            for _ in range(bench.effort.rounds)
        ]
    sizes = {"kB a picture": len(pictures.different[0]) / 1000}
    return [
        Ratio(
            measure=NAME,
            title=f"{what}, processor time ÷ {bare_name}",
            over=Series(what=what, unit="ms an image", values=tuple(over)),
            under=Series(what=bare_name, unit="ms", values=tuple(under)),
            aim=aim,
            beside=sizes,
        )
        for what, over, limit in (
            ("unary", [r.unary * 1000 for r in rounds], 1.5),
            (f"messages of {MESSAGE}", [r.messages * 1000 for r in rounds], 0.3),
        )
        for bare_name, under, aim in (
            ("a bare unary echo", [r.echo * 1000 for r in rounds], Aim(at_most=limit)),
            ("a bare unary call with a short answer", [r.take * 1000 for r in rounds], None),
        )
    ]


async def _round(
    bench: Bench,
    server: LocalServer,
    encoder: frozenset[int],
    bare: int,
    target: str,
    pictures: Pictures,
) -> Round:
    ours, pid = server.target, server.process.pid
    return Round(
        unary=await _cost(bench, ours, pid, _unary(pictures), without=encoder),
        echo=await _cost(bench, target, bare, _bare(echo_server.ECHO, pictures)),
        messages=await _cost(bench, ours, pid, _batch(pictures), without=encoder, images=MESSAGE),
        take=await _cost(bench, target, bare, _bare(echo_server.TAKE, pictures)),
    )


Call = Callable[[grpc.aio.Channel], Awaitable[None]]


async def _cost(
    bench: Bench,
    target: str,
    pid: int,
    call: Call,
    *,
    without: frozenset[int] = frozenset(),
    images: int = 1,
) -> float:
    """Processor seconds of ``pid`` an image while callers repeat ``call``."""
    callers = max(1, bench.effort.callers // images)
    async with load.channels(target, callers=callers) as found:

        async def one(number: int) -> int:
            await call(found[number % len(found)])
            return images

        await load.repeat(one, callers=callers, seconds=0.1, images=images)
        before = thread_cpu_s(pid)
        answered = await load.repeat(
            one, callers=callers, seconds=bench.effort.seconds, images=images
        )
        spent = spent_between(before, thread_cpu_s(pid), without=without)
    return spent / answered.images


def _unary(pictures: Pictures) -> Call:
    async def call(channel: grpc.aio.Channel) -> None:
        stub = load.stub_of(channel)
        await load.moderate(stub, load.request_of(pictures.new()), timeout_s=load.PATIENCE_S)

    return call


def _batch(pictures: Pictures) -> Call:
    async def call(channel: grpc.aio.Channel) -> None:
        await load.moderate_batch(
            load.stub_of(channel),
            [load.request_of(pictures.new()) for _ in range(MESSAGE)],
        )

    return call


def _bare(method: str, pictures: Pictures) -> Call:
    async def call(channel: grpc.aio.Channel) -> None:
        request = load.request_of(pictures.new())
        bare: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        await bare(request.SerializeToString(), timeout=load.PATIENCE_S)

    return call


@contextmanager
def _bare_server() -> Iterator[tuple[int, str]]:
    """Process id and target of a bare server."""
    with subprocess.Popen(
        [sys.executable, "-m", echo_server.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().strip().decode()
        if not port:
            raise StartupError("the bare server did not start")
        try:
            yield process.pid, f"127.0.0.1:{port}"
        finally:
            process.stdin.close()


def _encoder_threads(server: LocalServer) -> frozenset[int]:
    """Their numbers, as the kernel has them; the server wrote them before it listened."""
    lines = server.log.read_text(errors="replace").splitlines()
    told = [line for line in lines if line.startswith(named_server.LINE)]
    if not told:
        raise StartupError("the server did not say which threads are the encoder's")
    return frozenset(int(line.removeprefix(named_server.LINE)) for line in told)
