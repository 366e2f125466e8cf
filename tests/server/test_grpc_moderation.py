"""ModerationService over a real server: answers, every refusal, batch, stream."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from helpers.grpc_rig import MIB, Rig, ask, refused, running, seen, until
from imagesieve.v1 import moderation_pb2, review_pb2, verdict_pb2
from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.core.policy import OnUnavailable, OnUndecodable
from imagesieve_server.grpc_api.pace import Pace
from imagesieve_server.testing import FINGERPRINT, GREEN, RED, colour_policy, ppm

Code = grpc.StatusCode
Batch = moderation_pb2.ModerateBatchRequest
StreamItem = moderation_pb2.ModerateStreamRequest


# --- answers ---


async def test_an_ordinary_picture_is_allowed_with_every_number() -> None:
    async with running() as rig:
        got = await rig.moderation.Moderate(
            ask(image=ppm(GREEN), surface="avatar", content_ref="c", uploader_ref="u")
        )
    assert got.verdict == verdict_pb2.VERDICT_ALLOW
    assert (got.request_id, got.policy, got.policy_version) == ("r-1", "colours", "v1")
    assert got.model_version == FINGERPRINT
    assert (got.surface, got.content_ref, got.uploader_ref) == ("avatar", "c", "u")
    (score,) = got.scores
    assert score.band == verdict_pb2.BAND_CLEAR
    assert score.margin < 0
    assert got.item_id == ""


async def test_a_flagged_picture_is_in_the_queue_before_its_answer() -> None:
    async with running() as rig:
        got = await rig.moderation.Moderate(ask())
        item = (await rig.review.Get(review_pb2.GetRequest(item_id=got.item_id))).item
    assert got.verdict == verdict_pb2.VERDICT_REVIEW
    assert [reason.code for reason in got.reasons] == ["CATEGORY_REVIEW"]
    assert got.worst_category == "red"
    assert item.sha256 == got.sha256
    assert item.answer.scores == got.scores


async def test_a_repeated_request_gets_the_same_answer() -> None:
    async with running() as rig:
        for image in (ppm(RED), ppm(GREEN)):
            request = ask(f"r-{len(image)}-{image[-3]}", image)
            assert await rig.moderation.Moderate(request) == await rig.moderation.Moderate(request)


async def test_a_dry_run_gets_the_whole_answer_and_leaves_nothing() -> None:
    async with running() as rig:
        got = await rig.moderation.Moderate(ask(mode=moderation_pb2.MODERATE_MODE_DRY_RUN))
        stats = await rig.review.Stats(review_pb2.StatsRequest())
    assert (got.verdict, got.dry_run, got.item_id) == (verdict_pb2.VERDICT_REVIEW, True, "")
    assert stats.ready == 0


# --- refusals: exact status, reason and details ---

CASES: list[tuple[str, dict[str, Any], Code, str, str]] = [
    ("empty", {"image": b""}, Code.INVALID_ARGUMENT, "IMAGE_EMPTY", "image"),
    ("21 MiB", {"image": b"P6" * (21 * MIB // 2)}, Code.INVALID_ARGUMENT, "IMAGE_TOO_LARGE",
     "image"),
    ("text", {"image": b"hello, I am text"}, Code.INVALID_ARGUMENT, "IMAGE_FORMAT_UNSUPPORTED",
     "image"),
    ("category", {"categories": ["blue"]}, Code.INVALID_ARGUMENT, "UNKNOWN_CATEGORY",
     "categories"),
    ("policy", {"policy": "none"}, Code.NOT_FOUND, "UNKNOWN_POLICY", ""),
    ("no id", {"request_id": ""}, Code.INVALID_ARGUMENT, "INVALID_REQUEST", "request_id"),
    ("labels", {"labels": {"": "x"}}, Code.INVALID_ARGUMENT, "INVALID_REQUEST", "labels key"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "code", "reason", "field"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
async def test_a_bad_request_is_refused_by_name(
    fields: dict[str, Any], code: Code, reason: str, field: str
) -> None:
    async with running() as rig:
        error = await refused(rig.moderation.Moderate(ask(**fields)))
    assert (error.code, error.reason) == (code, reason)
    assert error.infos[0].domain == "imagesieve.dev"
    assert error.pushback is None
    if field:
        (bad,) = error.details
        assert isinstance(bad, error_details_pb2.BadRequest)
        assert [violation.field for violation in bad.field_violations] == [field]
    else:
        assert error.details == ()


async def test_a_location_is_not_read_in_this_release() -> None:
    async with running() as rig:
        request = moderation_pb2.ModerateRequest(request_id="r", uri="https://example.com/a.png")
        error = await refused(rig.moderation.Moderate(request))
    assert (error.code, error.reason) == (Code.UNIMPLEMENTED, "NOT_IMPLEMENTED")


async def test_a_body_over_the_receive_limit_is_refused_by_grpc_itself_without_details() -> None:
    async with running() as rig:
        error = await refused(rig.moderation.Moderate(ask(image=bytes(60 * MIB))))
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert error.infos == ()


async def test_a_request_id_with_another_picture_is_refused() -> None:
    async with running() as rig:
        for first in (RED, GREEN):  # remembered by the store, and by the server
            name = f"r-{first}"
            await rig.moderation.Moderate(ask(name, ppm(first)))
            error = await refused(rig.moderation.Moderate(ask(name, ppm((9, 9, 9)))))
            assert (error.code, error.reason) == (Code.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_a_broken_picture_follows_the_policy() -> None:
    broken = ppm(RED)[:-1]
    async with running() as rig:
        queued = await rig.moderation.Moderate(ask("r-1", broken))
        rig.policies.policies = (colour_policy(on_undecodable=OnUndecodable.REJECT),)
        error = await refused(rig.moderation.Moderate(ask("r-2", broken)))
    assert queued.verdict == verdict_pb2.VERDICT_REVIEW
    assert [(r.code, r.detail) for r in queued.reasons] == [("UNDECODABLE", "TRUNCATED")]
    assert not queued.HasField("decode_info")
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "IMAGE_UNDECODABLE")
    assert error.metadata == {"detail": "TRUNCATED"}


async def test_an_encoder_that_is_down_holds_or_lets_a_person_decide() -> None:
    async with running() as rig:
        rig.encoder.failure = EncoderUnavailable("the encoder failed")
        error = await refused(rig.moderation.Moderate(ask("r-1")))
        rig.policies.policies = (colour_policy(on_unavailable=OnUnavailable.REVIEW),)
        queued = await rig.moderation.Moderate(ask("r-2"))
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "ENCODER_UNAVAILABLE")
    assert (queued.degraded, queued.reasons[0].code) == (True, "UNSCORED")


async def test_a_store_that_is_down_holds_what_is_flagged() -> None:
    async with running() as rig:
        rig.queue.down = True
        error = await refused(rig.moderation.Moderate(ask()))
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "STORE_UNAVAILABLE")


async def test_what_nobody_foresaw_is_internal_and_says_nothing_but_its_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as rig:
        rig.encoder.failure = RuntimeError("/srv/secret/model.onnx exploded")
        error = await refused(rig.moderation.Moderate(ask("r-77")))
    assert (error.code, error.reason) == (Code.INTERNAL, "INTERNAL")
    assert "secret" not in error.everything
    (record,) = [r for r in caplog.records if r.message == "unexpected error"]
    assert vars(record)["request_id"] == "r-77"
    assert error.metadata == {"incident": vars(record)["incident"]}
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


# --- deadlines and load ---


async def test_a_deadline_of_a_millisecond_passes() -> None:
    async with running() as rig:
        rig.encoder.pause()
        error = await refused(rig.moderation.Moderate(ask(), timeout=0.001))
        assert error.code is Code.DEADLINE_EXCEEDED
        await until(lambda: rig.encoder.waiting == 0)


async def test_deadlines_and_cancellations_at_every_moment_are_nobodys_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A caller may vanish just as it is being answered: no traceback, no status but its own."""
    async with running() as rig:
        await rig.moderation.Moderate(ask("first"))
        rig.encoder.delay_s = 0.012
        seen_codes = set()
        for i in range(10):
            waits = [j / 1000 for j in range(30)]
            late = [_code(rig.moderation.Moderate(ask(f"d-{i}-{w}"), timeout=w)) for w in waits]
            gone = [_leave(rig, f"c-{i}-{w}", after_s=w) for w in waits]
            seen_codes.update(await asyncio.gather(*late, *gone))
        assert await rig.moderation.Moderate(ask())  # on the same connection, so after the others
        named = rig.metrics.named
        await until(lambda: len(named("rpc_handled")) == len(named("rpc_started")))
        assert named("in_flight")[-1]["images"] == 0
    assert {"DEADLINE_EXCEEDED", "CANCELLED"} <= seen_codes
    assert seen_codes <= {"OK", "DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE"}  # unmeetable
    counted = {call["code"] for call in rig.metrics.named("rpc_handled")}
    assert counted <= {"OK", "DeadlineExceeded", "Canceled", "Unavailable"}
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_call_without_a_deadline_gets_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesieve_server.grpc_api.deadlines.DEFAULT_S", 0.2)
    async with running() as rig:
        rig.encoder.pause()
        started = time.monotonic()
        error = await refused(rig.moderation.Moderate(ask()))
    assert 0.15 < time.monotonic() - started < 3
    assert (error.code, error.reason) == (Code.DEADLINE_EXCEEDED, "DEADLINE_PASSED")
    assert error.pushback == "-1"


