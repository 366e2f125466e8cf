"""A server that has just said it is ready: the first request ÷ those after it, for each size of
batch a server of its own; how long it took to be ready, and what it then holds.

One request is compared with the median of several, so chance alone makes some ratios large. The
control is the same ratio of requests that were not the first.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imagesieve_server.commands.bench import load
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.figures import Aim, Amount, Figure, Ratio, Series
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.bench.pictures import SMALL, Pictures
from imagesieve_server.commands.bench.policies import write_policies
from imagesieve_server.commands.bench.process_cost import family_cpu_s, resident_bytes

NAME = "first-calls"
BATCHES = (1, 4, 16)  # images of a message
_AFTER = 7  # messages after the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The messages to one fresh server, in their order. Seconds each."""

    wall_s: Sequence[float]
    cpu_s: Sequence[float]  # of the server and the processes below it

    def __post_init__(self) -> None:
        if len(self.wall_s) < 3 or len(self.wall_s) != len(self.cpu_s):
            raise ValueError("a first message, and at least two after it, with both times")


Pair = tuple[float, float]
"""One message, and the median of those it is compared with; seconds."""


def first_of(seconds: Sequence[float]) -> Pair:
    """The first message and those after it."""
    return seconds[0], statistics.median(seconds[1:])


def later_of(seconds: Sequence[float], at: int) -> Pair:
    """The message ``at`` ≥ 1, and all others but the first."""
    return seconds[at], statistics.median([*seconds[1:at], *seconds[at + 1 :]])


def slowest(rounds: Sequence[Sequence[Sent]], pair: Callable[[Sent], Pair]) -> int:
    """Which size of batch has the greatest ratio, by the median of its rounds.

    The greatest of each round's would be great by chance alone. ``rounds`` has a server for each
    size of batch, in the same order in each.
    """

    def ratio(size: int) -> float:
        pairs = (pair(sizes[size]) for sizes in rounds)
        return statistics.median(one / others for one, others in pairs)

    return max(range(len(rounds[0])), key=ratio)


def measure(bench: Bench) -> list[Figure]:
    """The slowest batch size's first message, a control, and the costs of a start."""
    pictures = Pictures(SMALL)
    write_policies(bench.folder, bench.bundle)  # not part of a start
    rounds: list[list[Sent]] = []
    ready: list[float] = []
    resident: list[float] = []
    for _ in range(bench.effort.rounds):
        found = []
        for batch in BATCHES:
            began = time.perf_counter()
            with server_of(bench) as server:
                ready.append(time.perf_counter() - began)
                pid = server.process.pid
                found.append(asyncio.run(_messages(server.target, pid, pictures, batch)))
                resident.append(resident_bytes(pid) / 1e6)
        rounds.append(found)
    return [
        *_ratios(rounds),
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


def _ratios(rounds: Sequence[Sequence[Sent]]) -> list[Ratio]:
    def control(sent: Sent, at: int = 1 + _AFTER // 2) -> Pair:
        return later_of(sent.wall_s, at)

    return [
        _ratio(
            rounds,
            lambda sent: first_of(sent.wall_s),
            title="slowest first request of any batch size ÷ those after it",
            what="first",
            aim=Aim(at_most=1.2),
        ),
        _ratio(
            rounds,
            control,
            title="the same of one that was not the first, by chance",
            what="a later one",
        ),
        _ratio(
            rounds,
            lambda sent: first_of(sent.cpu_s),
            title="the server's processor time for the first ÷ for those after it",
            what="first",
        ),
    ]


def _ratio(
    rounds: Sequence[Sequence[Sent]],
    pair: Callable[[Sent], Pair],
    *,
    title: str,
    what: str,
    aim: Aim | None = None,
) -> Ratio:
    at = slowest(rounds, pair)
    pairs = [pair(sizes[at]) for sizes in rounds]
    return Ratio(
        measure=NAME,
        title=title,
        over=Series(what=what, unit="ms", values=tuple(one * 1000 for one, _ in pairs)),
        under=Series(what="the others", unit="ms", values=tuple(all_ * 1000 for _, all_ in pairs)),
        aim=aim,
        beside={"images a message": str(BATCHES[at]), "of": ", ".join(map(str, BATCHES))},
    )


def _of_rounds(values: list[float]) -> tuple[float, ...]:
    """The median of each round's starts."""
    starts = len(BATCHES)
    parts = (values[at : at + starts] for at in range(0, len(values), starts))
    return tuple(statistics.median(part) for part in parts)


async def _messages(target: str, pid: int, pictures: Pictures, batch: int) -> Sent:
    """So many messages one after the other, each picture new."""
    wall_s, cpu_s = [], []
    async with load.channels(target, callers=1) as (channel,):
        stub = load.stub_of(channel)
        for _ in range(1 + _AFTER):
            requests = [load.request_of(pictures.new()) for _ in range(batch)]
            spent = family_cpu_s(pid)
            began = time.perf_counter()
            await load.moderate_batch(stub, requests)
            wall_s.append(time.perf_counter() - began)
            cpu_s.append(family_cpu_s(pid) - spent)
    return Sent(wall_s=wall_s, cpu_s=cpu_s)
