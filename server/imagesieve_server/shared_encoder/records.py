"""What a front end and the encoder process say to each other: records of a fixed size.

Knows both directions and checks every field. Pixels and embeddings are never in a record: they
lie in shared rows, and a record names the rows. Deadlines are seconds of CLOCK_MONOTONIC, which
on Linux is one clock for all processes of a machine.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_ASK: Final = struct.Struct("<BxxxIIxxxxQd")
_TELL: Final = struct.Struct("<BBxxxxxxQd")


class BadRecord(Exception):
    """The other side sent what this protocol does not have."""


class Asked(enum.IntEnum):
    """What a front end wants."""

    ENCODE = 1  # rows lie ready
    CANCEL = 2  # nobody waits for that generation any more


class Told(enum.IntEnum):
    """What the encoder process says. All but STATE end a generation: its rows are free again."""

    STATE = 1  # health and pace, at intervals and at each change
    DONE = 2  # embeddings lie ready
    CANCELLED = 3
    UNAVAILABLE = 4
    OVERLOADED = 5
    UNMEETABLE = 6
    PASSED = 7
    SHUTTING_DOWN = 8


@dataclass(frozen=True, slots=True)
class Ask:
    """From a front end."""

    kind: Asked
    first: int  # row
    rows: int
    generation: int  # counts the requests of a connection; each has exactly one end
    deadline: float  # seconds, monotonic

    def dump(self) -> bytes:
        return _ASK.pack(self.kind, self.first, self.rows, self.generation, self.deadline)


@dataclass(frozen=True, slots=True)
class Tell:
    """From the encoder process."""

    kind: Told
    healthy: bool = False  # of STATE
    generation: int = 0  # of all others
    number: float = 0.0  # rows/s of STATE; seconds to wait of OVERLOADED and UNMEETABLE

    def dump(self) -> bytes:
        return _TELL.pack(self.kind, self.healthy, self.generation, self.number)


class AskReader:
    """Cuts a front end's bytes into records."""

    def __init__(self, *, capacity: int) -> None:
        """``capacity`` is the number of rows that are shared."""
        self._capacity = capacity
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Ask]:
        """The records that are whole by now. Raises BadRecord."""
        whole, self._rest = _cut(self._rest + data, _ASK.size)
        for kind, first, rows, generation, deadline in _ASK.iter_unpack(whole):
            if kind not in Asked.__members__.values():
                raise BadRecord(f"a request of kind {kind}")
            if not math.isfinite(deadline) or generation == 0:
                raise BadRecord("a request without deadline or number")
            if kind == Asked.ENCODE and not (rows > 0 and first + rows <= self._capacity):
                raise BadRecord(f"rows {first} to {first + rows} of {self._capacity}")
            yield Ask(Asked(kind), first, rows, generation, deadline)


class TellReader:
    """Cuts the encoder process's bytes into records."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Tell]:
        """The records that are whole by now. Raises BadRecord."""
        whole, self._rest = _cut(self._rest + data, _TELL.size)
        for kind, healthy, generation, number in _TELL.iter_unpack(whole):
            if kind not in Told.__members__.values() or healthy > 1:
                raise BadRecord(f"an answer of kind {kind}")
            if not (math.isfinite(number) and number >= 0):
                raise BadRecord("an answer with a number out of range")
            yield Tell(Told(kind), bool(healthy), generation, number)


def _cut(data: bytes, size: int) -> tuple[bytes, bytes]:
    end = len(data) - len(data) % size
    return data[:end], data[end:]
