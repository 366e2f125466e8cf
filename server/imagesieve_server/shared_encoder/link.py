"""A front end's side of one connection to the encoder process.

Knows the rows it shares and who waits for which; refuses to connect and to judge what silence
means. Rows are free again only when the encoder process has said the end of their generation: a
caller that leaves early leaves its rows behind until then. With the connection all of them go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from imagesieve_server.core.errors import (
    DeadlinePassed,
    DeadlineUnmeetable,
    EncoderUnavailable,
    ImagesieveError,
    Overloaded,
    ShuttingDown,
)
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.shared_encoder.outbox import Outbox
from imagesieve_server.shared_encoder.records import Ask, Asked, BadRecord, Tell, TellReader, Told
from imagesieve_server.shared_encoder.rows import FreeRows, SharedRows

log = logging.getLogger(__name__)

_FULL = "too many pictures wait for the encoder"
_PASSED = "the deadline passed before the picture was encoded"


@dataclass(frozen=True, slots=True)
class _Open:
    """A request that has not ended."""

    first: int  # row
    rows: int
    answer: asyncio.Future[Embeddings]


class Link(asyncio.Protocol):
    """One connection, for as long as it lasts."""

    def __init__(self, *, rows: SharedRows, on_state: Callable[[Tell], None]) -> None:
        """``on_state`` hears every word about the encoder's health, before what was said later."""
        self.lost = asyncio.Event()
        self.heard_at = time.monotonic()  # the latest word of the encoder process
        self._rows = rows
        self._on_state = on_state
        self._free = FreeRows(rows.shape.capacity)
        self._reader = TellReader()
        self._generation = 0
        self._open: dict[int, _Open] = {}
        self._transport: asyncio.Transport | None = None
        self._outbox: Outbox | None = None

    async def encode(self, pixels: Pixels, *, deadline: float) -> Embeddings:
        """As the Encoder port, for one view or more of the right shape."""
        count = len(pixels)
        if self._outbox is None or self.lost.is_set():
            raise EncoderUnavailable("the encoder is down")
        first = self._free.take(count)
        if first is None:
            raise Overloaded(_FULL, retry_after_s=max(0.0, deadline - time.monotonic()) / 2)
        self._rows.pixels[first : first + count] = pixels
        self._generation += 1
        generation = self._generation
        answer: asyncio.Future[Embeddings] = asyncio.get_running_loop().create_future()
        self._open[generation] = _Open(first, count, answer)
        self._outbox.add(Ask(Asked.ENCODE, first, count, generation, deadline).dump())
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await answer
        except TimeoutError:
            raise DeadlinePassed(_PASSED) from None
        finally:
            if generation in self._open and self._outbox is not None:
                self._outbox.add(Ask(Asked.CANCEL, 0, 0, generation, 0.0).dump())

    def end(self, error: ImagesieveError) -> None:
        """Fail everyone who waits, and let the connection go."""
        for request in self._open.values():
            if not request.answer.done():
                request.answer.set_exception(error)
        self._open.clear()
        self.lost.set()
        if self._transport is not None:
            self._transport.abort()

    # --- of the event loop --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._outbox = transport, Outbox(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._outbox = None
        self.end(EncoderUnavailable("the encoder process ended"))

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        try:
            for tell in self._reader.feed(data):
                if tell.kind is Told.STATE:
                    self._on_state(tell)
                else:
                    self._ended(tell)
        except BadRecord as problem:
            log.error("the encoder process broke the protocol", extra={"problem": str(problem)})
            self.end(EncoderUnavailable("the encoder process broke the protocol"))

    def _ended(self, tell: Tell) -> None:
        request = self._open.pop(tell.generation, None)
        if request is None:
            raise BadRecord("an end of what was not begun")
        stop = request.first + request.rows
        if not request.answer.done():
            if tell.kind is Told.DONE:
                request.answer.set_result(self._rows.embeddings[request.first : stop].copy())
            else:
                request.answer.set_exception(_error(tell))
        self._free.give_back(request.first, request.rows)


def _error(tell: Tell) -> ImagesieveError:
    if tell.kind is Told.OVERLOADED:
        return Overloaded(_FULL, retry_after_s=tell.number)
    if tell.kind is Told.UNMEETABLE:
        words = "pictures that are due earlier fill the time until then"
        return DeadlineUnmeetable(words, retry_after_s=tell.number)
    if tell.kind is Told.PASSED:
        return DeadlinePassed(_PASSED)
    if tell.kind is Told.SHUTTING_DOWN:
        return ShuttingDown("the server is shutting down")
    return EncoderUnavailable("the encoder failed on a batch")
