"""Records on their way out: those of one turn of the event loop leave in one write."""

from __future__ import annotations

import asyncio


class Outbox:
    """Gathers records for a transport."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._waiting: list[bytes] = []

    def add(self, record: bytes) -> None:
        """Send it soon, after what was added before."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(record)

    def flush(self) -> None:
        """Send now."""
        data = b"".join(self._waiting)
        self._waiting.clear()
        if data and not self._transport.is_closing():
            self._transport.write(data)
