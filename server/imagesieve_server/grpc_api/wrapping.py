"""Puts one piece of code around every kind of gRPC method, so that it is written once.

grpc.aio has four shapes of handler, and a streaming method may be an async generator or a
coroutine that writes. Only this module knows that.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import grpc

from imagesieve_server.grpc_api.identity import Context

_BUILDERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
_KINDS = {
    (False, False): "unary",
    (False, True): "server_stream",
    (True, False): "client_stream",
    (True, True): "bidi_stream",
}


@dataclass(slots=True, kw_only=True)
class Call:
    """One call on its way through the interceptors."""

    service: str  # for example imagesieve.v1.ModerationService
    method: str
    kind: str  # unary | server_stream | client_stream | bidi_stream
    request: Any  # the message; None for a stream of requests
    context: Context
    response: Any = None  # a unary answer, once there is one


Around = Callable[[Call], AbstractAsyncContextManager[None]]


def wrapped(
    handler: grpc.RpcMethodHandler[Any, Any], *, path: str, around: Around
) -> grpc.RpcMethodHandler[Any, Any]:
    """The same handler, run inside ``around``. ``path`` is /package.Service/Method."""
    shape = (bool(handler.request_streaming), bool(handler.response_streaming))
    service, _, method = path.lstrip("/").partition("/")
    behaviour: Any = next(
        found
        for found in (
            handler.unary_unary,
            handler.unary_stream,
            handler.stream_unary,
            handler.stream_stream,
        )
        if found
    )

    def call(request: Any, context: Context) -> Call:
        shown = None if shape[0] else request
        return Call(
            service=service, method=method, kind=_KINDS[shape], request=shown, context=context
        )

    async def answer(request: Any, context: Context) -> Any:
        this = call(request, context)
        async with around(this):
            this.response = await behaviour(request, context)
            return this.response

    async def stream(request: Any, context: Context) -> None:
        async with around(call(request, context)):
            await _run_stream(behaviour, request, context)

    inner: Any = stream if shape[1] else answer
    build: Any = _BUILDERS[shape]
    built: grpc.RpcMethodHandler[Any, Any] = build(
        inner, handler.request_deserializer, handler.response_serializer
    )
    return built


async def _run_stream(behaviour: Callable[..., Any], request: Any, context: Context) -> None:
    """Run either style of streaming method; its generator is closed when the call ends."""
    if not inspect.isasyncgenfunction(behaviour):
        outcome: Awaitable[None] = behaviour(request, context)
        await outcome
        return
    responses: AsyncIterator[Any] = behaviour(request, context)
    async with contextlib.aclosing(responses):  # type: ignore[type-var]
        async for response in responses:
            await context.write(response)
