"""How each contender is called: one picture a call, over connections that stay open.

A way to call is a context manager that gives a coroutine function: the caller's number in, one
view out. It raises where a picture gets no embedding, so that no rate counts failures.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from peers.plain_torch import METHOD

from imagesieve_server.commands.bench import load
from imagesieve_server.commands.bench.pictures import Pictures

CALLERS = 32
One = Callable[[int], Awaitable[int]]
Calls = Callable[[Pictures], AbstractAsyncContextManager[One]]

_MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"


def to_ours(target: str) -> Calls:
    """imagesieve's service, with a policy that sees the centre."""

    @asynccontextmanager
    async def calls(pictures: Pictures) -> AsyncIterator[One]:
        async with load.channels(target, callers=CALLERS) as found:
            stubs = [load.stub_of(channel) for channel in found]

            async def one(number: int) -> int:
                request = load.request_of(pictures.new())
                stub = stubs[number % len(stubs)]
                views = await load.moderate(stub, request, timeout_s=load.PATIENCE_S)
                assert views == 1, "one view each, as the peers"
                return views

            yield one

    return calls


def to_bytes_method(target: str, method: str, message: Callable[[bytes], bytes]) -> Calls:
    """A gRPC method whose answer is taken as it is; it must not be empty."""

    @asynccontextmanager
    async def calls(pictures: Pictures) -> AsyncIterator[One]:
        async with load.channels(target, callers=CALLERS) as found:
            methods = [channel.unary_unary(method) for channel in found]

            async def one(number: int) -> int:
                sent = message(pictures.new())
                answer = await methods[number % len(methods)](sent, timeout=load.PATIENCE_S)
                assert len(answer) >= 512, "shorter than an embedding"
                return 1

            yield one

    return calls


def to_plain_torch(target: str) -> Calls:
    """The picture's bytes are the message."""
    return to_bytes_method(target, METHOD, lambda picture: picture)


def to_mlserver(target: str, model: str) -> Calls:
    """MLServer's gRPC: one BYTES tensor of one element."""
    return to_bytes_method(target, _MODEL_INFER, lambda picture: infer_request(model, picture))


def to_litserve(port: int) -> Calls:
    """JSON with base64 over HTTP, which is how LitServe takes pictures."""

    @asynccontextmanager
    async def calls(pictures: Pictures) -> AsyncIterator[One]:
        loop = asyncio.get_running_loop()
        connections = [
            http.client.HTTPConnection("127.0.0.1", port, timeout=120) for _ in range(CALLERS)
        ]
        with ThreadPoolExecutor(max_workers=CALLERS) as threads:

            async def one(number: int) -> int:
                picture = pictures.new()
                await loop.run_in_executor(threads, _post, connections[number], picture)
                return 1

            yield one
        for connection in connections:
            connection.close()

    return calls


def _post(connection: http.client.HTTPConnection, picture: bytes) -> None:
    body = b'{"image": "' + base64.b64encode(picture) + b'"}'
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"a peer answered {answer.status}: {content[:200]!r}")
    assert json.loads(content)["embedding"], "no embedding"


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
