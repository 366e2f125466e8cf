"""Calls beyond the limit get a typed status before their message is read."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from helpers.grpc_rig import MIB, Rig, ask, refused, running, seen, until
from imagesieve.v1 import moderation_pb2, review_pb2
from imagesieve_server.grpc_api.server import ServerOptions
from imagesieve_server.testing import RED, ppm

Code = grpc.StatusCode
PATH = "/imagesieve.v1.ModerationService/Moderate"


def options(calls: int) -> ServerOptions:
    return ServerOptions(
        address="127.0.0.1:0", drain_wait_s=0.0, grace_s=5.0, max_moderation_calls=calls
    )


def open_call(rig: Rig, timeout: float | None = None) -> Any:
    """A Moderate call whose message has not been sent."""
    method = rig.channel.stream_unary(
        PATH,
        request_serializer=moderation_pb2.ModerateRequest.SerializeToString,
        response_deserializer=moderation_pb2.ModerateResponse.FromString,
    )
    return method(timeout=timeout)


@pytest.mark.parametrize("size", [0, 20 * MIB], ids=["small", "20 MiB"])
async def test_a_call_beyond_the_limit_is_told_when_to_come_back(size: int) -> None:
    async with running(options=options(2)) as rig:
        rig.encoder.pause()
        asked = [ask(f"{side}", ppm(RED, side=side)) for side in (1, 2)]
        held = [asyncio.ensure_future(_code(rig.moderation.Moderate(one))) for one in asked]
        await until(lambda: rig.encoder.waiting == 2)
        error = await refused(rig.moderation.Moderate(ask("3", bytes(size))))
        batch = moderation_pb2.ModerateBatchRequest(requests=[ask("4")])
        of_batch = await refused(rig.moderation.ModerateBatch(batch))
        rig.encoder.resume()
        assert await asyncio.gather(*held) == ["OK", "OK"]
        await rig.moderation.Moderate(ask("3"))
    assert (error.code, error.reason, error.pushback) == (Code.UNAVAILABLE, "OVERLOADED", "1000")
    assert isinstance(error.details[0], error_details_pb2.RetryInfo)
    assert of_batch.reason == "OVERLOADED"
    assert rig.metrics.named("images_shed") == [{"images": 1, "reason": "calls"}] * 2
    assert len(rig.metrics.named("rpc_started")) == len(rig.metrics.named("rpc_handled")) == 5


async def test_streams_have_a_limit_of_their_own_so_that_idle_ones_keep_nobody_out() -> None:
    async with running(options=options(1)) as rig:
        idle = rig.moderation.ModerateStream(timeout=30)
        await idle.write(moderation_pb2.ModerateStreamRequest(request=ask("first")))
        await idle.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rig.moderation.ModerateStream().read()
        await rig.moderation.Moderate(ask("unary"))
        await idle.done_writing()
        assert await idle.read() is grpc.aio.EOF
    assert seen(caught.value).reason == "OVERLOADED"


async def test_other_services_answer_while_moderation_is_full() -> None:
    async with running(options=options(1)) as rig:
        rig.encoder.pause()
        held = asyncio.ensure_future(_code(rig.moderation.Moderate(ask())))
        await until(lambda: rig.encoder.waiting == 1)
        await rig.review.Stats(review_pb2.StatsRequest())
        rig.encoder.resume()
        assert await held == "OK"


async def test_a_call_whose_message_never_comes_takes_a_place_only_for_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagesieve_server.grpc_api.deadlines.DEFAULT_S", 1.0)
    async with running(options=options(1)) as rig, asyncio.timeout(50):
        error, refusals = None, 0
        while error is None or error.reason == "OVERLOADED" or not refusals:
            silent = open_call(rig)
            while not silent.done() and not refusals:
                refusals = await _code(rig.moderation.Moderate(ask("probe"))) != "OK"
                await asyncio.sleep(0.01)
            error = await refused(silent)  # overloaded where it came while a probe was there
        await rig.moderation.Moderate(ask())
    assert (error.code, error.reason) == (Code.DEADLINE_EXCEEDED, "DEADLINE_PASSED")


async def test_a_call_that_ends_without_its_message_is_told_so() -> None:
    async with running() as rig:
        empty = open_call(rig)
        await empty.done_writing()
        error = await refused(empty)
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_a_caller_that_goes_before_its_message_gives_its_place_back() -> None:
    async with running(options=options(1)) as rig:
        gone = open_call(rig)
        await rig.channel.channel_ready()
        gone.cancel()
        async with asyncio.timeout(10):
            while await _code(rig.moderation.Moderate(ask())) != "OK":
                await asyncio.sleep(0.01)


async def _code(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"
