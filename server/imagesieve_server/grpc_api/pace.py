"""How fast the server works while it has plenty to do, in views per second.

It knows times and counts and nothing of calls. A server's rate of answers without a backlog says
how much was asked of it, not how much it can do. So it is measured with a backlog; without one,
an answer proves only that the server did this one's views in its time. Were that proof not taken, a
rate measured in a bad moment would keep the server from ever having a backlog again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

BUSY_VIEWS = 32
"""From this many views in flight on, encoder and decoders always have the next batch to do. A slow
encoder has it from fewer decoded ones on; those still with a worker keep it from nothing, and some
are there for seconds."""
_BUSY_S = 0.05  # decoded work of so long keeps a slow encoder busy: nothing else takes longer
_LEAST_VIEWS = 2  # one alone waits for nothing
_WINDOW_S = 0.2  # answers come in clumps of one batch: shorter samples would mean nothing
_MEMORY_S = 3.0  # time constant of the average
_PROOF = 0.2  # weight of one answer that proves a higher rate


class Pace:
    """Measures from what it is told. Used from one event loop."""

    def __init__(self, *, guess: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``guess`` is believed until something was measured, views per second."""
        self._rate = guess
        self._clock = clock
        self._begun: float | None = None  # of the present window; None without a backlog
        self._done = 0.0  # views finished in it

    def finished(self, views: float, *, seconds: float) -> None:
        """That many views have been answered, ``seconds`` after they came in."""
        if self._begun is None:
            # Those ahead of them prove nothing: they may have been all but done.
            proved = views / max(seconds, 1e-3)
            self._rate += _PROOF * max(0.0, proved - self._rate)
            return
        self._done += views
        elapsed = self._clock() - self._begun
        if elapsed >= _WINDOW_S:
            weight = 1 - math.exp(-elapsed / _MEMORY_S)
            self._rate += weight * (self._done / elapsed - self._rate)
            self._begun, self._done = self._clock(), 0.0

    def in_flight(self, views: float, *, decoded: int) -> None:
        """That many views are now in the server, ``decoded`` of them at or before its encoder."""
        if views < BUSY_VIEWS and decoded < max(_BUSY_S * self._rate, _LEAST_VIEWS):
            self._begun = None
        elif self._begun is None:
            self._begun, self._done = self._clock(), 0.0

    @property
    def views_per_s(self) -> float:
        """The rate, lower as soon as a backlog stands still."""
        if self._begun is None:
            return self._rate
        elapsed = max(self._clock() - self._begun, 1e-9)
        return max(min(self._rate, (self._done + BUSY_VIEWS) / elapsed), 1e-3)
