"""Images that wait for a decode worker: bounded, first come first served, no dead callers.

Knows jobs and their deadlines. It refuses to grow: where it is full of living callers, the
next one is told when to try again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from imagesieve_server.core.errors import Overloaded
from imagesieve_server.core.views import DecodedImage, Preview, PreviewPlan, ViewPlan


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One image, and the caller who waits for it."""

    data: bytes
    plan: ViewPlan | PreviewPlan
    deadline: float  # seconds of the monotonic clock
    answer: asyncio.Future[DecodedImage | Preview] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def dead(self) -> bool:
        """True where nobody waits any more: cancelled, answered, or past the deadline."""
        return self.answer.done() or time.monotonic() >= self.deadline

    def finish(self, image: DecodedImage | Preview) -> None:
        """Answer, if somebody still waits."""
        if not self.answer.done():
            self.answer.set_result(image)

    def fail(self, error: Exception) -> None:
        """Answer with an error, if somebody still waits."""
        if not self.answer.done():
            self.answer.set_exception(error)


class JobQueue:
    """A bounded queue of jobs, for one event loop."""

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._jobs: deque[Job] = deque()
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job, *, retry_after_s: float) -> None:
        """Add a job. Raises Overloaded where the queue is full of living callers."""
        if len(self._jobs) >= self._capacity:
            self._jobs = deque(waiting for waiting in self._jobs if not waiting.dead)
        if len(self._jobs) >= self._capacity:
            raise Overloaded("too many images wait to be decoded", retry_after_s=retry_after_s)
        self._jobs.append(job)
        self._arrived.set()

    async def take(self) -> Job:
        """The next job whose caller still waits; waits for one."""
        while True:
            while self._jobs:
                job = self._jobs.popleft()
                if not job.dead:
                    return job
            self._arrived.clear()
            await self._arrived.wait()

    def drain(self) -> list[Job]:
        """Remove and return every job."""
        jobs = list(self._jobs)
        self._jobs.clear()
        return jobs
