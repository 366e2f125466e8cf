"""Images that wait for a decode worker: bounded, in a fair order, no dead callers.

Knows jobs, what each is expected to cost and which are at work. An image is due so much later
than it came as it is expected to cost, and whoever is due first goes first: a small one passes a
large one that came a little before, and nobody is passed for ever. Long ones never hold every
worker; short ones that wait are handed over several at a time. It refuses to grow: where it is
full of living callers, the next one is told when to try again. It refuses to believe what an image
said of its cost once that is over.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from imagesieve_server.core.errors import ImageUndecodable, Overloaded
from imagesieve_server.core.views import DecodedImage, Preview, PreviewPlan, ViewPlan

PATIENCE: Final = 10.0
"""So many times its expected cost after it came an image is due."""
_PASSED_S: Final = 2.0
"""And no later than this after it came: a film of seconds must be done before its caller has gone,
however many small images come."""
LONG_S: Final = 0.012
"""Expected seconds above which an image is a long one: a JPEG of about two megapixels."""
_OVERRUN: Final = 8.0  # times what short ones lately took: then it is a long one that lied
_SLOWEST: Final = 10.0  # times LONG_S: no machine's short ones take longer than that
_SMOOTHING: Final = 0.1  # weight of the newest image in what images lately took
_MOST_TOGETHER: Final = 8
_TOGETHER_S: Final = 0.03
"""Expected seconds of images that are handed over together: the first is answered with the last."""


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One image, and the caller who waits for it."""

    data: bytes
    plan: ViewPlan | PreviewPlan
    deadline: float  # seconds of the monotonic clock
    expected_s: float = 0.0  # of a worker, as the header has it
    place: tuple[float, int] = (0.0, 0)  # when it is due by the queue's clock, and its number
    handed: bool = False  # some worker has it
    alone: bool = False  # it goes by itself, for example since it came back from others' company
    answer: asyncio.Future[DecodedImage | Preview] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def dead(self) -> bool:
        """True where nobody waits any more: cancelled, answered, or past the deadline."""
        return self.answer.done() or time.monotonic() >= self.deadline

    @property
    def is_long(self) -> bool:
        return self.expected_s > LONG_S

    def finish(self, image: DecodedImage | Preview) -> None:
        """Answer, if somebody still waits."""
        if not self.answer.done():
            self.answer.set_result(image)

    def answered(self, found: DecodedImage | Preview | ImageUndecodable) -> None:
        """``finish``, or ``fail`` where that is what came of it."""
        if isinstance(found, ImageUndecodable):
            self.fail(found)
        else:
            self.finish(found)

    def fail(self, error: Exception) -> None:
        """Answer with an error, if somebody still waits."""
        if not self.answer.done():
            # Without the lane's frames, which would hold this job, and it the picture.
            self.answer.set_exception(error.with_traceback(None))


_Waiting = tuple[float, int, Job]  # due, number, job


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandOver:
    """What one worker gets at a time: one job, or several short ones."""

    jobs: tuple[Job, ...]
    begun: float  # seconds of the queue's clock

    @property
    def is_long(self) -> bool:
        return self.jobs[0].is_long

    @property
    def is_one(self) -> bool:
        return len(self.jobs) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """What may be handed over together."""

    workers: int  # what waits is shared out among so many
    room_bytes: int  # of the images of one hand-over


