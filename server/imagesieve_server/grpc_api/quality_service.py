"""QualityService: how well people decide, and the golden items that it is measured with."""

# ruff: noqa: N802 -- the methods are named by the contract

from __future__ import annotations

import time
from collections.abc import Callable

from imagesieve.v1 import quality_pb2, quality_pb2_grpc
from imagesieve_server.core.ports import ReviewQuality
from imagesieve_server.grpc_api.deadlines import unary_deadline, within
from imagesieve_server.grpc_api.identity import Context, present_identity
from imagesieve_server.grpc_api.wire import quality as wire


class QualityService(quality_pb2_grpc.QualityServiceServicer):
    """The leads' side of the queue. ``clock`` gives seconds since the epoch."""

    def __init__(self, *, quality: ReviewQuality, clock: Callable[[], float] = time.time) -> None:
        self._quality = quality
        self._clock = clock

    async def GetQuality(
        self, request: quality_pb2.GetQualityRequest, context: Context
    ) -> quality_pb2.GetQualityResponse:
        """Figures of a span, of everybody and of each reviewer."""
        since, until = wire.read_span(request, now=self._clock())
        work = self._quality.quality(tenant=present_identity().tenant, since=since, until=until)
        return wire.quality_of(await within(unary_deadline(context), work))

    async def MarkGolden(
        self, request: quality_pb2.MarkGoldenRequest, context: Context
    ) -> quality_pb2.MarkGoldenResponse:
        """Make a decided item golden."""
        who = present_identity()
        work = self._quality.mark_golden(wire.read_mark(request, tenant=who.tenant, name=who.name))
        golden = await within(unary_deadline(context), work)
        return quality_pb2.MarkGoldenResponse(golden=wire.golden_of(golden))

    async def UnmarkGolden(
        self, request: quality_pb2.UnmarkGoldenRequest, context: Context
    ) -> quality_pb2.UnmarkGoldenResponse:
        """Give no more copies of it."""
        who = present_identity()
        asked = wire.read_unmark(request, tenant=who.tenant, name=who.name)
        await within(unary_deadline(context), self._quality.unmark_golden(asked))
        return quality_pb2.UnmarkGoldenResponse()

    async def ListGoldens(
        self, request: quality_pb2.ListGoldensRequest, context: Context
    ) -> quality_pb2.ListGoldensResponse:
        """The golden items."""
        work = self._quality.goldens(tenant=present_identity().tenant)
        goldens = await within(unary_deadline(context), work)
        return quality_pb2.ListGoldensResponse(goldens=[wire.golden_of(each) for each in goldens])
