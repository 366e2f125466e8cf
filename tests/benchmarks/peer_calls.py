"""How each contender is called: one picture a call, over connections that stay open.

A way to call is a context manager that gives a coroutine function: the caller's number and a
picture in, the answer as it came out. It raises where a picture was not answered, so that no rate
counts failures. What an answer says is ``peer_answers``.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from peers.plain_torch import METHOD

from imagesieve_server.commands.bench import load

CALLERS = 32
Send = Callable[[int, bytes], Awaitable[Any]]
Calls = Callable[[], AbstractAsyncContextManager[Send]]

_MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"


def to_ours(target: str) -> Calls:
    """imagesieve's service, with a policy that sees the centre."""

    @asynccontextmanager
    async def calls() -> AsyncIterator[Send]:
        async with load.channels(target, callers=CALLERS) as found:
            stubs = [load.stub_of(channel) for channel in found]

            async def send(number: int, picture: bytes) -> Any:
                request = load.request_of(picture)
                answer = await stubs[number % len(stubs)].Moderate(request, timeout=load.PATIENCE_S)
                assert not answer.reasons, "flagged: not only its path would be measured"
                assert len(answer.views) == 1, "one view each, as the peers"
                return answer

            yield send

    return calls


def to_bytes_method(target: str, method: str, message: Callable[[bytes], bytes]) -> Calls:
    """A gRPC method whose answer is taken as it is; it must not be empty."""

    @asynccontextmanager
    async def calls() -> AsyncIterator[Send]:
        async with load.channels(target, callers=CALLERS) as found:
            methods = [channel.unary_unary(method) for channel in found]

            async def send(number: int, picture: bytes) -> bytes:
                sent = message(picture)
                answer = await methods[number % len(methods)](sent, timeout=load.PATIENCE_S)
                assert len(answer) >= 512, "shorter than an embedding"
                return bytes(answer)

            yield send

    return calls


def to_plain_torch(target: str) -> Calls:
    """The picture's bytes are the message."""
    return to_bytes_method(target, METHOD, lambda picture: picture)


def to_mlserver(target: str, model: str) -> Calls:
    """MLServer's gRPC: one BYTES tensor of one element."""
    return to_bytes_method(target, _MODEL_INFER, lambda picture: infer_request(model, picture))


def to_litserve(port: int) -> Calls:
    """JSON with base64 over HTTP, which is how LitServe takes pictures; a connection a caller."""

    @asynccontextmanager
    async def calls() -> AsyncIterator[Send]:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CALLERS)]

        async def send(number: int, picture: bytes) -> bytes:
            body = b'{"image": "' + base64.b64encode(picture) + b'"}'
            async with asyncio.timeout(load.PATIENCE_S):
                return await _posted(*opened[number], body)

        yield send
        for _, writer in opened:
            writer.close()

    return calls


async def _posted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> bytes:
    """The answer's body. By hand, so that this caller costs no more than the others."""
    writer.write(b"POST /predict HTTP/1.1\r\nHost: peer\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(body))  # fmt: skip
    writer.write(body)
    await writer.drain()
    status, *fields = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    lengths = [int(field[15:]) for field in fields if field.startswith(b"content-length:")]
    content = await reader.readexactly(lengths[0])
    if status.split()[1] != b"200":
        raise RuntimeError(f"a peer answered {status!r}: {content[:200]!r}")
    return content


def infer_request(model: str, picture: bytes) -> bytes:
    """A ``ModelInferRequest`` of the Open Inference Protocol, written by hand: our environment has
    no generated code for it. Fields: model_name 1; inputs 5 of name 1, datatype 2, shape 3,
    contents 5 of bytes_contents 8."""
    tensor = b"".join(
        (
            _field(1, b"image"),
            _field(2, b"BYTES"),
            _field(3, b"\x01"),  # packed: one element
            _field(5, _field(8, picture)),
        )
    )
    return _field(1, model.encode()) + _field(5, tensor)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