async def test_a_deadline_of_its_own_is_kept_beyond_ten_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagesieve_server.grpc_api.deadlines.DEFAULT_S", 0.05)
    async with running() as rig:
        rig.encoder.delay_s = 0.2
        got = await rig.moderation.Moderate(ask(), timeout=20)
    assert got.verdict == verdict_pb2.VERDICT_REVIEW


async def test_load_is_shed_with_a_delay_and_taken_again_afterwards() -> None:
    async with running(admission={"max_views": 2, "pace": Pace(guess=4.0)}) as rig:
        rig.encoder.pause()
        held = [asyncio.ensure_future(_call(rig, f"r-{i}", side=8 + i)) for i in range(2)]
        await until(lambda: rig.encoder.waiting == 2)
        error = await refused(rig.moderation.Moderate(ask("r-3")))
        rig.encoder.resume()
        await asyncio.gather(*held)
        await rig.moderation.Moderate(ask("r-3"))
    assert (error.code, error.reason, error.pushback) == (Code.UNAVAILABLE, "OVERLOADED", "250")
    (retry,) = error.details
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 250
    assert rig.metrics.named("images_shed") == [{"images": 1, "reason": "room"}]
    assert rig.metrics.named("in_flight")[-1] == {
        "images": 0, "views": 0.0, "size_bytes": 0, "wait_s": 0.0,
    }  # fmt: skip


