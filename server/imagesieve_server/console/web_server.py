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
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from imagesieve_server.addresses import is_loopback
from imagesieve_server.certificate_files import Checked
from imagesieve_server.console.certificate import listening_context
from imagesieve_server.console.connections import HANDSHAKE_S, BoundedListener
from imagesieve_server.console.patience import Impatient
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.kept_files import Kept

log = logging.getLogger(__name__)

_BACKLOG = 256
_CONNECTIONS = 512
_CLOSE_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """Where and how the console listens."""

    host: str
    port: int  # 0: a free one
    insecure: bool = False  # listen beyond loopback without TLS


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers, the server has its own, and with a certificate that can
    be replaced and handshakes that end, neither of which it can be told."""

    def __init__(self, config: uvicorn.Config, *, certificate: Kept[Checked] | None) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._certificate = certificate

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        (listener,) = sockets or []
        await self.lifespan.startup()
        protocol = partial(
            Impatient,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        context = None if self._certificate is None else listening_context(self._certificate)
        bound = None if context is None else self.handshake_s
        server = await asyncio.get_running_loop().create_server(
            protocol,
            sock=listener,
            backlog=_BACKLOG,
            ssl=context,
            ssl_handshake_timeout=bound,
            ssl_shutdown_timeout=bound,
        )
        self.servers = [server]
        self.started = True
        self.listening.set()

    handshake_s = HANDSHAKE_S

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class WebServer:
    """One listening site. ``start`` once, ``stop`` once. With ``certificate``, which must have been
    loaded, it speaks TLS."""

    def __init__(self, *, options: WebOptions, certificate: Kept[Checked] | None = None) -> None:
        self._options = options
        self._certificate = certificate
        self._server: _Uvicorn | None = None
        self._task: asyncio.Task[None] | None = None
        self._socket: BoundedListener | None = None

    def bind(self) -> int:
        """Take the port, and return it. Raises ConfigError."""
        options = self._options
        check_web(options, encrypted=self._certificate is not None)
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        self._socket = BoundedListener(family, socket.SOCK_STREAM)
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
        """Serve ``app`` on the port taken."""
        assert self._socket is not None, "bind comes first"
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
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_CLOSE_S,
            h11_max_incomplete_event_size=32 * 1024,
        )
        self._server = _Uvicorn(config, certificate=self._certificate)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        await self._server.listening.wait()
        log.info("console listens", extra={"host": self._options.host})

    async def stop(self) -> None:
        """Finish the requests in hand, for a few seconds."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.gather(self._task, return_exceptions=True)
        elif self._socket is not None:
            self._socket.close()


def check_web(options: WebOptions, *, encrypted: bool) -> None:
    """Raises ConfigError where the port could not listen: without TLS only loopback may be."""
    if encrypted or options.insecure or is_loopback(options.host):
        return
    raise ConfigError(
        f"console.address {options.host} can be reached from other machines: give a certificate "
        "and a key, listen on 127.0.0.1, or say insecure if something in front encrypts"
    )
