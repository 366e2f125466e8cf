"""Who waits for the encoder, and what goes into the next batch.

Knows callers, their rows and deadlines, and how long each bucket takes; refuses to know threads,
sessions and the clock (times are passed in). The earliest deadline goes first: deadlines are
absolute, so nobody starves.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.views import Embeddings, Pixels

_SMOOTHING = 0.2
"""Weight of the newest run in a bucket's estimated seconds."""


class Waiter:
    """One caller's views: what is still to run, and where the results gather."""

    def __init__(
        self, *, pixels: Pixels, deadline: float, width: int, future: asyncio.Future[Embeddings]
    ) -> None:
        self.pixels = pixels  # uint8 [V, S, S, 3]
        self.deadline = deadline  # seconds, monotonic
        self.future = future
        self.taken = 0  # rows handed to a batch
        self._results = np.empty((len(pixels), width), dtype=np.float32)
        self._missing = len(pixels)

    @property
    def rows_left(self) -> int:
        return len(self.pixels) - self.taken

    def fill(self, start: int, embeddings: Embeddings) -> None:
        """Put results of rows from ``start`` on; the last ones answer the caller."""
        self._results[start : start + len(embeddings)] = embeddings
        self._missing -= len(embeddings)
        if self._missing == 0 and not self.future.done():
            self.future.set_result(self._results)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Rows of one waiter that go into a batch."""

    waiter: Waiter
    start: int  # first row of the waiter's pixels
    stop: int  # one past the last row

    @property
    def pixels(self) -> Pixels:
        return self.waiter.pixels[self.start : self.stop]


class BucketTimes:
    """Estimated seconds of a run for each bucket, from warm-up on."""

    def __init__(self, seconds: Mapping[int, float]) -> None:
        self._seconds = dict(sorted(seconds.items()))

    def observe(self, bucket: int, seconds: float) -> None:
        old = self._seconds[bucket]
        self._seconds[bucket] = old + _SMOOTHING * (seconds - old)

    @property
    def per_row(self) -> float:
        """Seconds per row at the best bucket."""
        return min(seconds / bucket for bucket, seconds in self._seconds.items())

    @property
    def largest(self) -> int:
        """Rows of the largest bucket."""
        return max(self._seconds)

    def fitting(self, rows: int) -> int:
        """The smallest bucket that holds ``rows``, or the largest there is."""
        return next((size for size in self._seconds if size >= rows), self.largest)

    def choose(self, *, rows: int, time_left: float) -> int:
        """The bucket for ``rows`` ≥ 1 waiting rows and the earliest deadline among them.

        Either the smallest bucket that holds them all, padded, or the largest that they fill:
        whichever costs less per real row (padding costs as much as rows where time grows with
        the batch). Smaller only where the deadline asks for it; where no bucket is in time, the
        smallest, at once.
        """
        padded = self.fitting(rows)
        filled = max((size for size in self._seconds if size <= rows), default=padded)
        if self._cost(padded, rows) <= self._cost(filled, rows):
            filled = padded
        in_time = [s for s in self._seconds if s <= filled and self._seconds[s] <= time_left]
        return max(in_time, default=min(self._seconds))

    def _cost(self, bucket: int, rows: int) -> float:
        """Seconds per real row."""
        return self._seconds[bucket] / min(rows, bucket)


class WaitingRoom:
    """The waiters, by deadline."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Waiter]] = []
        self._order = itertools.count()
        self._rows = 0

    @property
    def rows(self) -> int:
        """Rows that wait for a batch."""
        return self._rows

    def rows_before(self, deadline: float) -> int:
        """Rows that would run before a newcomer with this deadline."""
        return sum(w.rows_left for at, _, w in self._heap if at <= deadline and not w.future.done())

    def add(self, waiter: Waiter) -> None:
        heapq.heappush(self._heap, (waiter.deadline, next(self._order), waiter))
        self._rows += waiter.rows_left

    def leave(self, waiter: Waiter) -> int:
        """Forget a waiter whose caller has its answer or is gone; the rows that had not run."""
        dropped = waiter.rows_left
        self._rows -= dropped
        waiter.taken = len(waiter.pixels)
        self._forget_empty()
        return dropped

    def earliest_deadline(self) -> float:
        """Of those who wait; there must be one."""
        return self._heap[0][0]

    def take(self, count: int) -> Sequence[Slice]:
        """Up to ``count`` rows, the earliest deadlines first; a waiter may be split."""
        taken: list[Slice] = []
        while count and self._heap:
            waiter = self._heap[0][2]
            stop = min(waiter.taken + count, len(waiter.pixels))
            taken.append(Slice(waiter=waiter, start=waiter.taken, stop=stop))
            count -= stop - waiter.taken
            self._rows -= stop - waiter.taken
            waiter.taken = stop
            self._forget_empty()
        return taken

    def fail_all(self, error: Exception) -> None:
        """Answer everyone who waits with ``error``."""
        for _, _, waiter in self._heap:
            waiter.fail(error)
            waiter.taken = len(waiter.pixels)
        self._heap.clear()
        self._rows = 0

    def _forget_empty(self) -> None:
        while self._heap and self._heap[0][2].rows_left == 0:
            heapq.heappop(self._heap)