async def test_a_caller_that_goes_away_frees_its_place() -> None:
    async with running() as rig:
        rig.encoder.pause()
        call = rig.moderation.Moderate(ask())
        await until(lambda: rig.encoder.waiting == 1)
        call.cancel()
        await until(lambda: rig.encoder.waiting == 0)
        await until(lambda: rig.metrics.named("in_flight")[-1]["images"] == 0)
        await until(lambda: bool(rig.metrics.named("rpc_handled")))
    assert rig.metrics.named("rpc_handled")[0]["code"] == "Canceled"


async def test_a_flag_that_is_being_kept_outlives_its_caller() -> None:
    async with running() as rig:
        rig.queue.may_submit.clear()
        call = rig.moderation.Moderate(ask())
        await asyncio.wait_for(rig.queue.submitting.wait(), 5)
        call.cancel()
        await until(lambda: bool(rig.metrics.named("rpc_handled")))
        rig.queue.may_submit.set()
        await until(lambda: bool(rig.metrics.named("store_commit")))
        stats = await rig.review.Stats(review_pb2.StatsRequest())
    assert stats.ready == 1


# --- batch ---


async def test_one_bad_item_of_a_batch_fails_alone() -> None:
    requests = [
        ask("r-1"),
        ask("r-2", b"hello, I am text"),
        ask("r-3", ppm(GREEN)),
        ask(""),
    ]
    async with running() as rig:
        got = await rig.moderation.ModerateBatch(Batch(requests=requests))
    assert [result.request_id for result in got.results] == ["r-1", "r-2", "r-3", ""]
    first, text, third, nameless = got.results
    assert first.response.verdict == verdict_pb2.VERDICT_REVIEW
    assert first.response.item_id
    assert third.response.verdict == verdict_pb2.VERDICT_ALLOW
    assert (text.error.code, text.error.reason) == (3, "IMAGE_FORMAT_UNSUPPORTED")
    assert not text.error.HasField("retry_after_seconds")
    assert (nameless.error.code, nameless.error.metadata["field"]) == (3, "request_id")


async def test_an_unforeseen_error_of_an_item_is_internal_and_says_nothing() -> None:
    async with running() as rig:
        rig.encoder.failure = RuntimeError("/srv/secret")
        got = await rig.moderation.ModerateBatch(Batch(requests=[ask()]))
    assert (got.results[0].error.code, got.results[0].error.reason) == (13, "INTERNAL")
    assert "secret" not in str(got)


