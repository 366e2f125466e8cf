"""Who waits for the encoder, and what goes into the next batch.

Knows callers, their rows and deadlines; refuses to know threads, sessions, the clock and how large
the next batch should be. The earliest deadline goes first: deadlines are absolute, so nobody
starves. A caller with many views, as of a film, that is due first gets a quarter of the rows while
others wait, so that those do not wait for a whole film; all where deadlines of such callers ask
for it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.views import Embeddings, Pixels

_MANY_VIEWS = 5
"""Rows from which a caller is one of many views: a film, or a picture that is more than four times
as long as wide."""
_ONE_IN = 4
"""One of so many rows is of callers with many views while others wait. Of two, those others would
wait nearly as long as if the film went first, where they are most of a load near the limit."""
_SAFETY = 1.5
"""A caller with many views is pressed for time where that share, times this, would take longer than
what is left until its deadline; or the whole encoder for it and those of its kind before it."""

_SPARE = 64
"""So many of those who left are always borne in a queue; beyond, as many as rows wait, twice."""

_Queue = list[tuple[float, int, "Waiter"]]
"""A heap by deadline, then order of coming."""


class Waiter:
    """One caller's views: what is still to run, and where the results gather."""

    def __init__(
        self, *, pixels: Pixels, deadline: float, width: int, future: asyncio.Future[Embeddings]
    ) -> None:
        self.pixels = pixels  # uint8 [V, S, S, 3]
        self.deadline = deadline  # seconds, monotonic
        self.future = future
        self.taken = 0  # rows handed to a batch
        self._rows = len(pixels)
        self._results = np.empty((len(pixels), width), dtype=np.float32)
        self._missing = len(pixels)

    @property
    def rows_left(self) -> int:
        return self._rows - self.taken

    def hand_out(self, count: int) -> Slice:
        """Its next rows, as many as ``count`` at most."""
        start = self.taken
        self.taken = min(start + count, self._rows)
        pixels = self.pixels[start : self.taken]
        return Slice(waiter=self, start=start, stop=self.taken, pixels=pixels)

    def let_go(self) -> None:
        """No row will be handed out any more. Its place may be reached much later, or never while
        others are due before it: the pixels must not be kept until then."""
        self.taken = self._rows
        self.pixels = np.empty((0, 0, 0, 3), dtype=np.uint8)

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
    pixels: Pixels  # of these rows; the waiter may go while they are encoded


class WaitingRoom:
    """The waiters, by deadline; those with few views and those with many."""

    def __init__(self) -> None:
        self._few: _Queue = []
        self._many: _Queue = []
        self._queues = (self._few, self._many)
        self._order = itertools.count()
        self._rows = 0
        self._since_many = 0  # rows of a share that callers with many views are due

    @property
    def rows(self) -> int:
        """Rows that wait for a batch."""
        return self._rows

    def rows_before(self, deadline: float) -> int:
        """Rows that are due before a newcomer with this deadline."""
        return sum(
            waiter.rows_left
            for queue in self._queues
            for at, _, waiter in queue
            if at <= deadline and not waiter.future.done()
        )

    def add(self, waiter: Waiter) -> None:
        queue = self._many if waiter.rows_left >= _MANY_VIEWS else self._few
        heapq.heappush(queue, (waiter.deadline, next(self._order), waiter))
        self._rows += waiter.rows_left

    def leave(self, waiter: Waiter) -> int:
        """Forget a waiter whose caller has its answer or is gone; the rows that had not run."""
        dropped = waiter.rows_left
        self._rows -= dropped
        waiter.let_go()
        self._forget_empty()
        if sum(map(len, self._queues)) > _SPARE + 2 * self._rows:
            self._sweep()
        return dropped

    def earliest_deadline(self) -> float:
        """Of those who wait; there must be one."""
        return min(queue[0] for queue in self._queues if queue)[0]

    def take(self, count: int, *, now: float, s_per_row: float) -> Sequence[Slice]:
        """Up to ``count`` rows; a waiter may be split.

        The earliest deadlines first; but where a caller with many views would be that and others
        wait too, it gets its share. ``now`` and ``s_per_row``, of the encoder, tell whether it is
        pressed for time.
        """
        if not all(self._queues) or self._few[0] < self._many[0] or self._pressed(now, s_per_row):
            return self._earliest(count, *self._queues)
        of_many, self._since_many = divmod(self._since_many + count, _ONE_IN)
        taken = self._earliest(of_many, self._many) + self._earliest(count - of_many, self._few)
        rest = count - sum(part.stop - part.start for part in taken)
        return taken + self._earliest(rest, *self._queues)

    def fail_all(self, error: Exception) -> None:
        """Answer everyone who waits with ``error``."""
        for queue in self._queues:
            for _, _, waiter in queue:
                waiter.fail(error)
                waiter.let_go()
            queue.clear()
        self._rows = 0

    def _pressed(self, now: float, s_per_row: float) -> bool:
        """The first by its share, or one of them by the whole encoder, would hardly be in time."""
        deadline, _, first = self._many[0]
        if deadline - now < _SAFETY * _ONE_IN * first.rows_left * s_per_row:
            return True
        rows_until = 0
        for deadline, _, waiter in sorted(self._many):
            rows_until += waiter.rows_left
            if deadline - now < _SAFETY * rows_until * s_per_row:
                return True
        return False

    def _earliest(self, count: int, *queues: _Queue) -> list[Slice]:
        """Up to ``count`` rows of these queues, the earliest deadlines first."""
        taken: list[Slice] = []
        while count and any(queues):
            waiter = min(queue[0] for queue in queues if queue)[2]
            part = waiter.hand_out(count)
            taken.append(part)
            count -= len(part.pixels)
            self._rows -= len(part.pixels)
            self._forget_empty()
        return taken

    def _forget_empty(self) -> None:
        for queue in self._queues:
            while queue and queue[0][2].rows_left == 0:
                heapq.heappop(queue)

    def _sweep(self) -> None:
        """Forget those who left and are not first."""
        for queue in self._queues:
            queue[:] = [entry for entry in queue if entry[2].rows_left]
            heapq.heapify(queue)
