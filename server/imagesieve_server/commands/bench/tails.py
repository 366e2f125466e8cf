"""Waiting under a load that fits: p99 of each size of picture at 80 % of the most that is
answered ÷ that size's p50 on an idle server.

Calls come when they are due, independent of each other, whatever became of those before; the wait
counts from when a call was due. A call that is not answered has waited for ever. The callers share
the cores and so are late themselves: by how much is said beside, and is part of the figure.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
from collections.abc import Mapping

from imagesieve_server.commands.bench import load
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Ratio, Series, percentile
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.bench.pictures import LARGE, MEDIUM, SMALL, Pictures, Size

NAME = "tails"
MIX: Mapping[Size, float] = {SMALL: 0.80, MEDIUM: 0.15, LARGE: 0.05}
LOAD = 0.8
_DEADLINE_S = 60.0
_LONGER = 3  # the load lasts so many parts: a p99 needs many calls


def measure(bench: Bench) -> list[Ratio]:
    """One ratio for each size."""
    supplies = {size: Pictures(size, different=3) for size in MIX}
    idle: dict[Size, list[float]] = {size: [] for size in MIX}
    busy: dict[Size, list[float]] = {size: [] for size in MIX}
    most: list[float] = []
    calls: list[load.Call] = []
    with server_of(bench) as server:
        for number in range(bench.effort.rounds):
            chance = random.Random(number)
            for size, pictures in supplies.items():
                idle[size].append(unloaded_p50(server.target, pictures, bench.effort.seconds / 2))
            answered = asyncio.run(
                load.closed_loop(
                    server.target,
                    lambda: supplies[_drawn(chance)].new(),  # noqa: B023  # runs at once
                    callers=bench.effort.callers,
                    seconds=bench.effort.seconds,
                )
            )
            most.append(answered.images_per_s)
            found = asyncio.run(_loaded(bench, server.target, supplies, most[-1], seed=number))
            calls += found
            for size in MIX:
                waits = [
                    call.since_due_s if call.ok else math.inf
                    for call in found
                    if call.kind == size.name
                ]
                busy[size].append(percentile(waits, 0.99))
    return [
        Ratio(
            measure=NAME,
            title=f"{size.name}: p99 at {LOAD:.0%} load ÷ unloaded p50",
            over=Series(what="p99", unit="ms", values=tuple(s * 1000 for s in busy[size])),
            under=Series(what="p50", unit="ms", values=tuple(s * 1000 for s in idle[size])),
            aim=Aim(at_most=2 if size is SMALL else 3),
            beside={
                "most, images/s": statistics.median(most),
                "calls of this size": str(sum(call.kind == size.name for call in calls)),
                "callers' own lateness, p99 ms": load.lateness_p99_s(calls) * 1000,
            },
        )
        for size in MIX
    ]


def unloaded_p50(target: str, pictures: Pictures, seconds: float) -> float:
    """Seconds until the answer with nobody else there; three calls at least."""

    async def run() -> list[float]:
        waits: list[float] = []
        async with load.channels(target, callers=1) as (channel,):
            stub = load.stub_of(channel)
            while len(waits) < 4 or sum(waits) < seconds:
                waits.append(await load.timed(stub, load.request_of(pictures.new())))
        return waits[1:]  # the first opens the connection's windows

    return percentile(asyncio.run(run()), 0.5)


def _drawn(chance: random.Random) -> Size:
    return chance.choices(list(MIX), weights=list(MIX.values()))[0]


async def _loaded(
    bench: Bench, target: str, supplies: Mapping[Size, Pictures], most: float, *, seed: int
) -> list[load.Call]:
    times = load.arrivals(rate=LOAD * most, seconds=_LONGER * bench.effort.seconds, seed=seed)
    chance = random.Random(seed)
    drawn = [*MIX, *(_drawn(chance) for _ in times)]  # each size once at least
    due = [
        (at, size.name, supplies[size].new)
        for at, size in zip([0.0] * len(MIX) + times, drawn, strict=True)
    ]
    return await load.open_loop(target, due, deadline_s=_DEADLINE_S)
