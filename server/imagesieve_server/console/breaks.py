"""When a person is reminded that a break does good: a word, never a lock."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from imagesieve_server.console.sessions import Work
from imagesieve_server.console.words import span

REST_S: Final = 300.0
"""So long without taking an item is a break, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaks:
    """``after_s`` seconds without one are worth a word; 0: never. ``clock`` gives Unix time."""

    after_s: float
    clock: Callable[[], float]

    def noted(self, work: Work) -> tuple[Work, str]:
        """The session's work as of another item taken, and what to tell, "" as a rule."""
        now = self.clock()
        rested = now - work.last_at > REST_S
        since = now if rested else work.busy_since
        if not self.after_s or now - since < self.after_s:
            return dataclasses.replace(work, busy_since=since, last_at=now), ""
        told = (
            f"You have been reviewing for {span(now - since)} without a break. "
            "A few minutes away from the screen do good; the queue can wait that long."
        )
        return dataclasses.replace(work, busy_since=now, last_at=now), told
