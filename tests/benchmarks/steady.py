"""The rate of a server that is kept busy: between two answers, neither its first nor its last.

Answers come in bursts, a batch at a time. A stretch that begins and ends with the first answer of a
burst holds whole bursts; its length is about what was asked for. Either end is the first answer
after a moment, never the answer of a certain number: of callers who are whole batches the last one
to be answered is the last of a burst, and a stretch from there would lack a burst but for one
answer. What is in flight at the end is waited for but does not count: then fewer and fewer callers
are left, and workers stand idle.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from imagesieve_server.commands.bench.process_cost import spent_between

Processor = dict[int, float]
"""Seconds by thread."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What was answered in a while, and what it cost."""

    images: int
    wall_s: float
    callers_cpu_s: float  # of this process meanwhile
    server_cpu_s: float

    @property
    def images_per_s(self) -> float:
        return self.images / self.wall_s


@dataclass(frozen=True, kw_only=True)
class _Mark:
    answers: int
    wall_s: float
    callers_cpu_s: float
    server: Processor


@dataclass(kw_only=True)
class Steady:
    """One measurement. For one use."""

    warm_s: float  # after as many answers as there are callers; longer than a burst takes to come
    seconds: float
    server: Callable[[], Processor]  # the server's processor time until now
    clock: Callable[[], float] = time.perf_counter
    _answers: int = 0
    _mark_from: float = math.inf
    _marks: list[_Mark] = field(default_factory=list)

    async def of(self, work: Callable[[int], Awaitable[object]], *, callers: int) -> Stretch:
        """``callers`` that each call ``work`` with their number again and again."""

        async def caller(number: int) -> None:
            while len(self._marks) < 2:
                await work(number)
                self._answered(self.clock(), callers)

        await asyncio.gather(*(caller(number) for number in range(callers)))
        first, last = self._marks
        return Stretch(
            images=last.answers - first.answers,
            wall_s=last.wall_s - first.wall_s,
            callers_cpu_s=last.callers_cpu_s - first.callers_cpu_s,
            server_cpu_s=spent_between(first.server, last.server),
        )

    def _answered(self, now: float, callers: int) -> None:
        self._answers += 1
        if self._answers == callers:
            self._mark_from = now + self.warm_s
        elif now >= self._mark_from and len(self._marks) < 2:
            self._mark_from = now + self.seconds
            mark = _Mark(
                answers=self._answers,
                wall_s=now,
                callers_cpu_s=time.process_time(),
                server=self.server(),
            )
            self._marks.append(mark)
