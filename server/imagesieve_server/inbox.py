"""Work handed to a thread by callers who never wait: what does not fit is refused.

Knows nothing of the work. What is put comes out in its order; orders (``order``) are always
taken, since somebody waits for each.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Work = TypeVar("Work")
Order = Callable[[], None]


class Inbox(Generic[Work]):
    """Bounded by the sum of its entries' weights. Safe to use from several threads."""

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._entries: deque[tuple[Work | None, Order | None, int]] = deque()
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, work: Work, *, weight: int) -> bool:
        """Hand over; False where there is no room, or nobody takes any more."""
        with self._changed:
            if self._closed or (self._weight and self._weight + weight > self._capacity):
                return False
            self._entries.append((work, None, weight))
            self._weight += weight
            self._changed.notify()
            return True

    def order(self, order: Order) -> bool:
        """Have something done after all that was put before; False where it is closed."""
        with self._changed:
            if self._closed:
                return False
            self._entries.append((None, order, 0))
            self._changed.notify()
            return True

    def take(self, *, timeout_s: float | None) -> Work | Order | None:
        """The next entry; None where none came in time, or the inbox is closed and empty."""
        with self._changed:
            if not self._entries and not self._closed:
                self._changed.wait(timeout_s)
            if not self._entries:
                return None
            work, order, weight = self._entries.popleft()
            self._weight -= weight
            return order if order is not None else work

    @property
    def finished(self) -> bool:
        """Closed, and everything was taken."""
        with self._changed:
            return self._closed and not self._entries

    def close(self) -> None:
        """Refuse what comes from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
