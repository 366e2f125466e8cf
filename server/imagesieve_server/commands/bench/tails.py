"""Waiting under a load that fits: p99 of each size of picture at 80 % of the most that is
answered ÷ that size's p50 on an idle server.

Calls come when they are due, independent of each other, whatever became of those before; the wait
counts from when a call was due. A call that is not answered has waited for ever. The callers share
the cores and so are late themselves: by how much is said beside, and is part of the figure.

Callers that are independent come in bunches, and who comes in a bunch waits for the others on any
server: what an ideal one would make of the same calls is said beside.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from imagesieve_server.assembly import limits_of
from imagesieve_server.commands.bench import load
from imagesieve_server.commands.bench.crew import Crew
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Ratio, Series, percentile
from imagesieve_server.commands.bench.ideal_server import Coming, IdealMachine, least_p99
from imagesieve_server.commands.bench.parts import open_crew, server_of
from imagesieve_server.commands.bench.pictures import LARGE, MEDIUM, SMALL, Pictures, Size
from imagesieve_server.core.views import Coverage, ViewPlan
from imagesieve_server.encoders.cuda_session import CUDA
from imagesieve_server.images.decode import decode_image

NAME = "tails"
MIX: Mapping[Size, float] = {SMALL: 0.80, MEDIUM: 0.15, LARGE: 0.05}
LOAD = 0.8
_DEADLINE_S = 60.0
_LONGER = 3  # the load lasts so many parts: a p99 needs many calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round found; seconds by size."""

    idle_p50: Mapping[Size, float]
    most: float  # images/s answered when callers never pause
    calls: list[load.Call]
    ideal_p99: Mapping[str, float]  # by name of the size

    def p99(self, size: Size) -> float:
        """Of the calls under load."""
        of_size = [call for call in self.calls if call.kind == size.name]
        return percentile([call.since_due_s if call.ok else math.inf for call in of_size], 0.99)


def measure(bench: Bench) -> list[Ratio]:
    """One ratio for each size."""
    supplies = {size: Pictures(size, different=3) for size in MIX}
    crew = open_crew(bench)
    with server_of(bench) as server:
        rounds = [
            _round(bench, server.target, supplies, crew, number)
            for number in range(bench.effort.rounds)
        ]
    return [_ratio(size, rounds) for size in MIX]


def _ratio(size: Size, rounds: list[Round]) -> Ratio:
    calls = [call for found in rounds for call in found.calls]
    ideal = [found.ideal_p99[size.name] for found in rounds]
    idle = [found.idle_p50[size] for found in rounds]
    return Ratio(
        measure=NAME,
        title=f"{size.name}: p99 at {LOAD:.0%} load ÷ unloaded p50",
        over=Series(what="p99", unit="ms", values=tuple(1000 * r.p99(size) for r in rounds)),
        under=Series(what="p50", unit="ms", values=tuple(1000 * seconds for seconds in idle)),
        aim=Aim(at_most=2 if size is SMALL else 3),
        beside={
            "limit: an ideal server's p99 ÷ the same p50": statistics.median(
                over / under for over, under in zip(ideal, idle, strict=True)
            ),
            "its p99, ms": statistics.median(ideal) * 1000,
            "most, images/s": statistics.median(found.most for found in rounds),
            "calls of this size": str(sum(call.kind == size.name for call in calls)),
            "callers' own lateness, p99 ms": load.lateness_p99_s(calls) * 1000,
        },
    )


def _round(
    bench: Bench, target: str, supplies: Mapping[Size, Pictures], crew: Crew, number: int
) -> Round:
    effort, chance = bench.effort, random.Random(number)
    idle = {
        size: unloaded_p50(target, pictures, effort.seconds / 2)
        for size, pictures in supplies.items()
    }
    answered = asyncio.run(
        load.closed_loop(
            target,
            lambda: supplies[_drawn(chance)].new(),
            callers=effort.callers,
            seconds=effort.seconds,
        )
    )
    most = answered.images_per_s
    machine = IdealMachine(
        runs=crew.timed_again(),
        cores=bench.cores,
        shared=crew.spec.provider != CUDA,
        at_once=crew.at_once,
    )
    decode_s = {size: _decode_s(bench, crew, pictures) for size, pictures in supplies.items()}
    due = _calls_due(LOAD * most, _LONGER * effort.seconds, seed=number)
    calls = asyncio.run(
        load.open_loop(
            target,
            [(at, size.name, supplies[size].new) for at, size in due],
            deadline_s=_DEADLINE_S,
        )
    )
    coming = [Coming(at=at, kind=size.name, decode_s=decode_s[size]) for at, size in due]
    return Round(idle_p50=idle, most=most, calls=calls, ideal_p99=least_p99(machine, coming))


def _decode_s(bench: Bench, crew: Crew, pictures: Pictures) -> float:
    """Seconds of one core until a picture of this size is pixels: the least of some."""
    plan, limits = ViewPlan(coverage=Coverage.CENTRE), limits_of(bench.settings)
    found = []
    for data in pictures.different:
        began = time.perf_counter()
        decode_image(data, plan=plan, preprocessing=crew.spec.preprocessing, limits=limits)
        found.append(time.perf_counter() - began)
    return min(found)


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


def _calls_due(rate: float, seconds: float, *, seed: int) -> list[tuple[float, Size]]:
    """When which size comes: each size at once, then at random times in the mix."""
    times = load.arrivals(rate=rate, seconds=seconds, seed=seed)
    # Not the stream of the times, or large pictures would come after long pauses.
    chance = random.Random(f"sizes {seed}")
    return [(0.0, size) for size in MIX] + [(at, _drawn(chance)) for at in times]
