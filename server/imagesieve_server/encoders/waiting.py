"""Who waits for the encoder, and what goes into the next batch.

Knows callers, their rows and deadlines; refuses to know threads, sessions, the clock and how large
the next batch should be. The earliest deadline goes first: deadlines are absolute, so nobody
starves.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.views import Embeddings, Pixels


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
