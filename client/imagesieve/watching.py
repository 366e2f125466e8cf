"""How a watch goes on after an interruption: from which cursor, and after what pause. No I/O.

The cursor moves only when the caller asks for the next event, that is, when it has dealt with
the one before: what was given out and not dealt with comes again. Before the first contact a
server that cannot be reached is an error after ``timeout_s`` seconds; afterwards it is waited
for without end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from imagesieve import review_calls
from imagesieve.calls import StreamCall
from imagesieve.errors import Unavailable
from imagesieve.retry import BACKOFF_MULTIPLIER, INITIAL_BACKOFF_S

MAX_PAUSE_S = 5.0
"""Between two attempts, at most; a little of it is chance, so that watchers spread out."""


class Watch:
    """The progress of one watch. ``save`` is called with each new cursor."""

    def __init__(
        self,
        *,
        cursor: str,
        from_oldest: bool,
        save: Callable[[str], None] | None,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cursor = cursor
        self._from_oldest = from_oldest
        self._save = save
        self._clock = clock
        self._give_up_at: float | None = clock() + timeout_s
        self._pause_s = INITIAL_BACKOFF_S

    def call(self) -> StreamCall[Any, Any]:
        """The call that goes on from here."""
        from_oldest = self._from_oldest and not self._cursor
        return review_calls.watch(cursor=self._cursor, from_oldest=from_oldest)

    def reached(self) -> None:
        """A response came: there is a server."""
        self._give_up_at = None
        self._pause_s = INITIAL_BACKOFF_S

    def done_with(self, cursor: str) -> None:
        """Everything before this cursor has been dealt with."""
        if cursor != self._cursor:
            self._cursor = cursor
            if self._save is not None:
                self._save(cursor)

    def failed(self, error: Unavailable) -> None:
        """Raises the error where no server was ever reached in time."""
        if self._give_up_at is not None and self._clock() >= self._give_up_at:
            raise error

    def pause(self) -> float:
        """Seconds to wait before the next attempt."""
        pause = self._pause_s * random.uniform(0.8, 1.2)
        self._pause_s = min(self._pause_s * BACKOFF_MULTIPLIER, MAX_PAUSE_S)
        return pause
