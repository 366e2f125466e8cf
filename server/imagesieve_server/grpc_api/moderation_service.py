"""ModerationService: one image, a batch, a stream. All three go one way, ``_answer``.

It knows messages, deadlines and admission; what happens to an image is the pipeline's. A
caller that goes away cancels its images' work; a flag that has reached the queue's writer is
committed all the same.
"""

# ruff: noqa: N802 -- the methods are named by the contract

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from imagesieve.v1 import moderation_pb2, moderation_pb2_grpc
from imagesieve_server.alarms import Alarms
from imagesieve_server.core.errors import CapacityError, ImageEmpty, ImageTooLarge, ShuttingDown
from imagesieve_server.core.ports import Metrics
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.grpc_api.admission import Admission, Place
from imagesieve_server.grpc_api.deadlines import item_deadline, unary_deadline, within
from imagesieve_server.grpc_api.failures import describe
from imagesieve_server.grpc_api.identity import Context, present_identity
from imagesieve_server.grpc_api.streaming import answers_as_ready
from imagesieve_server.grpc_api.wire.moderation import (
    DEFAULT_MAX_IMAGE_BYTES,
    check_batch,
    read_request,
    response_of,
)
from imagesieve_server.pipeline import Pipeline

_Request = moderation_pb2.ModerateRequest
_Response = moderation_pb2.ModerateResponse
_Result = moderation_pb2.ModerateResult


class ModerationService(moderation_pb2_grpc.ModerationServiceServicer):
    """Answers whether an image may be published."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        admission: Admission,
        metrics: Metrics,
        draining: asyncio.Event,
        max_image_bytes: int = DEFAULT_MAX_IMAGE_BYTES,
        images_per_call: int = 32,
    ) -> None:
        """``images_per_call`` bounds the images of one batch or stream that are at work at
        once; ``draining`` ends streams, whose callers go on elsewhere."""
        self._pipeline = pipeline
        self._admission = admission
        self._metrics = metrics
        self._draining = draining
        self._max_image_bytes = max_image_bytes
        self._images_per_call = images_per_call
        self._alarms = Alarms()

    def check_unread(self, deadline: float) -> None:
        """Raises where not even one image could be taken: Overloaded, DeadlineUnmeetable."""
        self._admission.check_unread(deadline=deadline)

    async def Moderate(self, request: _Request, context: Context) -> _Response:
        """One image."""
        deadline = unary_deadline(context)
        identity = present_identity()
        read = self._read(request, request.image, identity.tenant)
        size_bytes = len(read.image)
        with self._admission.admit(images=1, size_bytes=size_bytes, deadline=deadline) as places:
            return await self._answer(read, places[0], deadline)

    async def ModerateBatch(
        self, request: moderation_pb2.ModerateBatchRequest, context: Context
    ) -> moderation_pb2.ModerateBatchResponse:
        """Up to 64 images, admitted together; each has its own result."""
        deadline = unary_deadline(context)
        identity = present_identity()
        requests = list(request.requests)
        images = [one.image for one in requests]  # once: each access is another copy
        size_bytes = check_batch(images)
        room = asyncio.Semaphore(self._images_per_call)

        async def result(one: _Request, image: bytes, place: Place) -> _Result:
            async with room:
                return await self._result(one, image, identity.tenant, place, deadline)

        with self._admission.admit(
            images=len(requests), size_bytes=size_bytes, deadline=deadline
        ) as places:
            results = await asyncio.gather(*map(result, requests, images, places))
        return moderation_pb2.ModerateBatchResponse(results=results)

    async def ModerateStream(  # type: ignore[override]  # writes, so that it can be cancelled
        self,
        request_iterator: AsyncIterator[moderation_pb2.ModerateStreamRequest],
        context: Context,
    ) -> None:
        """Any number of images; answers leave as they are ready."""
        identity = present_identity()

        async def answer(message: moderation_pb2.ModerateStreamRequest) -> _Result:
            return await self._admitted_result(
                message.request, identity.tenant, item_deadline(context)
            )

        async def send(result: _Result) -> None:
            await context.write(moderation_pb2.ModerateStreamResponse(result=result))

        await answers_as_ready(
            aiter(request_iterator),
            answer=answer,
            send=send,
            at_once=self._images_per_call,
            stop=self._draining,
        )
        if self._draining.is_set():
            raise ShuttingDown("the server is shutting down; go on with the rest elsewhere")

    def _read(self, message: _Request, image: bytes, tenant: str) -> ModerationRequest:
        started = time.perf_counter()
        limit = self._max_image_bytes
        try:
            return read_request(message, image, tenant=tenant, max_image_bytes=limit)
        except (ImageEmpty, ImageTooLarge) as error:
            self._metrics.decode_failed(error.reason)
            raise
        finally:
            self._metrics.stage_seconds("admit", time.perf_counter() - started)

    async def _answer(self, request: ModerationRequest, place: Place, deadline: float) -> _Response:
        work = self._pipeline.moderate(request, place=place, deadline=deadline)
        return response_of(await within(deadline, work, alarms=self._alarms))

    async def _result(
        self, message: _Request, image: bytes, tenant: str, place: Place, deadline: float
    ) -> _Result:
        """One item's answer or failure; never raises a failure of the item."""
        result = _Result(request_id=message.request_id)
        try:
            read = self._read(message, image, tenant)
            result.response.CopyFrom(await self._answer(read, place, deadline))
            place.leave(answered=True)
        except Exception as error:  # noqa: BLE001 -- each becomes the item's; unnamed ones are logged
            failure = describe(error, request_id=message.request_id)
            result.error.CopyFrom(failure.item_error())
            place.leave(answered=False)
        return result

    async def _admitted_result(self, message: _Request, tenant: str, deadline: float) -> _Result:
        """As ``_result``, for an item that needs room of its own."""
        image = message.image  # once: each access is another copy
        try:
            with self._admission.admit(
                images=1, size_bytes=len(image), deadline=deadline
            ) as places:
                return await self._result(message, image, tenant, places[0], deadline)
        except CapacityError as error:
            failure = describe(error, request_id=message.request_id)
            return _Result(request_id=message.request_id, error=failure.item_error())
