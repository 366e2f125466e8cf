"""What a process tells its supervisor: that it is ready or why not, and its metrics when asked.

Knows the control socket and both its ends; refuses to know what a process does. A silent process
is found out by asking.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from imagesieve_server.core.errors import StartupError

LINE_MAX: Final = 256 * 1024
_ANSWER_MAX: Final = 64 * 1024 * 1024  # bytes
_METRICS: Final = b"metrics\n"
_ALIVE: Final = b"alive\n"


class BrokenTalk(Exception):
    """A child said what is no answer. Nothing it says later can be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A process that does its work."""

    bundle: str = ""  # the model's name
    provider: str = ""  # of the encoder process: where it computes, in the settings' word
    policies: tuple[str, ...] = ()  # of a front end
    console_port: int | None = None


async def answer_supervisor(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exposition: Callable[[], bytes]
) -> None:
    """Answer what is asked until the supervisor closes its end."""
    while line := await reader.readline():
        text = b""
        if line == _METRICS:
            text = await asyncio.to_thread(exposition)
        writer.write(f"{len(text)}\n".encode() + text)
        await writer.drain()


def say_ready(writer: asyncio.StreamWriter, ready: Ready) -> None:
    """A child's first word."""
    writer.write(json.dumps({"ready": asdict(ready)}).encode() + b"\n")


def say_problem(control: socket.socket, problem: str) -> None:
    """A child's only word: it cannot start. The socket may block."""
    control.setblocking(True)
    control.sendall(json.dumps({"problem": problem}).encode() + b"\n")


class ChildTalk:
    """The supervisor's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()
        self.gone = False  # it was asked and has closed its end

    async def first_word(self, name: str) -> Ready:
        """Wait until the child is ready. Raises StartupError with its own words."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            line = b""
        except ValueError as problem:  # a line without end
            raise StartupError(f"the process {name} said what cannot be read") from problem
        if not line:
            raise StartupError(f"the process {name} ended before it was ready")
        try:
            word: dict[str, Any] = json.loads(line)
            ready = word.get("ready")
            found = (
                None if ready is None else Ready(**ready | {"policies": tuple(ready["policies"])})
            )
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            raise StartupError(f"the process {name} said what cannot be read") from problem
        if found is None:
            raise StartupError(str(word.get("problem")))
        return found

    async def metrics(self) -> str:
        """The child's series, as Prometheus reads them; "" where it has gone. Raises BrokenTalk."""
        return (await self._ask(_METRICS)).decode(errors="replace")

    async def alive(self) -> None:
        """Returns once the child has answered, or has gone. Raises BrokenTalk."""
        await self._ask(_ALIVE)

    def close(self) -> None:
        """The child's signal to end."""
        self._writer.close()

    async def _ask(self, line: bytes) -> bytes:
        # An asker who gives up must not leave half an answer to the next one.
        return await asyncio.shield(asyncio.create_task(self._asked(line)))

    async def _asked(self, question: bytes) -> bytes:
        async with self._turn:
            try:
                self._writer.write(question)
                line = await self._reader.readline()
                self.gone = not line
                size = int(line or b"0")
                if not 0 <= size <= _ANSWER_MAX:
                    raise BrokenTalk(f"an answer of {size} bytes")
                return await self._reader.readexactly(size)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.gone = True
                return b""
            except ValueError as problem:
                raise BrokenTalk("an answer without a size") from problem
