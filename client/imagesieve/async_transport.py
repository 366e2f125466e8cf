"""Carries calls over an asyncio gRPC channel. The only place of the asyncio client that does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import grpc

from imagesieve.calls import Call, StreamCall
from imagesieve.connection import Connection
from imagesieve.status import error_from_rpc

Result = TypeVar("Result")


class AsyncTransport:
    """One channel, bound to the event loop that is running when it is made."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._closed = False
        options = connection.options
        if connection.credentials is None:
            self._channel = grpc.aio.insecure_channel(connection.target, options)
        else:
            self._channel = grpc.aio.secure_channel(
                connection.target, connection.credentials, options
            )

    async def run(self, call: Call[Any, Result]) -> Result:
        """Send the call and wait for what it makes of the outcome."""
        method: Any = self._channel.unary_unary(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.answer.FromString,
        )
        started = time.monotonic()
        try:
            answer = await method(
                call.request,
                timeout=call.timeout_s,
                metadata=self._connection.metadata(),
                wait_for_ready=self._connection.wait_for_ready,
            )
        except grpc.RpcError as error:
            return call.failed(error_from_rpc(error), time.monotonic() - started)
        return call.read(answer, time.monotonic() - started)

    async def stream(self, call: StreamCall[Any, Result]) -> AsyncGenerator[Result, None]:
        """As ``Transport.stream``."""
        if self._closed:
            return
        method: Any = self._channel.unary_stream(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.answer.FromString,
        )
        answers = method(
            call.request,
            metadata=self._connection.metadata(),
            wait_for_ready=self._connection.wait_for_ready,
        )
        try:
            async for answer in answers:
                yield call.read(answer)
        except grpc.RpcError as error:
            if not self._closed:
                raise error_from_rpc(error) from None
        except asyncio.CancelledError:
            if not self._closed:  # the channel's end cancels its calls; that is no cancellation
                raise
        finally:
            answers.cancel()

    @property
    def closed(self) -> bool:
        return self._closed

    async def close(self) -> None:
        """Close the channel; calls under way end as cancelled."""
        self._closed = True
        await self._channel.close()
