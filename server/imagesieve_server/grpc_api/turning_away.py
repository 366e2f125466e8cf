"""Calls turned away at their first step, while the server could not even answer the least of them
in time.

Under overload most calls end here, on the cores that the others need: so there is no gate, no
message and no line in the log for each, and what they are told is made once. What an unknown
caller learns here is that the server is busy and for about how long. It knows what a refusal looks
like and whom to ask.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Awaitable, Callable

import grpc

from imagesieve_server.core.errors import DeadlineUnmeetable, Overloaded
from imagesieve_server.grpc_api.deadlines import unary_deadline
from imagesieve_server.grpc_api.identity import Context
from imagesieve_server.grpc_api.interceptors import LABELS, RpcMetrics
from imagesieve_server.grpc_api.status_codes import Failure, failure_of
from imagesieve_server.soon import Soon

log = logging.getLogger(__name__)

_STEP_S = 0.01  # what is told about when to come back is rounded up to this, so that few differ


class TurningAway:
    """In front of all layers of the unary methods of one service. Used from one event loop."""

    def __init__(
        self,
        *,
        service: str,
        check: Callable[[float], None],
        metrics: RpcMetrics,
        clock: Callable[[], float] = time.perf_counter,
        tell_after_s: float = 1.0,
    ) -> None:
        """``check`` raises Overloaded or DeadlineUnmeetable where a call with this deadline
        (seconds, monotonic) need not be read; ``service`` is the full name. The log has one
        line for all that were turned away in ``tell_after_s`` seconds."""
        self._service = service
        self._check = check
        self._metrics = metrics
        self._clock = clock
        self._turned_away = 0  # since the log told of it
        self._telling = Soon(self._tell, after_s=tell_after_s)

    def guards(self, *, service: str, kind: str) -> bool:
        """Whether calls of this kind are asked for here at all."""
        return service == self._service and kind == "unary"

    def refusal(self, context: Context, *, service: str, method: str) -> Awaitable[None] | None:
        """None where the call may go on; else what, awaited, ends it."""
        started = self._clock()
        try:
            self._check(unary_deadline(context))
        except (Overloaded, DeadlineUnmeetable) as error:
            steps = math.ceil(error.retry_after_s / _STEP_S)
            hopeless = isinstance(error, DeadlineUnmeetable)
            failure, trailers = _told(error.message, steps, hopeless=hopeless)
        else:
            return None
        label = {"kind": "unary", "service": service, "method": method}
        self._metrics.rpc_started(**label)
        self._metrics.rpc_handled(
            **label, code=LABELS[failure.code], seconds=self._clock() - started
        )
        self._turned_away += 1
        self._telling.wish()
        return _end(context, failure, trailers)

    def _tell(self) -> None:
        log.info("calls turned away unread", extra={"calls": self._turned_away})
        self._turned_away = 0


@functools.lru_cache(maxsize=4096)
def _told(
    message: str, steps: int, *, hopeless: bool
) -> tuple[Failure, tuple[tuple[str, str | bytes], ...]]:
    kind = DeadlineUnmeetable if hopeless else Overloaded
    failure = failure_of(kind(message, retry_after_s=steps * _STEP_S))
    return failure, failure.trailers()


async def _end(
    context: Context, failure: Failure, trailers: tuple[tuple[str, str | bytes], ...]
) -> None:
    try:
        await context.abort(failure.code, failure.message, trailers)
    except grpc.aio.InternalError:  # the caller went away meanwhile
        raise asyncio.CancelledError from None
