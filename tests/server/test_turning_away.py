"""Calls that end at their first step, unread and with every detail of a refusal."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from helpers.grpc_rig import ask, refused, running, seen, until
from imagesieve.v1 import moderation_pb2
from imagesieve_server.core.errors import Overloaded
from imagesieve_server.grpc_api.health import MODERATION
from imagesieve_server.grpc_api.pace import Pace
from imagesieve_server.grpc_api.turning_away import TurningAway
from imagesieve_server.testing import RED, RecordingMetrics, ppm

Code = grpc.StatusCode


async def test_a_call_is_refused_before_its_message_is_sent_while_there_is_no_time() -> None:
    async with running(admission={"pace": Pace(guess=0.1)}) as rig:
        rig.encoder.pause()
        held = asyncio.ensure_future(rig.moderation.Moderate(ask("1"), timeout=60))
        await until(lambda: rig.encoder.waiting == 1)
        unsent = rig.channel.stream_unary(
            f"/{MODERATION}/Moderate",
            request_serializer=moderation_pb2.ModerateRequest.SerializeToString,
            response_deserializer=moderation_pb2.ModerateResponse.FromString,
        )(timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unsent
        batch = moderation_pb2.ModerateBatchRequest(requests=[ask("2")])
        of_batch = await refused(rig.moderation.ModerateBatch(batch, timeout=10))
        rig.encoder.resume()
        await held
    error = seen(caught.value)
    assert (error.code, error.reason, error.pushback) == (
        Code.UNAVAILABLE,
        "DEADLINE_UNMEETABLE",
        "-1",
    )
    (told,) = [one for one in error.details if isinstance(one, error_details_pb2.RetryInfo)]
    assert told.retry_delay.ToMilliseconds() == 10_000  # one view at a tenth a second
    assert of_batch.reason == "DEADLINE_UNMEETABLE"
    assert rig.metrics.named("images_shed") == [{"images": 1, "reason": "time"}] * 2
    assert len(rig.metrics.named("rpc_started")) == len(rig.metrics.named("rpc_handled")) == 3
    codes = [one["code"] for one in rig.metrics.named("rpc_handled")]
    assert sorted(codes) == ["OK", "Unavailable", "Unavailable"]


async def test_large_messages_that_nobody_read_leave_the_connection_as_good_as_it_was() -> None:
    """Bytes that kept their share of its windows would stop it after the first of them."""
    async with running(admission={"pace": Pace(guess=0.1)}) as rig:
        rig.encoder.pause()
        held = asyncio.ensure_future(rig.moderation.Moderate(ask("1"), timeout=60))
        await until(lambda: rig.encoder.waiting == 1)
        tasks = len(asyncio.all_tasks())
        large = ask("2", bytes(2**20))
        for _ in range(5):
            calls = [refused(rig.moderation.Moderate(large, timeout=10)) for _ in range(10)]
            assert {one.reason for one in await asyncio.gather(*calls)} == {"DEADLINE_UNMEETABLE"}
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        rig.encoder.resume()
        await held
        await rig.moderation.Moderate(ask("3"), timeout=60)


async def test_streams_and_other_services_are_not_asked() -> None:
    guard = TurningAway(service=MODERATION, check=_full, metrics=RecordingMetrics())
    assert guard.guards(service=MODERATION, kind="unary")
    assert not guard.guards(service=MODERATION, kind="bidi_stream")
    assert not guard.guards(service="imagesieve.v1.ReviewService", kind="unary")


class Gone:
    """The context of a call whose caller has left."""

    def time_remaining(self) -> float:
        return 1.0

    async def abort(self, *_: Any) -> None:
        raise grpc.aio.InternalError("nobody there")


class Staying(Gone):
    async def abort(self, code: grpc.StatusCode, details: str, trailers: Any) -> None:
        self.told = (code, details, dict(trailers))
        raise grpc.aio.AbortError


def _full(deadline: float) -> None:
    assert deadline < time.monotonic() + 1.0
    raise Overloaded("full", retry_after_s=0.1234)


async def test_a_caller_that_leaves_meanwhile_is_nobodys_error() -> None:
    guard = TurningAway(service=MODERATION, check=_full, metrics=RecordingMetrics())
    refusal = guard.refusal(Gone(), service=MODERATION, method="Moderate")  # type: ignore[arg-type]
    assert refusal is not None
    with pytest.raises(asyncio.CancelledError):
        await refusal


async def test_nobody_is_told_to_come_back_too_early_and_the_log_counts() -> None:
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign]
    logger = logging.getLogger("imagesieve_server.grpc_api.turning_away")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    guard = TurningAway(
        service=MODERATION, check=_full, metrics=RecordingMetrics(), tell_after_s=0.01
    )
    try:
        for _ in range(3):
            context = Staying()
            refusal = guard.refusal(context, service=MODERATION, method="Moderate")  # type: ignore[arg-type]
            assert refusal is not None
            with pytest.raises(grpc.aio.AbortError):
                await refusal
        await until(lambda: bool(lines))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert context.told[0] is Code.UNAVAILABLE
    assert context.told[2]["grpc-retry-pushback-ms"] == "130"
    assert [vars(line)["calls"] for line in lines] == [3]


async def test_whoever_has_time_is_let_in() -> None:
    async with running(admission={"pace": Pace(guess=1000.0)}) as rig:
        rig.encoder.pause()
        held = asyncio.ensure_future(rig.moderation.Moderate(ask("1"), timeout=60))
        await until(lambda: rig.encoder.waiting == 1)
        other = asyncio.ensure_future(rig.moderation.Moderate(ask("2", ppm(RED, side=2))))
        await until(lambda: rig.encoder.waiting == 2)
        rig.encoder.resume()
        await asyncio.gather(held, other)
