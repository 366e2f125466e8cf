"""One attempt: a POST of a signed body, and what the answer says.

No redirect is followed, no proxy of the environment used, no cookie kept. Of an answer only the
status and Retry-After are looked at; its body is read as far as it is small, for the sake of the
connection, and never kept or logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import httpcore2
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream

from imagesieve_server.core.webhook_rules import Result, patience_s, result_of
from imagesieve_server.core.webhooks import headers
from imagesieve_server.webhooks.endpoints import Receiver
from imagesieve_server.webhooks.where import problem_of

ANSWER_MAX = 64 * 1024
"""Bytes of an answer's body that are read; behind more the connection is closed."""
IDLE_S = 20.0
"""How long an unused connection is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of an attempt."""

    result: Result
    detail: str = ""  # for people: a status or the kind of failure, never the receiver's words
    patience_s: float | None = None  # what the endpoint asked for
    overloaded: bool = False  # 429 or 503: what it asked for is meant for every event

    @property
    def told(self) -> bool:
        return self.result is Result.TOLD

    @property
    def words(self) -> str:
        """For dead letters and logs."""
        return f"{self.result.value} ({self.detail})" if self.detail else self.result.value


class Sender(Protocol):
    """Makes attempts at one endpoint."""

    async def send(self, event_id: str, body: bytes) -> Answer:
        """One attempt. Never raises for what the endpoint does."""
        ...

    async def close(self) -> None: ...


class HttpSender:
    """``wall_clock``: seconds since the epoch, for the signature."""

    def __init__(
        self,
        *,
        receiver: Receiver,
        trust: ssl.SSLContext,
        user_agent: str,
        wall_clock: Callable[[], float],
    ) -> None:
        self._receiver = receiver
        self._wall_clock = wall_clock
        self._user_agent = user_agent
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=receiver.concurrency,
            keepalive_expiry=IDLE_S,
            network_backend=CheckedNetwork(
                local=receiver.where.local, patience_s=receiver.timeout_s
            ),
        )

    async def send(self, event_id: str, body: bytes) -> Answer:
        """See ``Sender``."""
        answer = Answer(result=Result.TIMED_OUT)
        try:
            async with asyncio.timeout(self._receiver.timeout_s):
                async with self._post(event_id, body) as response:
                    answer = self._answer_of(response)
                    await _read_on(response)
        except (TimeoutError, httpcore2.TimeoutException):
            pass  # a status that came counts
        except (
            httpcore2.NetworkError,
            httpcore2.ProtocolError,
            httpcore2.UnsupportedProtocol,
            OSError,
        ) as problem:
            if answer.result is Result.TIMED_OUT:
                return Answer(result=Result.UNREACHABLE, detail=_kind(problem))
        return answer

    async def close(self) -> None:
        await self._pool.aclose()

    def _post(
        self, event_id: str, body: bytes
    ) -> contextlib.AbstractAsyncContextManager[httpcore2.Response]:
        sent = headers(
            event_id=event_id,
            timestamp=int(self._wall_clock()),
            body=body,
            keys=self._receiver.keys,
        )
        sent["user-agent"] = self._user_agent
        return self._pool.stream(
            "POST", self._receiver.where.url, headers=list(sent.items()), content=body
        )

    def _answer_of(self, response: httpcore2.Response) -> Answer:
        asked = _header(response, b"retry-after").decode("ascii", "replace")
        return Answer(
            result=result_of(response.status),
            detail=str(response.status),
            patience_s=patience_s(asked, now=self._wall_clock()),
            overloaded=response.status in (429, 503),
        )


async def _read_on(response: httpcore2.Response) -> None:
    """Read a small body to its end."""
    size = 0
    async for part in response.aiter_stream():
        size += len(part)
        if size > ANSWER_MAX:
            return


def _header(response: httpcore2.Response, name: bytes) -> bytes:
    return next((value for key, value in response.headers if key.lower() == name), b"")


def _kind(problem: Exception) -> str:
    """A fixed word for each kind of failure: what a library says may hold the receiver's words."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, AddressRefused):
            return "its address is not one to send to"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "certificate not trusted"
        if isinstance(cause, socket.gaierror):
            return "name not found"
        cause = cause.__cause__ or cause.__context__
    return type(problem).__name__


class AddressRefused(httpcore2.ConnectError):
    """The name leads where nothing is sent to."""


class CheckedNetwork(AsyncNetworkBackend):
    """Connects to the address that was looked at, and not to what the name says a moment later.

    ``local``: the URL names this machine. ``patience_s`` is shared by the name's addresses.
    """

    def __init__(self, *, local: bool, patience_s: float) -> None:
        self._local = local
        self._patience_s = patience_s
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        """Try the host's addresses in turn. Raises AddressRefused where one of them may not be."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            problem = problem_of(ipaddress.ip_address(address), local=self._local)
            if problem:
                raise AddressRefused(problem)
        failure: Exception = httpcore2.ConnectError("no address")
        each_s = self._patience_s / max(1, len(addresses))
        for address in addresses:
            try:
                return await self._network.connect_tcp(address, port, timeout=each_s)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as problem:
                failure = problem
        raise failure

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
