"""The fake server itself: a socket, the methods, and failures on request."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn

import grpc

from imagesieve.errors import ImagesieveError, Unauthenticated
from imagesieve.policy_results import HealthStatus, Policy
from imagesieve.quality_results import Quality
from imagesieve.retry import MESSAGE_BYTES
from imagesieve.testing.queue import FakeQueue
from imagesieve.testing.rules import ReceivedRequest, Rule, allow_all
from imagesieve.testing.services import METHODS, Method, arrivals
from imagesieve.testing.state import FakeState, NoAnswer
from imagesieve.testing.statuses import PUSHBACK_KEY, code_of, trailers_of

WORKERS = 32
"""Calls that a FakeServer serves at once."""
_NO_RETRY_MS = -1  # a pushback that ends gRPC's retries


@dataclass(frozen=True, slots=True)
class _Failure:
    error: ImagesieveError | grpc.StatusCode
    pushback_ms: int | None


class FakeServer:
    """Serves from the moment it is made until ``stop``; as a context manager, to its end.

    ``rule`` answers for each image of Moderate and ModerateBatch, ``latency_s`` seconds after
    the call arrived. ``policies`` are what the policy methods show, the first one the default.
    ``credentials`` make it serve TLS. With ``token`` every call but the health check must bring
    it. ``target`` is where to connect.
    """

    target: str

    def __init__(
        self,
        rule: Rule = allow_all,
        *,
        policies: Sequence[Policy] = (),
        credentials: grpc.ServerCredentials | None = None,
        latency_s: float = 0.0,
        token: str | None = None,
    ) -> None:
        self._latency_s = latency_s
        self._stopping = threading.Event()
        self._state = FakeState(rule, policies=policies)
        self._lock = threading.Lock()
        self._calls: list[str] = []
        self._token = token
        self._failures: dict[str, deque[_Failure]] = {}
        self._pool = futures.ThreadPoolExecutor(max_workers=WORKERS)
        self._server = grpc.server(
            self._pool,
            handlers=self._handlers(),
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
            ],
        )
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.target = f"127.0.0.1:{port}"
        self._server.start()

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """Every image of every attempt so far, those of failed attempts included."""
        with self._state.lock:
            return tuple(self._state.requests)

    @property
    def queue(self) -> FakeQueue:
        """What was flagged. Tests may add items and let leases expire."""
        return self._state.queue

    def count(self, method: str) -> int:
        """How many attempts a method has had, by its name, for example ``Claim``."""
        with self._lock:
            return self._calls.count(method)

    def fail_next(
        self,
        error: ImagesieveError | grpc.StatusCode,
        *,
        times: int = 1,
        method: str = "Moderate",
        pushback_ms: int | None = None,
    ) -> None:
        """Let the next ``times`` attempts of a method fail.

        An error of the tree goes out with its details, a status code bare. ``pushback_ms`` is
        what gRPC's own retries are told: to wait that long, or at −1 to stop.
        """
        with self._lock:
            failures = self._failures.setdefault(method, deque())
            failures.extend([_Failure(error, pushback_ms)] * times)

    def clear_failures(self) -> None:
        """Forget what ``fail_next`` asked for and has not happened yet."""
        with self._lock:
            self._failures.clear()

    def set_latency(self, seconds: float) -> None:
        """How long calls about images take from now on, 0 at first."""
        self._latency_s = seconds

    def set_health(self, status: HealthStatus) -> None:
        """What the health check answers from now on; SERVING at first."""
        with self._state.lock:
            self._state.health = status

    def set_policies(self, *policies: Policy, problems: Sequence[str] = ()) -> None:
        """What the policy methods show from now on; ``problems`` are those of a reload."""
        with self._state.lock:
            self._state.policies = policies
            self._state.reload_problems = tuple(problems)

    def set_quality(self, quality: Quality) -> None:
        """The figures from now on, of whatever span is asked about; nothing but zeros at first."""
        with self._state.lock:
            self._state.quality.quality = quality

    def end_watches(self) -> None:
        """End every watch as a server does that is stopped; watchers go on by themselves."""
        with self._state.called:
            self._state.watches_ended += 1
            self._state.called.notify_all()

    def stop(self) -> None:
        """Stop at once; calls under way end as if the server had died."""
        self._stopping.set()
        self._server.stop(grace=None).wait()
        self._pool.shutdown(wait=False)

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        services: dict[str, dict[str, Any]] = {}
        for method in METHODS:
            services.setdefault(method.service, {})[method.name] = self._handler(method)
        return [
            grpc.method_handlers_generic_handler(service, handlers)
            for service, handlers in services.items()
        ]

    def _handler(self, method: Method) -> Any:
        def serve(request: Any, context: grpc.ServicerContext) -> Any:
            images = arrivals(request, dict(context.invocation_metadata()))
            with self._state.lock:
                self._state.requests.extend(images)
            self._fail_if_asked(method.name, context)
            self._fail_if_unknown(method, context)
            try:
                if method.is_about_images:  # their rule may take long, and locks for itself
                    self._stopping.wait(self._latency_s)
                    return method.work(self._state, images)
                with self._state.called:
                    self._state.called.notify_all()
                    return method.work(self._state, request)
            except ImagesieveError as error:
                _abort(context, _Failure(error, None))
            except NoAnswer as silence:
                _abort(context, _Failure(silence.error, _NO_RETRY_MS))

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self._fail_if_asked(method.name, context)
            try:
                yield from method.work(self._state, request, context.is_active)
            except ImagesieveError as error:
                _abort(context, _Failure(error, None))

        build: Any = grpc.unary_unary_rpc_method_handler
        if method.streams:
            build = grpc.unary_stream_rpc_method_handler
        return build(
            stream if method.streams else serve,
            request_deserializer=method.request.FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )

    def _fail_if_unknown(self, method: Method, context: grpc.ServicerContext) -> None:
        if self._token is None or method.service == "grpc.health.v1.Health":
            return
        sent = dict(context.invocation_metadata()).get("authorization")
        if sent != f"Bearer {self._token}":
            detail = "UNKNOWN_TOKEN" if sent else "NO_CREDENTIALS"
            unknown = Unauthenticated("no caller has this token", metadata={"detail": detail})
            _abort(context, _Failure(unknown, None))

    def _fail_if_asked(self, method: str, context: grpc.ServicerContext) -> None:
        with self._lock:
            self._calls.append(method)
            failures = self._failures.get(method)
            failure = failures.popleft() if failures else None
        if failure is not None:
            _abort(context, failure)


def _abort(context: grpc.ServicerContext, failure: _Failure) -> NoReturn:
    if isinstance(failure.error, ImagesieveError):
        context.set_trailing_metadata(trailers_of(failure.error, pushback_ms=failure.pushback_ms))
        context.abort(code_of(failure.error), failure.error.message)
    if failure.pushback_ms is not None:
        context.set_trailing_metadata(((PUSHBACK_KEY, str(failure.pushback_ms)),))
    context.abort(failure.error, "")
