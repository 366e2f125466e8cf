"""A receiver of webhooks on this machine: real HTTP, checked signatures, all misbehaviour."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"a key of thirty-two bytes, local").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the receiver does with one request."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hangs: bool = False  # never answers
    drops: bool = False  # closes the connection without an answer
    dribbles: bool = False  # answers, and never ends the body


@dataclass(kw_only=True)
class Receiver:
    """``behave`` is asked for each event that came; by default it takes all of them."""

    behave: Callable[[dict[str, Any]], Reply] = lambda event: Reply()
    secret: str = SECRET
    port: int = 0
    taken: list[dict[str, Any]] = field(default_factory=list)  # answered with 2xx
    seen: list[str] = field(default_factory=list)  # ids of all requests
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody listens any more, and nobody is answered."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?k=1"

    def by_item(self) -> dict[str, list[str]]:
        """Sequences in the order of first arrival, by item."""
        found: dict[str, list[str]] = {}
        for event in self.taken:
            mine = found.setdefault(event["subject"], [])
            if event["sequence"] not in mine:
                mine.append(event["sequence"])
        return found

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side left, or the test is over
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        event = Webhook(self.secret).verify(body, headers)
        assert json.loads(body) == event
        assert headers["webhook-id"] == event["id"]
        self.paths.append(head[0])
        self.headers.append(headers)
        self.seen.append(event["id"])
        reply = self.behave(event)
        if reply.hangs:
            await asyncio.sleep(3600)
        if reply.drops:
            return False
        if 200 <= reply.status < 300:
            self.taken.append(event)
        size = 10**9 if reply.dribbles else len(reply.body)
        lines = [f"HTTP/1.1 {reply.status} X", f"content-length: {size}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + reply.body)
        await writer.drain()
        if reply.dribbles:
            await asyncio.sleep(3600)
        return True
