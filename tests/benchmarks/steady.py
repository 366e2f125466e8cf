"""The rate of a server that is kept busy: between two answers, neither its first nor its last.

Answers come in bursts, a batch at a time. A stretch that begins and ends with the first answer of a
burst holds whole bursts; its length is about what was asked for. What is in flight at its end is
waited for but does not count: then fewer and fewer callers are left, and workers stand idle.
"""

from __future__ import annotations

import asyncio
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

    warm_s: float  # at least; and every caller has had an answer, or as many came
    seconds: float
    server: Callable[[], Processor]  # the server's processor time until now
    clock: Callable[[], float] = time.perf_counter
    _answers: int = 0
    _marks: list[_Mark] = field(default_factory=list)

    async def of(self, work: Callable[[int], Awaitable[object]], *, callers: int) -> Stretch:
        """``callers`` that each call ``work`` with their number again and again."""
        began = self.clock()

        async def caller(number: int) -> None:
            while len(self._marks) < 2:
                await work(number)
                self._answered(self.clock(), began, callers)

        await asyncio.gather(*(caller(number) for number in range(callers)))
        first, last = self._marks
        return Stretch(
            images=last.answers - first.answers,
            wall_s=last.wall_s - first.wall_s,
            callers_cpu_s=last.callers_cpu_s - first.callers_cpu_s,
            server_cpu_s=spent_between(first.server, last.server),
        )

    def _answered(self, now: float, began: float, callers: int) -> None:
        self._answers += 1
        warm = now - began >= self.warm_s and self._answers >= callers
        is_first = not self._marks and warm
        if is_first or (len(self._marks) == 1 and now - self._marks[0].wall_s >= self.seconds):
            mark = _Mark(
                answers=self._answers,
                wall_s=now,
                callers_cpu_s=time.process_time(),
                server=self.server(),
            )
            self._marks.append(mark)
