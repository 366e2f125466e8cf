"""Which bytes are not decoded any more, because workers died on them.

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

    def holds(self, data: bytes) -> bool:
        """True where these bytes are refused. Costs nothing while no worker has died."""
        return bool(self._strikes) and self._count(_digest(data)) >= STRIKES

    def strike(self, data: bytes) -> bool:
        """A fresh worker died on these bytes, or they used up its time.

        True where they are refused from now on and were not before.
        """
        digest = _digest(data)
        count = self._count(digest) + 1
        self._strikes[digest] = (count, time.monotonic())
        self._strikes.move_to_end(digest)
        while len(self._strikes) > self._capacity:
            self._strikes.popitem(last=False)
        return count == STRIKES

    def _count(self, digest: bytes) -> int:
        count, since = self._strikes.get(digest, (0, 0.0))
        if count and time.monotonic() - since > self._ttl_s:
            del self._strikes[digest]
            return 0
        return count


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
