"""More than the server can do: what it still answers in time ÷ its most, and how fast it refuses
÷ an answer of an idle server.

Calls come at twice and at ten times the most that is answered, with a deadline of two seconds, and
nobody comes again. Counted from when the first deadline has passed, so that a queue that fills at
first does not hide what comes after. The callers are on the same cores and cost the more the more
they offer; what they took is said beside.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from imagesieve_server.commands.bench import load
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import (
    Aim,
    Figure,
    Ratio,
    Series,
    percentile,
    without_callers,
)
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.bench.pictures import SMALL, Pictures
from imagesieve_server.commands.bench.tails import unloaded_p50

NAME = "overload"
FACTORS = (2, 10)
DEADLINE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """What one offering got, from the first deadline on."""

    goodput: float  # answers/s
    offered: float  # calls/s that were really sent
    refused: int
    refusal_p99_s: float | None  # None where nothing was refused
    late: int  # neither answered nor refused within the deadline
    callers_cores: float  # processors that the callers took
    lateness_p99_s: float  # of the callers: from when a call was due to when it was sent


def measure(bench: Bench) -> list[Figure]:
    """Goodput and refusals at each factor."""
    pictures = Pictures(SMALL)
    most: list[load.Answered] = []
    idle: list[float] = []
    pressed: dict[int, list[Pressed]] = {factor: [] for factor in FACTORS}
    with server_of(bench) as server:
        for number in range(bench.effort.rounds):
            idle.append(unloaded_p50(server.target, pictures, bench.effort.seconds / 4))
            answered = asyncio.run(
                load.closed_loop(
                    server.target,
                    pictures.new,
                    callers=bench.effort.callers,
                    seconds=bench.effort.seconds,
                )
            )
            most.append(answered)
            for factor in FACTORS:
                rate = factor * answered.images_per_s
                pressed[factor].append(_press(bench, server.target, pictures, rate, number))
    return [
        figure
        for factor, found in pressed.items()
        for figure in _figures(factor, found, most=most, idle=idle, cores=bench.cores)
    ]


def _press(bench: Bench, target: str, pictures: Pictures, rate: float, seed: int) -> Pressed:
    seconds = bench.effort.seconds
    times = load.arrivals(rate=rate, seconds=DEADLINE_S + seconds, seed=seed)
    due = [(at, SMALL.name, pictures.new) for at in times]

    async def run() -> tuple[list[load.Call], float]:
        """The calls, and the callers' processors in the part that counts."""
        offering = asyncio.create_task(load.open_loop(target, due, deadline_s=DEADLINE_S))
        await asyncio.sleep(DEADLINE_S)
        cpu, started = time.process_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        cores = (time.process_time() - cpu) / (time.perf_counter() - started)
        return await offering, cores

    calls, cores = asyncio.run(run())
    return summed_up(calls, seconds=seconds, callers_cores=cores)


def summed_up(calls: list[load.Call], *, seconds: float, callers_cores: float) -> Pressed:
    """Calls that ended in the ``seconds`` after the first deadline."""
    end = DEADLINE_S + seconds
    sent = [call for call in calls if DEADLINE_S <= call.ended_at - call.since_sent_s < end]
    ended = [call for call in calls if DEADLINE_S <= call.ended_at < end]
    refusals = [call.since_sent_s for call in ended if call.refused]
    return Pressed(
        goodput=sum(call.ok for call in ended) / seconds,
        offered=len(sent) / seconds,
        refused=len(refusals),
        refusal_p99_s=percentile(refusals, 0.99) if refusals else None,
        late=sum(not call.ok and not call.refused for call in ended),
        callers_cores=callers_cores,
        lateness_p99_s=load.lateness_p99_s(calls),
    )


def _figures(
    factor: int,
    found: list[Pressed],
    *,
    most: list[load.Answered],
    idle: list[float],
    cores: int,
) -> Iterator[Figure]:
    rates = [answered.images_per_s for answered in most]
    beside: dict[str, float | str] = {
        "really offered ÷ most": statistics.median(
            one.offered / top for one, top in zip(found, rates, strict=True)
        ),
        "refused": str(sum(one.refused for one in found)),
        "past their deadline": str(sum(one.late for one in found)),
        "processors the callers took": statistics.median(one.callers_cores for one in found),
        "callers' own lateness, p99 ms": max(one.lateness_p99_s for one in found) * 1000,
    }
    yield _goodput(factor, "", [one.goodput for one in found], rates, beside)
    yield _goodput(
        factor,
        ", callers' time taken out",
        [_free(one.goodput, one.callers_cores, cores) for one in found],
        [_free(one.images_per_s, one.callers_cpu_s / one.wall_s, cores) for one in most],
        beside,
    )
    refusing = [
        (one.refusal_p99_s, p50)
        for one, p50 in zip(found, idle, strict=True)
        if one.refusal_p99_s is not None
    ]
    if refusing:
        yield Ratio(
            measure=NAME,
            title=f"p99 of a refusal at {factor} times the most ÷ unloaded p50",
            over=Series(what="p99", unit="ms", values=tuple(s * 1000 for s, _ in refusing)),
            under=Series(what="p50", unit="ms", values=tuple(s * 1000 for _, s in refusing)),
            aim=Aim(at_most=0.2),
            beside=beside,
        )


def _goodput(
    factor: int,
    said: str,
    answered: list[float],
    most: list[float],
    beside: Mapping[str, float | str],
) -> Ratio:
    return Ratio(
        measure=NAME,
        title=f"goodput at {factor} times the most ÷ the most{said}",
        over=Series(what="answered in time", unit="images/s", values=tuple(answered)),
        under=Series(what="most", unit="images/s", values=tuple(most)),
        aim=Aim(at_least=0.95),
        beside=beside,
    )


def _free(rate: float, callers_cores: float, cores: int) -> float:
    return without_callers(rate, callers_cpu_s=callers_cores, wall_s=1.0, cores=cores)
