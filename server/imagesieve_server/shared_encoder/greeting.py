"""How a connection begins: the encoder says which model it has, the front end shares rows.

Knows one line of JSON one way, one record with a file descriptor the other way. It refuses to
take more memory, or memory of another kind, than was announced. The sockets do not block.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import struct
from typing import Any, Final

from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.views import Preprocessing
from imagesieve_server.shared_encoder.records import BadRecord
from imagesieve_server.shared_encoder.rows import Shape, SharedRows, attach_rows

MAX_ROWS: Final = 1 << 16
_LINE_MAX: Final = 16 * 1024
_SHARE: Final = struct.Struct("<4sI")
_MAGIC: Final = b"rows"


def shape_of(spec: EncoderSpec, capacity: int) -> Shape:
    """The rows of a model."""
    return Shape(capacity=capacity, side=spec.preprocessing.size, width=spec.embedding_size)


async def say_spec(connection: socket.socket, spec: EncoderSpec) -> None:
    """The encoder's first word."""
    line = json.dumps(dataclasses.asdict(spec)).encode() + b"\n"
    await asyncio.get_running_loop().sock_sendall(connection, line)


async def hear_spec(connection: socket.socket) -> EncoderSpec:
    """Waits for that word. Raises BadRecord, and ConnectionError where nobody speaks any more."""
    line = b""
    while not line.endswith(b"\n"):
        part = await asyncio.get_running_loop().sock_recv(connection, _LINE_MAX)
        line += part
        if not part:
            raise ConnectionResetError("the encoder process has gone")
        if len(line) > _LINE_MAX:
            raise BadRecord("a first word without end")
    try:
        return _spec(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise BadRecord("not a model's description") from problem


async def share(connection: socket.socket, fd: int, capacity: int) -> None:
    """Hand over the rows. The record is far smaller than a socket's buffer: it does not wait."""
    socket.send_fds(connection, [_SHARE.pack(_MAGIC, capacity)], [fd])


async def take_share(connection: socket.socket, spec: EncoderSpec) -> SharedRows:
    """The rows of a front end. Raises BadRecord, and ConnectionError where it is gone."""
    await _readable(connection)
    data, fds, flags, _ = socket.recv_fds(connection, _SHARE.size, 1)
    try:
        if not data:
            raise ConnectionResetError("the front end has gone")
        if len(data) != _SHARE.size or len(fds) != 1 or flags & socket.MSG_CTRUNC:
            raise BadRecord("not one block of rows")
        magic, capacity = _SHARE.unpack(data)
        if magic != _MAGIC or not 0 < capacity <= MAX_ROWS:
            raise BadRecord(f"a block of {capacity} rows")
        return attach_rows(fds[0], shape_of(spec, capacity))
    except (OSError, ValueError) as problem:
        if isinstance(problem, ConnectionResetError):
            raise
        raise BadRecord("memory that cannot be shared") from problem
    finally:
        for fd in fds:
            os.close(fd)


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)


def _spec(raw: Any) -> EncoderSpec:
    preprocessing = dict(raw.pop("preprocessing"))
    for name in ("mean", "std"):
        preprocessing[name] = tuple(preprocessing[name])
    spec = EncoderSpec(preprocessing=Preprocessing(**preprocessing), **raw)
    for value in (spec.preprocessing.size, spec.embedding_size):
        if type(value) is not int or not 0 < value <= 1 << 16:
            raise ValueError("a size out of range")
    return spec
