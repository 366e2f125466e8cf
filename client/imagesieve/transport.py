"""Carries calls over a blocking gRPC channel. The only place of the blocking client that does.

Calls do not wait for a server to become ready unless told to: while none can be reached they
fail after the channel's few retries, about three seconds, instead of holding one of the
uploader's threads for the whole timeout only to say the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import grpc

from imagesieve.calls import Call, StreamCall
from imagesieve.connection import Connection
from imagesieve.status import error_from_rpc

Result = TypeVar("Result")


class Pending(Generic[Result]):
    """A call under way."""

    def __init__(self, call: Call[Any, Result], future: Any) -> None:
        self._call = call
        self._future = future
        self._started = time.monotonic()
        self._elapsed_s = 0.0

    def when_done(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` once, from a thread of gRPC, when ``settle`` no longer blocks."""

        def done(_: object) -> None:
            self._elapsed_s = time.monotonic() - self._started
            notify()

        self._future.add_done_callback(done)

    def settle(self) -> Result:
        """What the call makes of its answer or failure."""
        try:
            answer = self._future.result()
        except grpc.RpcError as error:
            return self._call.failed(error_from_rpc(error), self._elapsed_s)
        return self._call.read(answer, self._elapsed_s)

    def cancel(self) -> None:
        self._future.cancel()


class Transport:
    """One channel. Safe to use from several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._closed = False
        options = connection.options
        if connection.credentials is None:
            self._channel = grpc.insecure_channel(connection.target, options)
        else:
            self._channel = grpc.secure_channel(connection.target, connection.credentials, options)

    def run(self, call: Call[Any, Result]) -> Result:
        """Send the call and wait for what it makes of the outcome."""
        started = time.monotonic()
        try:
            answer = self._method(call)(call.request, **self._settings(call))
        except grpc.RpcError as error:
            return call.failed(error_from_rpc(error), time.monotonic() - started)
        return call.read(answer, time.monotonic() - started)

    def start(self, call: Call[Any, Result]) -> Pending[Result]:
        """Send the call without waiting."""
        return Pending(call, self._method(call).future(call.request, **self._settings(call)))

    def stream(self, call: StreamCall[Any, Result]) -> Iterator[Result]:
        """What the call makes of each answer, as they come. Raises as the stream fails; ends
        where the server ends it, and where the transport is closed."""
        if self._closed:
            return
        answers = self._channel.unary_stream(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.answer.FromString,
        )(
            call.request,
            metadata=self._connection.metadata(),
            wait_for_ready=self._connection.wait_for_ready,
        )
        try:
            for answer in answers:
                yield call.read(answer)
        except grpc.RpcError as error:
            if not self._closed:
                raise error_from_rpc(error) from None
        finally:
            answers.cancel()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Close the channel; calls under way end as cancelled."""
        self._closed = True
        self._channel.close()

    def _method(self, call: Call[Any, Result]) -> Any:
        return self._channel.unary_unary(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.answer.FromString,
        )

    def _settings(self, call: Call[Any, Result]) -> dict[str, Any]:
        return {
            "timeout": call.timeout_s,
            "metadata": self._connection.metadata(),
            "wait_for_ready": self._connection.wait_for_ready,
        }
