"""Puts the same code around every kind of gRPC method, so that it is written once.

grpc.aio has four shapes of handler, and a streaming method may be an async generator or a
coroutine that writes. Only this module knows that. gRPC reads the message of a unary request
before it calls a handler, so every handler is offered as one that takes a stream: what is
around a method runs before a byte of its request is read, and the reading has a deadline.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import grpc

from imagesieve_server.core.errors import InvalidRequest
from imagesieve_server.grpc_api.deadlines import unary_deadline, within
from imagesieve_server.grpc_api.identity import Context, Identity

_KINDS = {
    (False, False): "unary",
    (False, True): "server_stream",
    (True, False): "client_stream",
    (True, True): "bidi_stream",
}


@dataclass(slots=True, kw_only=True)
class Call:
    """One call on its way through what is around it."""

    service: str  # for example imagesieve.v1.ModerationService
    method: str
    kind: str  # unary | server_stream | client_stream | bidi_stream
    context: Context
    request: Any = None  # the message, once it is read; None for a stream of requests
    response: Any = None  # a unary answer, once there is one
    identity: Identity | None = None  # once proved; None where nobody was asked


Inner = Callable[[], Awaitable[None]]
"""What a layer is around: runs the rest of the call. To be awaited once, or not at all."""

Around = Callable[[Call, Inner], Awaitable[None]]
"""A layer. (Context managers would read as well and cost a tenth of a call.)"""


class Guard(Protocol):
    """May end a call before any layer. (As a layer it would cost a refused call half as much
    again.)"""

    def guards(self, *, service: str, kind: str) -> bool:
        """Whether calls of these methods are to be shown to it."""
        ...

    def refusal(self, context: Context, *, service: str, method: str) -> Awaitable[None] | None:
        """None where the call may go on; else what, awaited, ends it."""
        ...


def wrapped(
    handler: grpc.RpcMethodHandler[Any, Any],
    *,
    path: str,
    layers: Sequence[Around],
    guard: Guard | None = None,
) -> grpc.RpcMethodHandler[Any, Any]:
    """The same method inside ``layers``, the first one outermost, behind ``guard``. ``path`` is
    /package.Service/Method."""
    takes_stream, gives_stream = bool(handler.request_streaming), bool(handler.response_streaming)
    service, _, method = path.lstrip("/").partition("/")
    kind = _KINDS[takes_stream, gives_stream]
    behaviour = _behaviour(handler)
    if guard is not None and not guard.guards(service=service, kind=kind):
        guard = None

    async def finish(call: Call, incoming: Any) -> None:
        request = incoming
        if not takes_stream:
            request = call.request = await _the_message(call.context, handler)
        if gives_stream:
            await _run_stream(behaviour, request, call.context)
        else:
            call.response = await behaviour(request, call.context)

    async def run(incoming: Any, context: Context) -> Any:
        if guard and (refusal := guard.refusal(context, service=service, method=method)):
            await refusal
        call = Call(service=service, method=method, kind=kind, context=context)
        inner: Inner = partial(finish, call, incoming)
        for layer in reversed(layers):
            inner = partial(layer, call, inner)
        await inner()
        return call.response

    build: Any = (
        grpc.stream_stream_rpc_method_handler
        if gives_stream
        else grpc.stream_unary_rpc_method_handler
    )
    read = handler.request_deserializer if takes_stream else None  # else in _the_message
    built: grpc.RpcMethodHandler[Any, Any] = build(run, read, handler.response_serializer)
    return built


def _behaviour(handler: grpc.RpcMethodHandler[Any, Any]) -> Any:
    shapes = (
        handler.unary_unary,
        handler.unary_stream,
        handler.stream_unary,
        handler.stream_stream,
    )
    return next(found for found in shapes if found)


async def _the_message(context: Context, handler: grpc.RpcMethodHandler[Any, Any]) -> Any:
    """The one message of a unary request. Raises InvalidRequest, DeadlinePassed."""
    reading: Awaitable[Any] = context.read()
    if context.time_remaining() is None:  # else gRPC ends the call in time by itself
        reading = within(unary_deadline(context), reading)
    raw = await reading
    if raw is grpc.aio.EOF:
        raise InvalidRequest("request", "no message was sent")
    deserializer: Any = handler.request_deserializer
    try:
        return deserializer(raw)
    except Exception:  # noqa: BLE001 -- protobuf has a class of errors for each implementation
        raise InvalidRequest("request", "is not the message of this method") from None


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
