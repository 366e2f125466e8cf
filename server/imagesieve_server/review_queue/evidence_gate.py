"""Storing and removing the same bytes exclude each other, within one server.

Evidence is written before its row. Whoever removed the file between the two would leave a row
without its picture, so a removal waits until nobody is storing these bytes, and who wants to
store them waits for the removal's end. Knows keys, not files.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class EvidenceGate:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._storing: Counter[Hashable] = Counter()
        self._removing: set[Hashable] = set()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def storing(self, key: Hashable) -> AsyncIterator[None]:
        """Hold from before the file is written until its row is kept; any number at once."""
        async with self._changed:
            await self._changed.wait_for(lambda: key not in self._removing)
            self._storing[key] += 1
        try:
            yield
        finally:
            await self.stored(key)

    async def stored(self, key: Hashable) -> None:
        """One who stored is done."""
        async with self._changed:
            self._storing -= Counter([key])
            self._changed.notify_all()

    def also_storing(self, key: Hashable) -> None:
        """One more, inside ``storing``; its end is a ``stored`` of its own."""
        self._storing[key] += 1

    @asynccontextmanager
    async def removing(self, key: Hashable) -> AsyncIterator[None]:
        """Hold from before the rows are looked at until the file is gone; alone."""
        async with self._changed:
            await self._changed.wait_for(lambda: key not in self._removing)
            self._removing.add(key)
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._storing[key])
            yield
        finally:
            async with self._changed:
                self._removing.discard(key)
                self._changed.notify_all()
