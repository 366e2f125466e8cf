"""A server that has just said it is ready: the first request ÷ those after it, for each size of
batch a server of its own; how long it took to be ready, and what it then holds."""

from __future__ import annotations

import asyncio
import statistics
import time

from imagesieve_server.commands.bench import load
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Amount, Figure, Ratio, Series
from imagesieve_server.commands.bench.parts import server_of, write_policies
from imagesieve_server.commands.bench.pictures import SMALL, Pictures
from imagesieve_server.commands.bench.process_cost import resident_bytes

NAME = "first-calls"
BATCHES = (1, 4, 16)  # images of the first message
_AFTER = 3  # messages after the first


def measure(bench: Bench) -> list[Figure]:
    """The worst batch size of each round, and the costs of a start."""
    pictures = Pictures(SMALL)
    write_policies(bench.folder, bench.bundle)  # not part of a start
    worst: list[tuple[float, float]] = []
    ready: list[float] = []
    resident: list[float] = []
    for _ in range(bench.effort.rounds):
        found = []
        for batch in BATCHES:
            began = time.perf_counter()
            with server_of(bench) as server:
                ready.append(time.perf_counter() - began)
                found.append(asyncio.run(_messages(server.target, pictures, batch)))
                resident.append(resident_bytes(server.process.pid) / 1e6)
        worst.append(max(found, key=lambda pair: pair[0] / pair[1]))
    return [
        Ratio(
            measure=NAME,
            title="slowest first request of any batch size ÷ those after it",
            over=Series(what="first", unit="ms", values=tuple(s * 1000 for s, _ in worst)),
            under=Series(what="after it", unit="ms", values=tuple(s * 1000 for _, s in worst)),
            aim=Aim(at_most=1.2),
            beside={"batch sizes": ", ".join(map(str, BATCHES))},
        ),
        Amount(
            measure=NAME,
            title="from start to ready",
            of=Series(what="start", unit="s", values=_of_rounds(ready)),
        ),
        Amount(
            measure=NAME,
            title="resident memory of all processes after some requests",
            of=Series(what="memory", unit="MB", values=_of_rounds(resident)),
        ),
    ]


def _of_rounds(values: list[float]) -> tuple[float, ...]:
    """The median of each round's starts."""
    starts = len(BATCHES)
    parts = (values[at : at + starts] for at in range(0, len(values), starts))
    return tuple(statistics.median(part) for part in parts)


async def _messages(target: str, pictures: Pictures, batch: int) -> tuple[float, float]:
    """Seconds of the first message and the median of those after it."""
    waits = []
    async with load.channels(target, callers=1) as (channel,):
        stub = load.stub_of(channel)
        for _ in range(1 + _AFTER):
            requests = [load.request_of(pictures.new()) for _ in range(batch)]
            began = time.perf_counter()
            await load.moderate_batch(stub, requests)
            waits.append(time.perf_counter() - began)
    return waits[0], statistics.median(waits[1:])
