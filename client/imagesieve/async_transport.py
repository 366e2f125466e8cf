"""Carries calls over an asyncio gRPC channel. The only place of the asyncio client that does."""

from __future__ import annotations

import time
from typing import Any, TypeVar

import grpc

from imagesieve.calls import Call
from imagesieve.connection import Connection
from imagesieve.status import error_from_rpc

Result = TypeVar("Result")


class AsyncTransport:
    """One channel, bound to the event loop that is running when it is made."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
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

    async def close(self) -> None:
        """Close the channel; calls under way end as cancelled."""
        await self._channel.close()