async def test_a_batch_answers_what_it_has_when_the_default_deadline_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagesieve_server.grpc_api.deadlines.DEFAULT_S", 0.2)
    async with running() as rig:
        rig.encoder.pause()
        got = await rig.moderation.ModerateBatch(Batch(requests=[ask("r-1"), ask("r-2", b"x")]))
    assert [result.error.code for result in got.results] == [4, 3]


@pytest.mark.parametrize(
    "requests",
    [[], [ask()] * 65, [ask(image=bytes(11 * MIB))] * 3],
    ids=["empty", "65 items", "33 MiB"],
)
async def test_a_batch_beyond_its_limits_is_refused_whole(requests: list[Any]) -> None:
    async with running() as rig:
        error = await refused(rig.moderation.ModerateBatch(Batch(requests=requests)))
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert error.metadata == {"field": "requests"}


async def test_a_batch_is_admitted_whole_or_not_at_all() -> None:
    async with running(admission={"max_views": 3}) as rig:
        rig.encoder.pause()
        held = asyncio.ensure_future(_call(rig, "r-0"))
        await until(lambda: rig.encoder.waiting == 1)
        batch = Batch(requests=[ask(f"r-{i}") for i in range(1, 4)])
        error = await refused(rig.moderation.ModerateBatch(batch))
        rig.encoder.resume()
        await held
        got = await rig.moderation.ModerateBatch(batch)
    assert error.reason == "OVERLOADED"
    assert all(result.HasField("response") for result in got.results)


async def test_the_images_of_one_batch_share_a_bound() -> None:
    async with running(images_per_call=3) as rig:
        rig.encoder.pause()
        requests = [ask(f"r-{i}", ppm((i, 200, 0))) for i in range(8)]
        call = asyncio.ensure_future(_batch(rig, requests))
        await until(lambda: rig.encoder.waiting == 3)
        await asyncio.sleep(0.05)
        assert rig.encoder.waiting == 3
        rig.encoder.resume()
        got = await call
    assert [result.request_id for result in got.results] == [f"r-{i}" for i in range(8)]


# --- stream ---


async def test_a_stream_answers_every_item_by_its_request_id() -> None:
    async with running() as rig:
        images = {f"r-{i}": ppm(RED if i % 2 else GREEN, side=8 + i) for i in range(50)}
        images["bad"] = b"hello, I am text"
        call = rig.moderation.ModerateStream(
            StreamItem(request=ask(name, image)) for name, image in images.items()
        )
        got = {answer.result.request_id: answer.result async for answer in call}
    assert set(got) == set(images)
    assert got.pop("bad").error.reason == "IMAGE_FORMAT_UNSUPPORTED"
    for name, result in got.items():
        odd = int(name.removeprefix("r-")) % 2
        assert result.response.verdict == (
            verdict_pb2.VERDICT_REVIEW if odd else verdict_pb2.VERDICT_ALLOW
        )


async def test_answers_of_a_stream_leave_as_they_are_ready() -> None:
    async with running() as rig:
        rig.encoder.pause()
        call = rig.moderation.ModerateStream()
        await call.write(StreamItem(request=ask("slow")))
        await call.write(StreamItem(request=ask("quick", b"hello, I am text")))
        first = await call.read()
        rig.encoder.resume()
        second = await call.read()
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    assert [first.result.request_id, second.result.request_id] == ["quick", "slow"]


async def test_a_stream_holds_no_more_than_its_bound() -> None:
    async with running(images_per_call=4) as rig:
        rig.encoder.pause()
        call = rig.moderation.ModerateStream(
            StreamItem(request=ask(f"r-{i}", ppm((i, 200, 0)))) for i in range(20)
        )
        answers = asyncio.ensure_future(_all(call))
        await until(lambda: rig.encoder.waiting == 4)
        await asyncio.sleep(0.05)
        assert rig.encoder.waiting == 4
        rig.encoder.resume()
        assert len(await answers) == 20


async def test_each_item_of_a_stream_has_its_own_ten_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagesieve_server.grpc_api.deadlines.DEFAULT_S", 0.2)
    async with running() as rig:
        rig.encoder.pause()
        call = rig.moderation.ModerateStream()
        await call.write(StreamItem(request=ask("late")))
        late = await call.read()
        rig.encoder.resume()
        await call.write(StreamItem(request=ask("in time")))
        in_time = await call.read()
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    assert (late.result.error.code, late.result.error.reason) == (4, "DEADLINE_PASSED")
    assert in_time.result.response.verdict == verdict_pb2.VERDICT_REVIEW


