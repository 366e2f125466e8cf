"""Which calls to our own services are unfinished, so that a drain knows when it is done.

Health watches and reflection streams are not counted: they end only when somebody ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

PREFIX = "imagesieve."


class CallsInFlight:
    """Counts calls; used from one event loop."""

    def __init__(self) -> None:
        self._calls = 0
        self._begun = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def count(self, service: str) -> Iterator[None]:
        """Hold while a call to the service runs."""
        if not service.startswith(PREFIX):
            yield
            return
        self._calls += 1
        self._begun += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def wait_idle(self, *, settled_s: float) -> None:
        """Return once no call has been unfinished or begun for ``settled_s`` seconds.

        A call that gRPC has accepted is not counted before its method begins.
        """
        while True:
            await self._idle.wait()
            begun = self._begun
            await asyncio.sleep(settled_s)
            if self._idle.is_set() and begun == self._begun:
                return
