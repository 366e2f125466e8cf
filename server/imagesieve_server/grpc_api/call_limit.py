"""How many calls of one service may be at work, refused before their message is read.

A message is in memory as a whole before its method begins, and gRPC's own limit refuses
without a word of why. On the wire a unary call and a stream of one message are the same, so
unary methods are registered as streams here: a call beyond the limit gets its typed status
while its image is still unread, and a caller that never sends its message is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NoReturn, Protocol

import grpc

from imagesieve_server.core.errors import (
    DeadlinePassed,
    ImagesieveError,
    InvalidRequest,
    Overloaded,
)
from imagesieve_server.grpc_api import deadlines
from imagesieve_server.grpc_api.admission import AdmissionMetrics, Shed
from imagesieve_server.grpc_api.identity import Context
from imagesieve_server.grpc_api.interceptors import LABELS, Continuation, Handler, RpcMetrics
from imagesieve_server.grpc_api.status_codes import failure_of

RETRY_AFTER_S = 1.0
"""Told to a caller whose message was not read: nothing is known of what it would cost."""


class CallLimitMetrics(RpcMetrics, AdmissionMetrics, Protocol):
    """What the limit reports: a refused call is a call all the same."""


class LimitCalls(grpc.aio.ServerInterceptor):
    """Bounds the unary calls of one service, and as many streams beside them.

    The outermost interceptor; used from one event loop.
    """

    def __init__(self, *, service: str, max_calls: int, metrics: CallLimitMetrics) -> None:
        """``service`` is the full name, for example imagesieve.v1.ModerationService."""
        self._service = service
        self._max_calls = max_calls
        self._metrics = metrics
        self._calls = 0
        self._streams = 0  # apart, so that idle streams cannot keep the unary calls out

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        service, _, method = str(handler_call_details.method).lstrip("/").rpartition("/")
        if handler is None or service != self._service:
            return handler
        if handler.unary_unary is None:
            return self._limited_stream(handler, method)
        return self._limited_unary(handler, method)

    def _limited_unary(self, handler: Any, method: str) -> Handler:
        async def answer(requests: AsyncIterator[Any], context: Context) -> Any:
            if self._calls >= self._max_calls:
                await self._refuse(context, method=method, kind="unary")
            self._calls += 1
            try:
                return await handler.unary_unary(await self._first(requests, context), context)
            finally:
                self._calls -= 1

        build: Any = grpc.stream_unary_rpc_method_handler
        limited: Handler = build(answer, handler.request_deserializer, handler.response_serializer)
        return limited

    def _limited_stream(self, handler: Any, method: str) -> Handler:
        async def stream(requests: AsyncIterator[Any], context: Context) -> None:
            if self._streams >= self._max_calls:
                await self._refuse(context, method=method, kind="bidi_stream")
            self._streams += 1
            try:
                await handler.stream_stream(requests, context)
            finally:
                self._streams -= 1

        build: Any = grpc.stream_stream_rpc_method_handler
        limited: Handler = build(stream, handler.request_deserializer, handler.response_serializer)
        return limited

    async def _first(self, requests: AsyncIterator[Any], context: Context) -> Any:
        """The one message of a unary call, within the time that a call has."""
        left = context.time_remaining()
        try:
            async with asyncio.timeout(deadlines.DEFAULT_S if left is None else left):
                async for request in requests:
                    return request
        except TimeoutError:
            await _abort(context, DeadlinePassed("the deadline passed before the message came"))
        await _abort(context, InvalidRequest("request", "the call carried no message"))

    async def _refuse(self, context: Context, *, method: str, kind: str) -> NoReturn:
        label = {"kind": kind, "service": self._service, "method": method}
        self._metrics.rpc_started(**label)
        self._metrics.images_shed(1, reason=Shed.CALLS)
        code = LABELS[grpc.StatusCode.UNAVAILABLE]
        try:
            await _abort(
                context,
                Overloaded(
                    "the server has as many calls in hand as it can take",
                    retry_after_s=RETRY_AFTER_S,
                ),
            )
        finally:
            self._metrics.rpc_handled(**label, code=code, seconds=0.0)


async def _abort(context: Context, error: ImagesieveError) -> NoReturn:
    failure = failure_of(error)
    try:
        await context.abort(failure.code, failure.message, failure.trailers())
    except grpc.aio.InternalError:  # the caller is gone already
        raise asyncio.CancelledError from None
    raise AssertionError("abort raises")
