"""More than the server can do: what it still answers in time ÷ its most, and how fast it refuses
÷ an answer of an idle server.

Calls come at twice and at ten times the most that is answered, with a deadline of two seconds, and
nobody comes again. Counted from when the first deadline has passed, so that a queue that fills at
first does not hide what comes after. Server and callers have cores of their own, the same for every
figure, so that neither ten times the callers nor what they cost is measured.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from typing import TypeAlias

from imagesieve_server.commands.bench.caller import Order, Outcome
from imagesieve_server.commands.bench.callers_apart import (
    Callers,
    Shares,
    server_and_callers,
    shares_of,
)
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Figure, Ratio, Series, percentile

NAME = "overload"
FACTORS = (2, 10)
DEADLINE_S = 2.0
_WARM_S = 0.5

Rounds: TypeAlias = list[Outcome]


def measure(bench: Bench) -> list[Figure]:
    """Goodput and refusals at each factor."""
    idle: Rounds = []
    most: Rounds = []
    pressed: dict[int, Rounds] = {factor: [] for factor in FACTORS}
    shares = shares_of(os.sched_getaffinity(0))
    with server_and_callers(bench, shares) as (server, callers):
        for number in range(bench.effort.rounds):
            idle.append(_idle(callers, server.target, bench.effort.seconds / 4))
            most.append(
                callers.do(
                    Order(
                        target=server.target,
                        seconds=bench.effort.seconds,
                        since_s=_WARM_S,
                        callers=bench.effort.callers,
                    )
                )
            )
            for factor, rounds in pressed.items():
                rounds.append(
                    callers.do(
                        Order(
                            target=server.target,
                            seconds=bench.effort.seconds,
                            since_s=DEADLINE_S,
                            rate=factor * most[-1].rate,
                            deadline_s=DEADLINE_S,
                            seed=number,
                        )
                    )
                )
    return [
        figure
        for factor, found in pressed.items()
        for figure in figures_of(factor, found, most=most, idle=idle, shares=shares)
    ]


def _idle(callers: Callers, target: str, seconds: float) -> Outcome:
    callers.do(Order(target=target, seconds=0.01, callers=1))  # opens the connection's windows
    return callers.do(Order(target=target, seconds=seconds, callers=1))


def figures_of(
    factor: int, found: Rounds, *, most: Rounds, idle: Rounds, shares: Shares
) -> Iterator[Ratio]:
    """The goodput, and what a refusal took where there were any."""
    beside: dict[str, float | str] = {
        "really offered ÷ most": statistics.median(
            one.sent / one.seconds / top.rate for one, top in zip(found, most, strict=True)
        ),
        "refused": str(sum(len(one.refusals_s) for one in found)),
        "past their deadline": str(sum(one.late for one in found)),
        "callers' processor time a call, ms": 1000
        * sum(one.cpu_s for one in found)
        / max(1, sum(one.sent for one in found)),
        "callers' own lateness, p99 ms": max(one.lateness_p99_s for one in found) * 1000,
        **shares.beside,
    }
    yield Ratio(
        measure=NAME,
        title=f"goodput at {factor} times the most ÷ the most",
        over=Series(
            what="answered in time", unit="images/s", values=tuple(one.rate for one in found)
        ),
        under=Series(what="most", unit="images/s", values=tuple(one.rate for one in most)),
        aim=Aim(at_least=0.95),
        beside=beside,
    )
    refusing = [
        (percentile(one.refusals_s, 0.99) * 1000, percentile(alone.waits_s, 0.5) * 1000)
        for one, alone in zip(found, idle, strict=True)
        if one.refusals_s
    ]
    if refusing:
        yield Ratio(
            measure=NAME,
            title=f"p99 of a refusal at {factor} times the most ÷ unloaded p50",
            over=Series(what="p99", unit="ms", values=tuple(p99 for p99, _ in refusing)),
            under=Series(what="p50", unit="ms", values=tuple(p50 for _, p50 in refusing)),
            aim=Aim(at_most=0.2),
            beside=beside,
        )
