"""How many connections the console's port holds at once, unfinished TLS handshakes among them.

uvicorn learns of a connection when its handshake is done, so whoever opens connections and never
speaks TLS would use up the process's files, and the uploads' with them. So they are counted where
they are accepted. Knows sockets and no protocol.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Final

MOST: Final = 768
"""Connections at once. Beyond uvicorn's limit they are answered with 503, beyond this closed."""
HANDSHAKE_S: Final = 10.0
"""A TLS handshake must be over so long after the connection was made, seconds."""


class _Accepted(socket.socket):
    """A connection that is counted until it is closed."""

    listener: BoundedListener | None = None

    def close(self) -> None:
        if self.listener is not None:
            self.listener.open -= 1
            self.listener = None
        super().close()


class BoundedListener(socket.socket):
    """A listening socket that closes at once what comes beyond ``most``."""

    most = MOST
    open = 0

    def accept(self) -> tuple[socket.socket, Any]:
        descriptor, address = self._accept()  # type: ignore[attr-defined]
        if self.open >= self.most:
            os.close(descriptor)
            # The event loop then looks after others before it accepts again.
            raise ConnectionAbortedError("too many connections")
        connection = _Accepted(self.family, self.type, self.proto, fileno=descriptor)
        connection.listener = self
        self.open += 1
        return connection, address
