"""Which bytes are not decoded any more, because workers died on them, and which go by themselves.

Knows hashes, strikes and their age. It refuses to know why a worker died.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import Final

STRIKES: Final = 2  # deaths alone in a fresh worker after which bytes are refused


class Quarantine:
    """Strikes by SHA-256, the oldest forgotten first. Not for threads."""

    def __init__(self, *, capacity: int = 4096, ttl_s: float = 3600.0) -> None:
        """``capacity`` bounds the hashes kept; after ``ttl_s`` seconds one is forgiven."""
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._strikes: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def strikes_of(self, data: bytes) -> int | None:
        """0 of bytes that are suspects; None where nothing is known of them.

        Costs nothing while no worker has died.
        """
        return self._count(_digest(data)) if self._strikes else None

    def suspect(self, data: bytes) -> None:
        """A worker died with these bytes among several, maybe on others.

        Alone it would have been a strike: a picture that hangs, sent again and again with deadlines
        shorter than its time and always in company, must not go without one for ever.
        """
        digest = _digest(data)
        self._note(digest, self._count(digest) or 0)

    def strike(self, data: bytes) -> bool:
        """A fresh worker died on these bytes, or they used up its time.

        True where they are refused from now on and were not before.
        """
        digest = _digest(data)
        count = (self._count(digest) or 0) + 1
        self._note(digest, count)
        return count == STRIKES

    def _note(self, digest: bytes, count: int) -> None:
        self._strikes[digest] = (count, time.monotonic())
        self._strikes.move_to_end(digest)
        while len(self._strikes) > self._capacity:
            self._strikes.popitem(last=False)

    def _count(self, digest: bytes) -> int | None:
        if digest not in self._strikes:
            return None
        count, since = self._strikes[digest]
        if time.monotonic() - since > self._ttl_s:
            del self._strikes[digest]
            return None
        return count


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
