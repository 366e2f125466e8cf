"""The console's port: uvicorn inside the server's own event loop.

In the same process because SQLite has one writer. Whatever takes long is done elsewhere:
decoding in worker processes, passwords and JPEGs in threads, the queue in its own thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from imagesieve_server.addresses import is_loopback
from imagesieve_server.console.patience import Impatient
from imagesieve_server.core.errors import ConfigError

log = logging.getLogger(__name__)

_BACKLOG = 256
_CONNECTIONS = 512
_CLOSE_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """Where and how the console listens."""

    host: str
    port: int  # 0: a free one
    certificate: Path | None = None  # PEM; with ``key`` it turns TLS on
    key: Path | None = None
    insecure: bool = False  # listen beyond loopback without TLS


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers: the server has its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class WebServer:
    """One listening site. ``start`` once, ``stop`` once."""

    def __init__(self, *, options: WebOptions) -> None:
        self._options = options
        self._server: _Uvicorn | None = None
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    def bind(self) -> int:
        """Take the port, and return it. Raises ConfigError."""
        options = self._options
        check_web(options)
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((options.host, options.port))
        except OSError as error:
            self._socket.close()
            raise ConfigError(
                f"console: cannot listen on {options.host}:{options.port}: {error.strerror}"
            ) from None
        self._socket.setblocking(False)
        return int(self._socket.getsockname()[1])

    async def start(self, app: ASGIApp) -> None:
        """Serve ``app`` on the port taken. Raises ConfigError for a bad certificate."""
        assert self._socket is not None, "bind comes first"
        options = self._options
        config = uvicorn.Config(
            app,
            loop="none",
            http=Impatient,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",  # coming and going is told by the server itself
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who asks is the peer; the proxy's header is read elsewhere
            backlog=_BACKLOG,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_CLOSE_S,
            h11_max_incomplete_event_size=32 * 1024,
            ssl_certfile=options.certificate,
            ssl_keyfile=options.key,
        )
        try:
            config.load()
        except OSError as error:
            self._socket.close()
            raise ConfigError(f"console: the certificate or key cannot be used: {error}") from None
        self._server = _Uvicorn(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        await self._server.listening.wait()
        log.info("console listens", extra={"host": options.host})

    async def stop(self) -> None:
        """Finish the requests in hand, for a few seconds."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.gather(self._task, return_exceptions=True)
        elif self._socket is not None:
            self._socket.close()


def check_web(options: WebOptions) -> None:
    """Raises ConfigError where the port could not listen: without TLS only loopback may be."""
    if bool(options.certificate) != bool(options.key):
        raise ConfigError("console.tls_cert and console.tls_key belong together")
    if options.certificate or options.insecure or is_loopback(options.host):
        return
    raise ConfigError(
        f"console.address {options.host} can be reached from other machines: give a certificate "
        "and a key, listen on 127.0.0.1, or say insecure if something in front encrypts"
    )
