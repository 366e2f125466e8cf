"""The server's end of a worker's control socket: a question, its answers, the end of the other.

Knows a socket, when answers are whole, and the event loop's readers. It refuses to read what
an answer says, and any word that was not asked for.
"""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial
from typing import Final

from imagesieve_server.alarms import Alarms
from imagesieve_server.images.worker_packing import (
    ANSWER_MAX,
    LENGTH_BYTES,
    BadMessage,
    missing_bytes,
)

_READ: Final = 4096  # bytes at once; an answer about 32 views has under 1 KiB


class LineClosed(Exception):
    """The worker closed its end, as its process does when it ends."""


class WorkerLine:
    """Used from one event loop. A stream would copy each answer once more and wake twice."""

    def __init__(self, control: socket.socket) -> None:
        """``control`` is connected and non-blocking; it is closed by ``close``."""
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._alarms = Alarms()
        self._found = b""  # of the present answers
        self._answers = 1  # as many as the question asks for
        self._answer: asyncio.Future[bytes] | None = None  # while one is waited for
        self._ending = False  # only its end is waited for
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(control.fileno(), self._readable)

    async def ask(self, question: bytes, *, within_s: float, answers: int = 1) -> bytes:
        """The answers to a question, their lengths included, one behind the other.

        Raises LineClosed, BadMessage where what came is no answer, and TimeoutError after
        ``within_s`` seconds; after each of them the line is good for ``until_closed`` only.
        """
        if self._closed.done():
            raise LineClosed
        if self._found:
            raise BadMessage("an answer before the question")
        self._answer = self._loop.create_future()
        self._answers = answers
        try:
            if self._control.send(question) != len(question):
                raise LineClosed  # its buffer holds a hundred questions: nobody reads them
        except OSError:
            raise LineClosed from None
        late = self._alarms.at(time.monotonic() + within_s, partial(_late, self._answer))
        try:
            return await self._answer
        finally:
            late.cancel()
            self._answer = None

    async def until_closed(self) -> None:
        """Return when the other end is closed; what is still said is thrown away."""
        self._ending = True
        if not self._closed.done():
            self._loop.add_reader(self._control.fileno(), self._readable)
        await asyncio.shield(self._closed)

    def close(self) -> None:
        """Close this end. Repeats safely."""
        self._end()
        self._control.close()

    def _readable(self) -> None:
        try:
            said = self._control.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._end()
            return
        if self._ending:
            return
        self._found += said
        if len(self._found) > self._answers * (ANSWER_MAX + LENGTH_BYTES):
            # No answer: it may block now, and not keep the loop awake until it is killed.
            self._loop.remove_reader(self._control.fileno())
        if self._answer is None or self._answer.done():
            return
        try:
            if not missing_bytes(self._found, self._answers):
                self._answer.set_result(self._found)
                self._found = b""
        except BadMessage as error:
            self._answer.set_exception(error)

    def _end(self) -> None:
        if self._closed.done():
            return
        self._loop.remove_reader(self._control.fileno())
        self._closed.set_result(None)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LineClosed())


def _late(answer: asyncio.Future[bytes]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())
