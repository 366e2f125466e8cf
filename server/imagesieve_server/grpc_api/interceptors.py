"""What happens around every call: it is counted, timed, logged, and its errors are translated.

It knows calls, not what they do. Order on the server: ObserveCalls outside, MapErrors next,
the gate (``gate.py``) inside, so that what is counted and logged is what the caller was told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import grpc

from imagesieve.v1 import moderation_pb2, verdict_pb2
from imagesieve_server.core.errors import NotBuilt
from imagesieve_server.grpc_api.failures import describe
from imagesieve_server.grpc_api.in_flight import CallsInFlight
from imagesieve_server.grpc_api.status_codes import code_number
from imagesieve_server.grpc_api.wrapping import Around, Call, Guard, Inner, wrapped

log = logging.getLogger(__name__)

LABELS = {
    grpc.StatusCode.OK: "OK",
    grpc.StatusCode.CANCELLED: "Canceled",
    grpc.StatusCode.UNKNOWN: "Unknown",
    grpc.StatusCode.INVALID_ARGUMENT: "InvalidArgument",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DeadlineExceeded",
    grpc.StatusCode.NOT_FOUND: "NotFound",
    grpc.StatusCode.ALREADY_EXISTS: "AlreadyExists",
    grpc.StatusCode.PERMISSION_DENIED: "PermissionDenied",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "ResourceExhausted",
    grpc.StatusCode.FAILED_PRECONDITION: "FailedPrecondition",
    grpc.StatusCode.ABORTED: "Aborted",
    grpc.StatusCode.OUT_OF_RANGE: "OutOfRange",
    grpc.StatusCode.UNIMPLEMENTED: "Unimplemented",
    grpc.StatusCode.INTERNAL: "Internal",
    grpc.StatusCode.UNAVAILABLE: "Unavailable",
    grpc.StatusCode.DATA_LOSS: "DataLoss",
    grpc.StatusCode.UNAUTHENTICATED: "Unauthenticated",
}
"""Values of the grpc_code label, as the dashboards and alerts for gRPC everywhere have them."""

_LOGGED_OF_REQUEST = ("request_id", "item_id", "claim_id")
_LOGGED_OF_RESPONSE = ("sha256", "policy_version", "model_version", "degraded")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs only
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]]


class RpcMetrics(Protocol):
    """What is counted of calls. Every ``rpc_started`` is followed by one ``rpc_handled``."""

    def rpc_started(self, *, kind: str, service: str, method: str) -> None:
        """A call began. ``kind`` is unary, server_stream, client_stream or bidi_stream."""
        ...

    def rpc_handled(
        self, *, kind: str, service: str, method: str, code: str, seconds: float
    ) -> None:
        """A call ended; ``code`` is one of ``LABELS``."""
        ...


class Layered(grpc.aio.ServerInterceptor):
    """Runs every existing method inside the layers, the first one outermost, behind the guard."""

    def __init__(self, *layers: Around, guard: Guard | None = None) -> None:
        self._layers = layers
        self._guard = guard
        self._wrapped: dict[str, Handler] = {}  # by path, of methods that exist

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        path = str(handler_call_details.method)
        if known := self._wrapped.get(path):
            return known
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: gRPC answers UNIMPLEMENTED by itself
            return None
        self._wrapped[path] = wrapped(handler, path=path, layers=self._layers, guard=self._guard)
        return self._wrapped[path]


class MapErrors:
    """Turns every exception into a status with its details.

    A caller may go away, or its deadline pass, just when it is being told something: gRPC
    then fails to send, which is nobody's error. It counts as the cancellation it is.
    """

    async def around(self, call: Call, inner: Inner) -> None:
        """Run the call."""
        try:
            await inner()
        except grpc.aio.AbortError:
            raise  # the method has said itself what the caller gets
        except grpc.aio.InternalError:
            raise asyncio.CancelledError from None
        except Exception as error:  # noqa: BLE001 -- each becomes a status; unnamed ones are logged
            if isinstance(error, NotImplementedError):  # how generated servicers lack a method
                error = NotBuilt(f"this server does not have {call.method}")
            failure = describe(error, request_id=str(getattr(call.request, "request_id", "")))
            try:
                await call.context.abort(failure.code, failure.message, failure.trailers())
            except grpc.aio.InternalError:
                raise asyncio.CancelledError from None


class ObserveCalls:
    """Counts, times and logs every call."""

    def __init__(
        self,
        *,
        metrics: RpcMetrics,
        in_flight: CallsInFlight,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._metrics = metrics
        self._in_flight = in_flight
        self._clock = clock

    async def around(self, call: Call, inner: Inner) -> None:
        """Run the call."""
        label = {"kind": call.kind, "service": call.service, "method": call.method}
        started = self._clock()
        self._metrics.rpc_started(**label)
        code = grpc.StatusCode.UNKNOWN
        try:
            with self._in_flight.count(call.service):
                await inner()
            code = _present_code(call)
        except grpc.aio.AbortError:
            code = _present_code(call)
            raise
        except asyncio.CancelledError:
            code = _cancel_code(call)
            raise
        finally:
            seconds = self._clock() - started
            self._metrics.rpc_handled(**label, code=LABELS[code], seconds=seconds)
            _log(call, code, seconds)


def _present_code(call: Call) -> grpc.StatusCode:
    """What the context holds: nothing, a member or its number."""
    code: Any = call.context.code()
    if not code:
        return grpc.StatusCode.OK
    if isinstance(code, grpc.StatusCode):
        return code
    return next((known for known in LABELS if code_number(known) == code), grpc.StatusCode.UNKNOWN)


def _cancel_code(call: Call) -> grpc.StatusCode:
    """gRPC cancels a method when its caller goes away and when its deadline passes."""
    remaining = call.context.time_remaining()
    expired = remaining is not None and remaining <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED


def _log(call: Call, code: grpc.StatusCode, seconds: float) -> None:
    """One line per call; never an image, a token or a note."""
    level = logging.INFO if call.service.startswith("imagesieve.") else logging.DEBUG
    if not log.isEnabledFor(level):
        return
    facts = {
        "rpc_service": call.service,
        "rpc_method": call.method,
        "rpc_code": code.name,
        "rpc_seconds": round(seconds, 6),
        "rpc_peer": call.context.peer(),
        **_caller(call),
        **_facts(call.request, _LOGGED_OF_REQUEST),
        **_facts(call.response, _LOGGED_OF_RESPONSE),
    }
    if isinstance(call.response, moderation_pb2.ModerateResponse):
        facts["verdict"] = verdict_pb2.Verdict.Name(call.response.verdict)
    if code is not grpc.StatusCode.OK:
        facts["rpc_message"] = call.context.details()
    # As ``log.log``, but nobody looks for the line of code, which is always this one.
    args = (call.method, code.name)
    log.handle(log.makeRecord(log.name, level, __file__, 0, "%s %s", args, None, extra=facts))


def _caller(call: Call) -> dict[str, object]:
    """Who called, by name; what proved it is never written down."""
    if call.identity is None:
        return {}
    named = {"caller": call.identity.name} if call.identity.name else {}
    return {"tenant": call.identity.tenant, **named}


def _facts(message: Any, names: tuple[str, ...]) -> dict[str, object]:
    found = {name: getattr(message, name, "") for name in names}
    return {name: value for name, value in found.items() if value != ""}
