"""The order of things: what is known is not done twice, what is flagged is kept, what fails
follows the failure table."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from imagesieve_server import pipeline as pipeline_module
from imagesieve_server.audit_sampling import AuditSampler
from imagesieve_server.content_cache import ContentCache
from imagesieve_server.core.answer import Answer, from_json
from imagesieve_server.core.errors import (
    DeadlinePassed,
    EncoderUnavailable,
    ImageFormatUnsupported,
    ImageUndecodable,
    QuotaExceeded,
    RequestIdReused,
    StoreUnavailable,
    UnknownCategory,
)
from imagesieve_server.core.policy import AuditRates, OnUnavailable, OnUndecodable
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.review import Flag, ListRequest, Recorded, State
from imagesieve_server.core.verdict import ReasonCode, Verdict
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.pipeline import Pipeline
from imagesieve_server.recent_answers import RecentAnswers
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.testing import (
    BLUE,
    GREEN,
    RED,
    FakeDecoder,
    FakeEncoder,
    FreePlace,
    MemoryEmbeddings,
    RecordingMetrics,
    StaticPolicies,
    colour_policy,
    ppm,
)
from imagesieve_server.undecodable_quota import HOUR_S, SUBJECT, UndecodableQuota

TRUNCATED = b"P6 9 9 255\nshort"


class DeadQueue(QueueWriter):
    """A queue whose disk is gone."""

    async def answer_of(self, **asked: str) -> Recorded | None:
        raise StoreUnavailable("the disk is gone")

    async def submit(self, flag: Flag, evidence: bytes) -> Recorded:
        raise StoreUnavailable("the disk is gone")


class HangingQueue(QueueWriter):
    """A queue whose disk does not answer."""

    async def answer_of(self, **asked: str) -> Recorded | None:
        await asyncio.Event().wait()
        return None


class BrokenEncoder(FakeEncoder):
    """Answers with numbers that are none."""

    async def encode(self, pixels: Pixels, *, deadline: float) -> Embeddings:
        return np.full((len(pixels), 4), np.nan, dtype=np.float32)


class Bench:
    """A pipeline over fakes, with the fakes in reach."""

    def __init__(self, queue: type[QueueWriter] = QueueWriter, **policy: Any) -> None:
        self.metrics = RecordingMetrics()
        self.encoder = FakeEncoder()
        self.queue = queue(
            store=memory_store(clock=time.time), evidence=MemoryEvidence(), metrics=self.metrics
        )
        self.policies = StaticPolicies(dataclasses.replace(colour_policy(), **policy))
        self.audit = AuditSampler(key=b"k" * 32, queue=self.queue, metrics=self.metrics)
        self.embeddings = MemoryEmbeddings()
        self.pipeline = self.over(self.encoder)

    def over(self, encoder: FakeEncoder) -> Pipeline:
        return Pipeline(
            decoder=FakeDecoder(),
            encoder=encoder,
            policies=self.policies,
            queue=self.queue,
            metrics=self.metrics,
            recent=RecentAnswers(),
            content=ContentCache(max_bytes=1 << 20, max_age_s=60, metrics=self.metrics),
            undecodable=UndecodableQuota(per_hour=2),
            audit=self.audit,
            onlookers=[self.embeddings],
        )

    async def send(self, image: bytes, request_id: str = "r-1", **fields: Any) -> Answer:
        request = ModerationRequest(tenant="t", request_id=request_id, image=image, **fields)
        return await self.pipeline.moderate(
            request, place=FreePlace(), deadline=time.monotonic() + 5
        )

    async def ready(self) -> int:
        stats = await self.queue.stats(tenant="t")
        return stats.by_state.get(State.READY, 0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.queue.close()


async def test_an_ordinary_picture_is_allowed_and_not_kept(bench: Bench) -> None:
    answer = await bench.send(ppm(GREEN))
    assert (answer.judgement.verdict, answer.item_id) == (Verdict.ALLOW, "")
    assert await bench.ready() == 0


async def test_equal_bytes_are_seen_once_and_judged_by_the_policy_in_force(bench: Bench) -> None:
    assert (await bench.send(ppm(RED), "r-1")).judgement.verdict is not Verdict.ALLOW
    bench.policies.policies = (colour_policy(flagged=[("blue", BLUE)]),)
    second = await bench.send(ppm(RED), "r-2")
    dry = await bench.send(ppm(RED), "r-3", dry_run=True)
    assert {second.judgement.verdict, dry.judgement.verdict} == {Verdict.ALLOW}
    assert len(bench.metrics.named("image_views")) == 1
    assert [image.sha256 for image in bench.embeddings.images] == [second.sha256] * 2


async def test_another_coverage_is_another_look(bench: Bench) -> None:
    await bench.send(ppm(RED), "r-1")
    bench.policies.policies = (dataclasses.replace(colour_policy(), max_views=1),)
    await bench.send(ppm(RED), "r-2")
    assert len(bench.metrics.named("image_views")) == 2


async def test_a_flag_is_kept_with_its_picture_and_its_answer(bench: Bench) -> None:
    answer = await bench.send(ppm(RED), content_ref="post-1", labels={"a": "b"})
    assert answer.judgement.verdict is not Verdict.ALLOW
    item = await bench.queue.get(tenant="t", item_id=answer.item_id)
    assert (item.content_ref, dict(item.labels)) == ("post-1", {"a": "b"})
    assert from_json(item.answer).judgement == answer.judgement
    kept = await bench.queue.evidence(tenant="t", sha256=answer.sha256)
    assert kept == ppm(RED)


@pytest.mark.parametrize("colour", [RED, GREEN])
async def test_a_repeat_gets_the_same_answer_without_work(bench: Bench, colour: Any) -> None:
    first = await bench.send(ppm(colour))
    bench.encoder.failure = EncoderUnavailable("must not be asked")
    assert await bench.send(ppm(colour)) == first
    with pytest.raises(RequestIdReused):
        await bench.send(ppm((1, 2, 3)))
    with pytest.raises(RequestIdReused):
        await bench.send(ppm(colour), surface="avatar")


async def test_a_dry_run_stores_and_remembers_nothing(bench: Bench) -> None:
    answer = await bench.send(ppm(RED), dry_run=True)
    assert (answer.judgement.verdict is Verdict.ALLOW, answer.item_id) == (False, "")
    assert await bench.ready() == 0
    assert (await bench.send(ppm(GREEN), dry_run=True)).judgement.verdict is Verdict.ALLOW
    assert (await bench.send(ppm(BLUE))).judgement.verdict is Verdict.ALLOW


async def test_onlookers_see_each_new_scored_answer_once(bench: Bench) -> None:
    allowed = await bench.send(ppm(GREEN), "r-1", surface="avatar", categories=("red",))
    flagged = await bench.send(ppm(RED), "r-2")
    for request_id, colour in (("r-1", GREEN), ("r-2", RED)):  # repeats are not seen again
        asked = {"surface": "avatar", "categories": ("red",)} if colour is GREEN else {}
        await bench.send(ppm(colour), request_id, **asked)
    await bench.send(ppm(BLUE), "r-3", dry_run=True)
    await bench.send(TRUNCATED, "r-4")
    one, other = bench.embeddings.images
    assert (one.sha256, one.verdict) == (allowed.sha256, Verdict.ALLOW)
    assert (one.surface, one.categories, one.policy_version) == ("avatar", ("red",), "v1")
    assert (other.sha256, other.verdict) == (flagged.sha256, flagged.judgement.verdict)
    assert other.views == flagged.views


async def test_onlookers_do_not_see_what_was_not_answered_or_not_scored() -> None:
    bench = Bench(DeadQueue, on_unavailable=OnUnavailable.ALLOW)
    with pytest.raises(StoreUnavailable):
        await bench.send(ppm(RED))
    assert bench.embeddings.images == []
    bench.encoder.healthy = False
    assert (await bench.send(ppm(GREEN))).judgement.degraded
    assert bench.embeddings.images == []
    await bench.queue.close()


async def test_an_unknown_category_is_refused_before_any_work(bench: Bench) -> None:
    with pytest.raises(UnknownCategory):
        await bench.send(ppm(RED), categories=("nothing",))
    assert bench.metrics.named("stage_seconds") == []


async def test_undecodable_files_are_reviewed_or_rejected_as_the_policy_says(bench: Bench) -> None:
    answer = await bench.send(TRUNCATED)
    assert answer.judgement.reasons[0].code is ReasonCode.UNDECODABLE
    assert answer.judgement.reasons[0].detail == "TRUNCATED"
    assert await bench.ready() == 1
    rejecting = Bench(on_undecodable=OnUndecodable.REJECT)
    with pytest.raises(ImageUndecodable):
        await rejecting.send(TRUNCATED)
    assert rejecting.metrics.named("decode_failed") == [{"reason": "TRUNCATED"}]
    await rejecting.queue.close()


async def test_what_is_no_image_is_always_the_callers_error(bench: Bench) -> None:
    with pytest.raises(ImageFormatUnsupported):
        await bench.send(b"hello")
    assert bench.metrics.named("decode_failed") == [{"reason": "IMAGE_FORMAT_UNSUPPORTED"}]


@pytest.mark.parametrize(
    ("choice", "verdict"),
    [(OnUnavailable.REVIEW, Verdict.REVIEW), (OnUnavailable.ALLOW, Verdict.ALLOW)],
)
async def test_encoder_down_answers_as_the_policy_chose(
    choice: OnUnavailable, verdict: Verdict
) -> None:
    bench = Bench(on_unavailable=choice)
    bench.encoder.healthy = False
    answer = await bench.send(ppm(GREEN))
    assert (answer.judgement.verdict, answer.judgement.degraded) == (verdict, True)
    assert await bench.ready() == (1 if verdict is Verdict.REVIEW else 0)
    await bench.queue.close()


async def test_an_allow_without_a_look_does_not_outlive_the_failure() -> None:
    bench = Bench(on_unavailable=OnUnavailable.ALLOW)
    bench.encoder.healthy = False
    assert (await bench.send(ppm(RED))).judgement.verdict is Verdict.ALLOW
    bench.encoder.healthy = True
    assert (await bench.send(ppm(RED))).judgement.verdict is not Verdict.ALLOW
    await bench.queue.close()


async def test_encoder_down_holds_by_default(bench: Bench) -> None:
    bench.encoder.healthy = False
    with pytest.raises(EncoderUnavailable):
        await bench.send(ppm(GREEN))


async def test_store_down_holds_flags_and_lets_the_rest_through() -> None:
    bench = Bench(queue=DeadQueue)
    with pytest.raises(StoreUnavailable):
        await bench.send(ppm(RED))
    assert (await bench.send(ppm(GREEN), "r-2")).judgement.verdict is Verdict.ALLOW
    await bench.queue.close()


async def test_a_store_that_hangs_holds_nothing_but_flags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_module, "LOOKUP_S", 0.01)
    bench = Bench(queue=HangingQueue)
    assert (await bench.send(ppm(GREEN))).judgement.verdict is Verdict.ALLOW
    await bench.queue.close()


async def test_the_store_is_not_asked_for_what_is_certainly_new() -> None:
    """Once it knows what it keeps; a flag is known from then on."""
    bench = Bench(queue=HangingQueue)
    await bench.queue.learn_requests()
    assert bench.queue.is_new(tenant="t", request_id="r-1")
    await asyncio.wait_for(bench.send(ppm(RED), "r-1"), 30)
    assert not bench.queue.is_new(tenant="t", request_id="r-1")
    await bench.queue.close()


async def test_numbers_that_are_none_go_to_a_person(bench: Bench) -> None:
    bench.pipeline = bench.over(BrokenEncoder())
    answer = await bench.send(ppm(GREEN))
    assert answer.judgement.verdict is Verdict.REVIEW
    assert answer.judgement.reasons[0].code is ReasonCode.SCORE_INVALID
    assert await bench.ready() == 1


async def test_a_deadline_that_passes_is_said(bench: Bench) -> None:
    bench.encoder.delay_s = 60
    request = ModerationRequest(tenant="t", request_id="r", image=ppm(GREEN))
    with pytest.raises(DeadlinePassed):
        await bench.pipeline.moderate(request, place=FreePlace(), deadline=time.monotonic() + 0.01)


async def test_equal_requests_at_once_become_one_item(bench: Bench) -> None:
    answers = await asyncio.gather(*(bench.send(ppm(RED)) for _ in range(8)))
    assert len({answer.item_id for answer in answers}) == 1
    item = await bench.queue.get(tenant="t", item_id=answers[0].item_id)
    assert item.submissions == 1


async def test_each_stage_is_timed_and_the_verdict_counted(bench: Bench) -> None:
    await bench.send(ppm(RED))
    stages = [call["stage"] for call in bench.metrics.named("stage_seconds")]
    assert stages == ["decode", "encode", "score", "keep"]
    assert len(bench.metrics.named("verdict")) == 1
    assert len(bench.metrics.named("category_score")) == len(bench.policies.get("").categories)


# --- the quota of undecodable files ---


def broken(number: int) -> bytes:
    return TRUNCATED + bytes([number])


async def test_a_tenants_undecodable_files_are_limited_by_the_hour(bench: Bench) -> None:
    for number in range(2):
        await bench.send(broken(number), f"r-{number}")
    with pytest.raises(QuotaExceeded) as caught:
        await bench.send(broken(2), "r-2")
    assert caught.value.subject == SUBJECT
    assert HOUR_S - 60 < caught.value.retry_after_s <= HOUR_S
    assert bench.metrics.named("quota_refused") == [{"quota": SUBJECT}]
    assert await bench.ready() == 2
    again = await bench.send(broken(0), "r-3")  # the same bytes: their evidence is there
    assert again.judgement.verdict is Verdict.REVIEW
    assert (await bench.send(ppm(GREEN), "r-4")).judgement.verdict is Verdict.ALLOW
    dry = await bench.send(broken(3), "r-5", dry_run=True)  # keeps nothing, so it costs nothing
    assert dry.judgement.verdict is Verdict.REVIEW


async def test_files_that_the_policy_rejects_take_nothing_of_the_quota() -> None:
    bench = Bench(on_undecodable=OnUndecodable.REJECT)
    for number in range(5):
        with pytest.raises(ImageUndecodable):
            await bench.send(broken(number), f"r-{number}")
    await bench.queue.close()


def test_the_hour_slides_and_tenants_do_not_share_it() -> None:
    now = [0.0]
    quota = UndecodableQuota(per_hour=2, clock=lambda: now[0])
    quota.take(tenant="a", sha256="1")
    now[0] = 1800
    quota.take(tenant="a", sha256="2")
    quota.take(tenant="b", sha256="1")
    now[0] = 3599
    with pytest.raises(QuotaExceeded) as caught:
        quota.take(tenant="a", sha256="3")
    assert caught.value.retry_after_s == 1
    now[0] = 3600
    quota.take(tenant="a", sha256="3")
    with pytest.raises(QuotaExceeded):
        quota.take(tenant="a", sha256="4")


def test_the_quota_remembers_a_bounded_number_of_tenants() -> None:
    quota = UndecodableQuota(per_hour=1, max_tenants=2, clock=lambda: 0.0)
    quota.take(tenant="a", sha256="1")
    quota.take(tenant="b", sha256="1")
    quota.take(tenant="a", sha256="1")  # a was here last, so that c takes b's place
    quota.take(tenant="c", sha256="1")
    with pytest.raises(QuotaExceeded):
        quota.take(tenant="a", sha256="2")
    quota.take(tenant="b", sha256="2")


def test_a_quota_of_none_refuses_each() -> None:
    with pytest.raises(QuotaExceeded):
        UndecodableQuota(per_hour=0).take(tenant="a", sha256="1")


# --- audit samples ---------------------------------------------------------------------------

EVERY = AuditRates(rate=1.0)


async def test_an_allow_that_is_drawn_is_answered_as_ever_and_kept_for_a_person() -> None:
    bench, plain = Bench(audit=EVERY), Bench()
    answer = await bench.send(ppm(GREEN), content_ref="post-1")
    assert await bench.ready() == 0, "the answer did not wait"
    await bench.audit.flush()
    assert answer == await plain.send(ppm(GREEN), content_ref="post-1")
    (row,) = (await bench.queue.list(ListRequest(tenant="t"))).items
    assert (row.verdict, row.category, row.content_ref) == (Verdict.ALLOW, "red", "post-1")
    assert row.reasons == (ReasonCode.AUDIT_SAMPLE,)
    assert from_json(row.answer) == answer
    for each in (bench, plain):
        await each.queue.close()


async def test_a_repeat_of_a_sample_is_not_told_of_its_item() -> None:
    bench = Bench(audit=EVERY)
    first = await bench.send(ppm(GREEN))
    await bench.audit.flush()
    again = await Bench.send(  # another server, that remembers nothing
        _Over(bench), ppm(GREEN)
    )
    assert again == first
    assert again.item_id == ""
    await bench.queue.close()


class _Over(Bench):
    """Another pipeline over the same queue."""

    def __init__(self, bench: Bench) -> None:
        self.metrics, self.queue, self.policies = bench.metrics, bench.queue, bench.policies
        self.audit, self.encoder = bench.audit, FakeEncoder()
        self.embeddings = bench.embeddings
        self.encoder.failure = EncoderUnavailable("must not be asked")
        self.pipeline = self.over(self.encoder)


@pytest.mark.parametrize("what", ["flagged", "dry run", "degraded", "not audited"])
async def test_nothing_else_is_sampled_or_counted(what: str) -> None:
    audit = None if what == "not audited" else EVERY
    bench = Bench(audit=audit, on_unavailable=OnUnavailable.ALLOW)
    if what == "degraded":
        bench.encoder.failure = EncoderUnavailable("down")
    await bench.send(ppm(RED if what == "flagged" else GREEN), dry_run=what == "dry run")
    await bench.audit.flush()
    assert bench.metrics.named("audit_sample") == []
    assert await bench.ready() == (1 if what == "flagged" else 0)
    assert await bench.queue.calls.call("counts", lambda store: store.counts(tenant="t")) == []
    await bench.queue.close()


async def test_a_dead_store_costs_the_sample_and_not_the_answer() -> None:
    bench = Bench(queue=DeadQueue, audit=EVERY)
    answer = await bench.send(ppm(GREEN))
    assert answer.judgement.verdict is Verdict.ALLOW
    await bench.audit.flush()
    assert bench.metrics.named("audit_sample") == [{"policy": "colours", "result": "dropped"}]
    await bench.queue.close()