async def test_an_overloaded_server_refuses_stream_items_one_by_one() -> None:
    async with running(admission={"max_views": 1, "pace": Pace(guess=0.5)}) as rig:
        rig.encoder.pause()
        call = rig.moderation.ModerateStream()
        await call.write(StreamItem(request=ask("first")))
        await until(lambda: rig.encoder.waiting == 1)
        await call.write(StreamItem(request=ask("second")))
        shed = (await call.read()).result
        rig.encoder.resume()
        kept = (await call.read()).result
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    assert (shed.request_id, shed.error.reason) == ("second", "OVERLOADED")
    assert shed.error.retry_after_seconds == 2.0
    assert kept.response.request_id == "first"


async def test_a_stream_that_is_cancelled_frees_its_images() -> None:
    async with running() as rig:
        rig.encoder.pause()
        call = rig.moderation.ModerateStream()
        for i in range(5):
            await call.write(StreamItem(request=ask(f"r-{i}", ppm(RED, side=8 + i))))
        await until(lambda: rig.encoder.waiting == 5)
        call.cancel()
        await until(lambda: rig.encoder.waiting == 0)
        await until(lambda: rig.metrics.named("in_flight")[-1]["images"] == 0)


async def test_a_drain_ends_a_stream_after_the_items_it_has_read() -> None:
    async with running() as rig:
        rig.encoder.pause()
        call = rig.moderation.ModerateStream()
        await call.write(StreamItem(request=ask("read")))
        await until(lambda: rig.encoder.waiting == 1)
        stopping = asyncio.create_task(rig.server.stop())
        await asyncio.sleep(0.05)
        rig.encoder.resume()
        kept = (await call.read()).result
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        await stopping
    assert kept.response.request_id == "read"
    error = seen(caught.value)
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "SHUTTING_DOWN")


# --- what is counted and logged ---


async def test_every_call_is_counted_timed_and_logged_without_its_image(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with running() as rig:
        got = await rig.moderation.Moderate(ask())
        await refused(rig.moderation.Moderate(ask("r-2", b"hello, I am text")))
    label = {"kind": "unary", "service": "imagesieve.v1.ModerationService", "method": "Moderate"}
    assert rig.metrics.named("rpc_started") == [label, label]
    handled = rig.metrics.named("rpc_handled")
    assert [call["code"] for call in handled] == ["OK", "InvalidArgument"]
    assert all(0 < call["seconds"] < 5 for call in handled)
    good, bad = [r for r in caplog.records if "rpc_method" in vars(r)]
    assert vars(good)["request_id"] == "r-1"
    assert vars(good)["verdict"] == "VERDICT_REVIEW"
    assert vars(good)["policy_version"] == got.policy_version
    assert vars(good)["model_version"] == FINGERPRINT
    assert vars(bad)["rpc_code"] == "INVALID_ARGUMENT"
    for record in (good, bad):
        assert not any(isinstance(value, bytes) for value in vars(record).values())


async def test_images_refused_at_the_edge_are_decode_failures_too() -> None:
    async with running() as rig:
        await refused(rig.moderation.Moderate(ask(image=b"")))
        await refused(rig.moderation.Moderate(ask(image=bytes(21 * MIB))))
    assert rig.metrics.named("decode_failed") == [
        {"reason": "IMAGE_EMPTY"},
        {"reason": "IMAGE_TOO_LARGE"},
    ]


async def test_stages_are_timed() -> None:
    async with running() as rig:
        await rig.moderation.Moderate(ask())
    stages = {call["stage"] for call in rig.metrics.named("stage_seconds")}
    assert stages == {"admit", "decode", "encode", "score", "keep"}


async def test_only_the_asked_categories_are_scored() -> None:
    policy = replace(colour_policy(flagged=(("red", RED), ("lime", (128, 255, 0)))))
    async with running(policies=[policy]) as rig:
        got = await rig.moderation.Moderate(ask(categories=["lime"]))
    assert [score.category for score in got.scores] == ["lime"]


async def _call(rig: Rig, request_id: str, *, side: int = 8) -> Any:
    return await rig.moderation.Moderate(ask(request_id, ppm(RED, side=side)))


async def _batch(rig: Rig, requests: list[Any]) -> Any:
    return await rig.moderation.ModerateBatch(Batch(requests=requests))


async def _all(call: Any) -> list[Any]:
    return [answer async for answer in call]


async def _code(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    except asyncio.CancelledError:
        return "CANCELLED"
    return "OK"


async def _leave(rig: Rig, request_id: str, *, after_s: float) -> str:
    call = rig.moderation.Moderate(ask(request_id))
    await asyncio.sleep(after_s)
    call.cancel()
    return await _code(call)
