"""How many calls of one service may be at work, refused before their message is read.

A message is in memory as a whole once it is read, and gRPC's own limit refuses without a word
of why. It knows a count; that it stands in front of the message is ``wrapping.py``'s doing.
"""

from __future__ import annotations

from imagesieve_server.core.errors import Overloaded
from imagesieve_server.grpc_api.admission import AdmissionMetrics, Shed
from imagesieve_server.grpc_api.wrapping import Call, Inner

RETRY_AFTER_S = 1.0
"""Told to a caller whose message was not read: nothing is known of what it would cost."""


class CallLimit:
    """Bounds the unary calls of one service, and as many streams beside them.

    Used from one event loop.
    """

    def __init__(self, *, service: str, max_calls: int, metrics: AdmissionMetrics) -> None:
        """``service`` is the full name, for example imagesieve.v1.ModerationService."""
        self._service = service
        self._max_calls = max_calls
        self._metrics = metrics
        # Apart, so that idle streams cannot keep the unary calls out.
        self._calls = {"unary": 0, "stream": 0}

    async def around(self, call: Call, inner: Inner) -> None:
        """Run the call; inside the gate, so that only known callers take a place.

        Raises Overloaded.
        """
        if call.service != self._service:
            await inner()
            return
        kind = "unary" if call.kind == "unary" else "stream"
        if self._calls[kind] >= self._max_calls:
            self._metrics.images_shed(1, reason=Shed.CALLS)
            raise Overloaded(
                "the server has as many calls in hand as it can take", retry_after_s=RETRY_AFTER_S
            )
        self._calls[kind] += 1
        try:
            await inner()
        finally:
            self._calls[kind] -= 1
