"""Who sends much at once: counts over a sliding window, in bounded memory.

A window is two halves, the present one and the one before it, so that a count covers between half
a window and a whole one. Of more keys than there is room for, those that were counted least are
forgotten first (the idea of Metwally, Agrawal and El Abbadi's Space-Saving, ICDT 2005, without its
inherited counts): a few that send much stay, however many send little. Reads no clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

Key = tuple[str, str]
"""(tenant, whose)"""


@dataclass(slots=True, kw_only=True)
class Window:
    """Counts by key. ``span_s`` is the window, seconds; ``limit`` the count that is a spike."""

    span_s: float
    limit: int
    max_keys: int = 10_000  # of each half
    _half: int = 0
    _now: Counter[Key] = field(default_factory=Counter)
    _before: Counter[Key] = field(default_factory=Counter)
    _told: set[Key] = field(default_factory=set)  # that are in a spike

    def add(self, key: Key, *, now: float) -> int | None:
        """Count one; the count where a spike of this key begins with it, else None."""
        self._move_to(now)
        if key not in self._now and len(self._now) >= self.max_keys:
            for least, _ in self._now.most_common()[self.max_keys // 2 :]:
                del self._now[least]
        self._now[key] += 1
        count = self._now[key] + self._before[key]
        if count < self.limit or key in self._told:
            return None
        self._told.add(key)
        return count

    def largest(self, *, now: float) -> int:
        """The largest count of all keys."""
        self._move_to(now)
        both = {*self._now, *self._before}
        return max((self._now[key] + self._before[key] for key in both), default=0)

    def _move_to(self, now: float) -> None:
        half = int(now // (self.span_s / 2))
        if half == self._half:
            return
        self._before = self._now if half == self._half + 1 else Counter()
        self._now, self._half = Counter(), half
        self._told = {key for key in self._told if self._before[key] >= self.limit // 2}
