"""The encoder's process: any encoder, answered for over local connections.

Knows connections and whose rows are in use; refuses to know batches (the encoder forms them, over
all front ends) and what listens. A front end that breaks the protocol loses its connection; its
rows stay mapped for as long as a run may look at them, and no longer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np

from imagesieve_server.core.errors import (
    DeadlinePassed,
    DeadlineUnmeetable,
    EncoderUnavailable,
    Overloaded,
    ShuttingDown,
)
from imagesieve_server.core.ports import Encoder
from imagesieve_server.core.views import Embeddings
from imagesieve_server.shared_encoder.greeting import say_spec, take_share
from imagesieve_server.shared_encoder.outbox import Outbox
from imagesieve_server.shared_encoder.records import Ask, Asked, AskReader, BadRecord, Tell, Told
from imagesieve_server.shared_encoder.rows import SharedRows

log = logging.getLogger(__name__)

_KINDS: Final[Mapping[type[BaseException], Told]] = {
    EncoderUnavailable: Told.UNAVAILABLE,
    Overloaded: Told.OVERLOADED,
    DeadlineUnmeetable: Told.UNMEETABLE,
    DeadlinePassed: Told.PASSED,
    ShuttingDown: Told.SHUTTING_DOWN,
}


class PacedEncoder(Encoder, Protocol):
    """An encoder that knows how fast it is."""

    @property
    def rows_per_s(self) -> float: ...


class EncoderService:
    """Serves one encoder on a listening Unix socket. Use from one event loop."""

    def __init__(
        self, *, encoder: PacedEncoder, listening: socket.socket, beat_s: float = 1.0
    ) -> None:
        """``beat_s`` is the longest time between two words to a front end, seconds."""
        self._encoder = encoder
        self._listening = listening
        self._beat_s = beat_s
        self._connections: set[_Connection] = set()
        self._greetings: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take connections until cancelled, and say at intervals how the encoder is."""
        self._listening.setblocking(False)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._accept())
            group.create_task(self._beat())

    def tell_state(self) -> None:
        """Tell every front end now; for changes that must not wait for the next beat."""
        for connection in self._connections:
            connection.tell_state()

    async def close(self) -> None:
        """End all connections, after the records that are on their way."""
        for greeting in self._greetings:
            greeting.cancel()
        await asyncio.gather(*self._greetings, return_exceptions=True)
        for connection in list(self._connections):
            connection.end()
        await asyncio.sleep(0)  # lets the loop close the sockets

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(self._listening)
            accepted.setblocking(False)
            greeting = asyncio.create_task(self._greet(accepted))
            self._greetings.add(greeting)
            greeting.add_done_callback(self._greetings.discard)

    async def _greet(self, accepted: socket.socket) -> None:
        spec = self._encoder.spec
        try:
            await say_spec(accepted, spec)
            rows = await take_share(accepted, spec)
            connection = _Connection(self._encoder, rows, self._connections)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)
        except (OSError, BadRecord) as problem:
            log.warning("a front end was not connected", extra={"problem": str(problem)})
            accepted.close()
        except BaseException:
            accepted.close()
            raise

    async def _beat(self) -> None:
        said, healthy = 0.0, None
        loop = asyncio.get_running_loop()
        while True:
            if healthy is not self._encoder.healthy or loop.time() - said >= self._beat_s:
                said, healthy = loop.time(), self._encoder.healthy
                self.tell_state()
            await asyncio.sleep(self._beat_s / 10)


class _Connection(asyncio.Protocol):
    """One front end."""

    def __init__(
        self, encoder: PacedEncoder, rows: SharedRows, connections: set[_Connection]
    ) -> None:
        self._encoder = encoder
        self._rows = rows
        self._connections = connections
        self._reader = AskReader(capacity=rows.shape.capacity)
        self._in_use = np.zeros(rows.shape.capacity, dtype=bool)
        self._latest = 0  # generation
        self._work: dict[int, asyncio.Task[Embeddings]] = {}
        self._transport: asyncio.Transport | None = None
        self._outbox: Outbox | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._outbox = transport, Outbox(transport)
        self._connections.add(self)
        self.tell_state()

    def connection_lost(self, exc: Exception | None) -> None:
        self._outbox = None
        self._connections.discard(self)
        for work in self._work.values():
            work.cancel()

    def pause_writing(self) -> None:
        """A front end that does not listen is not listened to."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            for ask in self._reader.feed(data):
                self._take(ask)
        except BadRecord as problem:
            log.error("a front end broke the protocol", extra={"problem": str(problem)})
            assert self._transport is not None  # as data were received
            self._transport.abort()

    def tell_state(self) -> None:
        self._say(Tell(Told.STATE, healthy=self._encoder.healthy, number=self._encoder.rows_per_s))

    def end(self) -> None:
        """Close after what is on its way; what is at work by now has nobody left to hear of it."""
        if self._transport is not None and self._outbox is not None:
            self._outbox.flush()
            self._transport.close()

    def _take(self, ask: Ask) -> None:
        if ask.kind is Asked.CANCEL:
            if ask.generation > self._latest:
                raise BadRecord("nothing of that number to cancel")
            if work := self._work.get(ask.generation):
                work.cancel()
            return  # or it has ended already, and the word about it is on its way
        rows = slice(ask.first, ask.first + ask.rows)
        if ask.generation <= self._latest or self._in_use[rows].any():
            raise BadRecord("rows that are in use, or a number used before")
        self._latest = ask.generation
        self._in_use[rows] = True
        work = asyncio.ensure_future(
            self._encoder.encode(self._rows.pixels[rows], deadline=ask.deadline)
        )
        self._work[ask.generation] = work
        work.add_done_callback(lambda done: self._ended(ask, done))

    def _ended(self, ask: Ask, work: asyncio.Task[Embeddings]) -> None:
        """Say how a request ended, once and last: from then on its rows are the front end's."""
        del self._work[ask.generation]
        rows = slice(ask.first, ask.first + ask.rows)
        self._in_use[rows] = False
        if work.cancelled():
            kind, number = Told.CANCELLED, 0.0
        elif problem := work.exception():
            kind, number = _failure(problem)
            if kind is Told.UNAVAILABLE:
                self.tell_state()  # before the caller hears: a repeat must find the encoder down
        else:
            kind, number = Told.DONE, 0.0
            self._rows.embeddings[rows] = work.result()
        self._say(Tell(kind, generation=ask.generation, number=number))

    def _say(self, tell: Tell) -> None:
        if self._outbox is not None:
            self._outbox.add(tell.dump())


def _failure(problem: BaseException) -> tuple[Told, float]:
    kind = _KINDS.get(type(problem))
    if kind is None:
        log.error("the encoder broke its promises", exc_info=problem)
        return Told.UNAVAILABLE, 0.0
    if isinstance(problem, Overloaded | DeadlineUnmeetable):
        return kind, max(0.0, problem.retry_after_s)
    return kind, 0.0
