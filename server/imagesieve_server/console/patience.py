"""How long a connection may wait on the console's port.

uvicorn waits for ever for a request that never ends. The port is the server's own process: whoever
opens connections and says nothing would use up its files, and the uploads' with them. How many
there may be is ``connections.py``'s. Knows requests and no pages.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S: Final = 20.0
"""A whole request, head and form, must have arrived so long after the connection was made, or
after the answer before it."""


class Impatient(H11Protocol):
    """One connection that is closed where its peer keeps it waiting."""

    request_s = REQUEST_S
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._wait()
        super().on_response_complete()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.request_s, self._late)

    def _late(self) -> None:
        cycle: Any = self.cycle
        answering = cycle is not None and not cycle.response_complete and not cycle.more_body
        if not answering:  # the next wait begins with the answer's end
            self.transport.abort()
