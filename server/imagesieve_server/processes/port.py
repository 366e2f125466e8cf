"""The one port of several front ends: found free, and kept for them.

Each front end listens on it by SO_REUSEPORT; the kernel gives each new connection to one of them.
"""

from __future__ import annotations

import contextlib
import socket

from imagesieve_server.addresses import parse_address
from imagesieve_server.core.errors import ConfigError


class SharedPort:
    """Holds a port without listening, so that no front end's death lets another server have it."""

    def __init__(self, address: str) -> None:
        """Raises ConfigError where the port is taken: with SO_REUSEPORT a second server would
        not fail, it would get half of the calls."""
        host, port = parse_address(address, setting="server.address")
        try:
            family, _, _, _, where = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with contextlib.closing(_bound(family, where)):
                pass
            self._socket = _bound(family, where, shared=True)
        except OSError:
            raise ConfigError(f"cannot listen on {address}") from None
        self.port: int = self._socket.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def close(self) -> None:
        self._socket.close()


def _bound(family: int, where: object, *, shared: bool = False) -> socket.socket:
    """A socket that does not listen. Without ``shared`` it fails where another one listens."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(where)  # type: ignore[arg-type]  # what getaddrinfo gave
    except BaseException:
        bound.close()
        raise
    return bound
