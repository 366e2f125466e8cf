"""Images that wait for a decode worker: bounded, in a fair order, no dead callers.

Knows jobs, what each is expected to cost and which are at work. An image is due so much later
than it came as it is expected to cost, and whoever is due first goes first: a small one passes a
large one that came a little before, and nobody is passed for ever. Long ones never hold every
worker. It refuses to grow: where it is full of living callers, the next one is told when to try
again. It refuses to believe what an image said of its cost once that is over.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from imagesieve_server.core.errors import Overloaded
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


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One image, and the caller who waits for it."""

    data: bytes
    plan: ViewPlan | PreviewPlan
    deadline: float  # seconds of the monotonic clock
    expected_s: float = 0.0  # of a worker, as the header has it
    begun: float = 0.0  # seconds of the queue's clock, once it is at work
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

    def fail(self, error: Exception) -> None:
        """Answer with an error, if somebody still waits."""
        if not self.answer.done():
            # Without the lane's frames, which would hold this job, and it the picture.
            self.answer.set_exception(error.with_traceback(None))


_Waiting = tuple[float, int, Job]  # due, number, job


class JobQueue:
    """A bounded queue of jobs, for one event loop."""

    def __init__(
        self,
        *,
        capacity: int,
        long_at_once: int | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``long_at_once`` bounds the long jobs at work; None: as many as there are workers.

        ``patience`` 0 is first come, first served.
        """
        self._capacity = capacity
        self._long_at_once = long_at_once
        self._patience = patience
        self._clock = clock
        self._short: list[_Waiting] = []  # heaps
        self._long: list[_Waiting] = []
        self._numbers = itertools.count()
        self._at_work: set[Job] = set()
        self._idle: deque[asyncio.Future[None]] = deque()  # takers
        self._mean_s = 0.02  # of one image at work, moving average
        self._short_s = LONG_S  # the same of short ones

    def __len__(self) -> int:
        return len(self._short) + len(self._long)

    @property
    def at_work(self) -> Collection[Job]:
        """Taken and not yet given back."""
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
        job.answer.add_done_callback(lambda _: self._forget(job))
        heapq.heappush(self._long if job.is_long else self._short, (due, next(self._numbers), job))
        while self._idle:
            taker = self._idle.popleft()
            if not taker.done():
                taker.set_result(None)
                break

    async def take(self) -> Job:
        """The next job whose caller still waits; waits for one. ``give_back`` it when done."""
        while (job := self.next()) is None:
            taker = asyncio.get_running_loop().create_future()
            self._idle.append(taker)
            await taker
        return job

    def next(self) -> Job | None:
        """As ``take``; None where nobody waits who may go now."""
        short, long = _head(self._short), _head(self._long)
        if long is not None and (short is None or long < short) and self._long_may_go():
            chosen = heapq.heappop(self._long)[2]
        elif short is not None:
            chosen = heapq.heappop(self._short)[2]
        else:
            return None
        chosen.begun = self._clock()
        self._at_work.add(chosen)
        return chosen

    def give_back(self, job: Job) -> None:
        """A taken job needs its worker no more."""
        self._at_work.discard(job)
        seconds = self._clock() - job.begun
        self._mean_s += _SMOOTHING * (seconds - self._mean_s)
        if not job.is_long and seconds < self._overrun_s:
            self._short_s += _SMOOTHING * (seconds - self._short_s)

    def _forget(self, job: Job) -> None:
        """Nobody waits any more. Its turn may be a minute away, and its bytes count no more as
        admitted: they must not be kept until then."""
        if job not in self._at_work:
            job.data = b""

    @property
    def _overrun_s(self) -> float:
        # Bounded, or images that lie would raise what is allowed to those that follow.
        return _OVERRUN * min(max(self._short_s, LONG_S), _SLOWEST * LONG_S)

    def _long_may_go(self) -> bool:
        if self._long_at_once is None or len(self._at_work) < self._long_at_once:
            return True
        begun_late = self._clock() - self._overrun_s
        long = sum(job.is_long or job.begun < begun_late for job in self._at_work)
        return long < self._long_at_once

    def drain(self) -> list[Job]:
        """Remove and return every job that waits."""
        jobs = [job for _, _, job in (*self._short, *self._long)]
        self._short, self._long = [], []
        return jobs


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
