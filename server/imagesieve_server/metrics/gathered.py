"""A family whose counts wait in lists until somebody looks: to note one down costs a quarter of
counting it, and many are counted at little more than the price of one. What is exported is exact
at every look. Knows families and labels, and no name of theirs.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

_MOST: Final = 128
"""That wait under the same labels; then they are counted by whoever comes, with all others: a
policy's categories wait for the same image, so more would be milliseconds at once."""
_PRIVATE: Final = ("_sum", "_buckets", "_upper_bounds")
"""The library's own names, which it may change: a test compares with its ``observe``."""


class SummedHistogram(Histogram):
    """A histogram that takes many observations at a time."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """As ``observe`` of each. None of them may be NaN."""
        if not all(hasattr(self, name) for name in _PRIVATE):  # slower, but nothing is lost
            for amount in amounts:
                self.observe(amount)
            return
        self._sum.inc(sum(amounts))
        rising, below = sorted(amounts), 0
        for bucket, bound in zip(self._buckets, self._upper_bounds, strict=True):
            end = bisect_right(rising, bound, below)
            if end > below:
                bucket.inc(end - below)
            below = end


class Gathered(Collector):
    """Register this and not ``family``. ``note`` may be called from any thread."""

    def __init__(self, family: Counter | Gauge | SummedHistogram) -> None:
        self._family = family
        self._waiting: dict[tuple[str, ...], list[float]] = {}
        self._counting = threading.Lock()

    def note(self, *labels: str, amount: float = 1.0) -> None:
        """Add to a counter or gauge, or observe, under these label values."""
        waiting = self._waiting.get(labels)
        if waiting is None:
            waiting = self._waiting.setdefault(labels, [])
        waiting.append(amount)
        if len(waiting) >= _MOST:
            self.count()

    def count(self) -> None:
        """Count what waits."""
        with self._counting:
            for labels, waiting in list(self._waiting.items()):
                found = waiting[:]
                if not found:
                    continue
                del waiting[: len(found)]  # others may have added to it just now
                child = self._family.labels(*labels) if labels else self._family
                if isinstance(child, SummedHistogram):
                    child.observe_all(found)
                else:
                    child.inc(sum(found))

    def forget(self, *labels: str) -> None:
        """These are not in the family any more."""
        with self._counting:
            self._waiting.pop(labels, None)

    def describe(self) -> Iterable[Metric]:
        """For the registry: the names."""
        return self._family.describe()

    def collect(self) -> Iterable[Metric]:
        """For the registry: the values at present."""
        self.count()
        return self._family.collect()