class JobQueue:
    """A bounded queue of jobs, for one event loop."""

    def __init__(
        self,
        *,
        capacity: int,
        long_at_once: int | None = None,
        together: Together | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``long_at_once`` bounds the long jobs at work; None: as many as there are workers.

        ``together`` None: each is handed over by itself. ``patience`` 0: first come, first served.
        """
        self._capacity = capacity
        self._long_at_once = long_at_once
        self._together = together
        self._patience = patience
        self._clock = clock
        self._short: list[_Waiting] = []  # heaps
        self._long: list[_Waiting] = []
        self._numbers = itertools.count()
        self._at_work: set[HandOver] = set()
        self._idle: deque[asyncio.Future[None]] = deque()  # takers
        self._mean_s = 0.02  # of one image at work, moving average
        self._short_s = LONG_S  # the same of short ones

    def __len__(self) -> int:
        return len(self._short) + len(self._long)

    @property
    def at_work(self) -> Collection[HandOver]:
        """Taken and not yet given back: one for each worker at work."""
        return self._at_work

    @property
    def wait_s(self) -> float:
        """Seconds of one worker in what waits."""
        return self._mean_s * len(self)

    def put(self, job: Job, *, retry_after_s: float) -> None:
        """Add a job. Raises Overloaded where the queue is full of living callers."""
        if len(self) >= self._capacity:
            self._short, self._long = _living(self._short), _living(self._long)
        if len(self) >= self._capacity:
            raise Overloaded("too many images wait to be decoded", retry_after_s=retry_after_s)
        due = self._clock() + min(self._patience * job.expected_s, _PASSED_S)
        job.place = (due, next(self._numbers))
        job.answer.add_done_callback(lambda _: _forget(job))
        self._add(job)

    def put_back(self, jobs: Iterable[Job]) -> None:
        """They were handed over together and are not answered: each goes again, by itself."""
        for job in jobs:
            if not job.dead:
                job.handed, job.alone = False, True
                self._add(job)

    def _add(self, job: Job) -> None:
        heapq.heappush(self._long if job.is_long else self._short, (*job.place, job))
        while self._idle:
            taker = self._idle.popleft()
            if not taker.done():
                taker.set_result(None)
                break

    async def take(self) -> HandOver:
        """The next jobs whose callers still wait; waits for one. ``give_back`` it when done."""
        while (found := self.next()) is None:
            taker = asyncio.get_running_loop().create_future()
            self._idle.append(taker)
            await taker
        return found

    def next(self) -> HandOver | None:
        """As ``take``; None where nobody waits who may go now."""
        short, long = _head(self._short), _head(self._long)
        if long is not None and (short is None or long < short) and self._long_may_go():
            chosen = heapq.heappop(self._long)[2]
        elif short is not None:
            chosen = heapq.heappop(self._short)[2]
        else:
            return None
        handed = HandOver(jobs=(chosen, *self._mates_of(chosen)), begun=self._clock())
        for job in handed.jobs:
            job.handed = True
        self._at_work.add(handed)
        return handed

    def _mates_of(self, first: Job) -> Iterable[Job]:
        """Who goes with it: the next short ones, as many as leave the other workers their share."""
        together = self._together
        if together is None or first.is_long or first.alone:
            return ()
        share = min(-(-(len(self._short) + 1) // together.workers), _MOST_TOGETHER)
        room_s, room_bytes = _TOGETHER_S - first.expected_s, together.room_bytes - len(first.data)
        mates: list[Job] = []
        while len(mates) + 1 < share and (head := _head(self._short)) is not None:
            job = head[2]
            room_s, room_bytes = room_s - job.expected_s, room_bytes - len(job.data)
            if job.alone or room_s < 0 or room_bytes < 0:
                break
            mates.append(heapq.heappop(self._short)[2])
        return mates

    def give_back(self, handed: HandOver) -> None:
        """What was taken needs its worker no more."""
        self._at_work.discard(handed)
        seconds = (self._clock() - handed.begun) / len(handed.jobs)
        self._mean_s += _SMOOTHING * (seconds - self._mean_s)
        if not handed.is_long and seconds < self._overrun_s:
            self._short_s += _SMOOTHING * (seconds - self._short_s)

    @property
    def _overrun_s(self) -> float:
        # Bounded, or images that lie would raise what is allowed to those that follow.
        return _OVERRUN * min(max(self._short_s, LONG_S), _SLOWEST * LONG_S)

    def _long_may_go(self) -> bool:
        if self._long_at_once is None or len(self._at_work) < self._long_at_once:
            return True
        now = self._clock()
        long = sum(one.is_long or now > self.too_long_at(one) for one in self._at_work)
        return long < self._long_at_once

    def too_long_at(self, handed: HandOver) -> float:
        """When short ones count as long, seconds of the queue's clock."""
        return handed.begun + self._overrun_s * len(handed.jobs)

    def drain(self) -> list[Job]:
        """Remove and return every job that waits."""
        jobs = [job for _, _, job in (*self._short, *self._long)]
        self._short, self._long = [], []
        return jobs


def _forget(job: Job) -> None:
    """Nobody waits any more. Its turn may be a minute away, and its bytes count no more as
    admitted: they must not be kept until then."""
    if not job.handed:
        job.data = b""


def _living(heap: list[_Waiting]) -> list[_Waiting]:
    living = [waiting for waiting in heap if not waiting[2].dead]
    heapq.heapify(living)
    return living


def _head(heap: list[_Waiting]) -> _Waiting | None:
    """The first whose caller still waits."""
    while heap:
        if not heap[0][2].dead:
            return heap[0]
        heapq.heappop(heap)
    return None
