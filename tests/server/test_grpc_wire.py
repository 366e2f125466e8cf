"""Messages to core values and back: nothing lost, nothing let through."""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import Any

import pytest

from imagesieve.v1 import moderation_pb2, review_pb2, verdict_pb2
from imagesieve_server.core import answer as answers
from imagesieve_server.core import policy, review, verdict, views
from imagesieve_server.core.errors import ImageEmpty, ImageTooLarge, InvalidRequest, NotBuilt
from imagesieve_server.grpc_api.wire import enums, moderation
from imagesieve_server.grpc_api.wire import review as review_wire
from imagesieve_server.grpc_api.wire.policies import policy_of
from imagesieve_server.grpc_api.wire.seen import Reader
from imagesieve_server.testing import colour_policy

LIMIT = 100

TABLES: list[tuple[Any, type[enum.StrEnum], Any]] = [
    (enums.VERDICTS, verdict.Verdict, verdict_pb2.Verdict),
    (enums.BANDS, verdict.Band, verdict_pb2.Band),
    (enums.MODES, policy.Mode, verdict_pb2.CategoryMode),
    (enums.SCALES, policy.Scale, verdict_pb2.ThresholdScale),
    (enums.VIEW_KINDS, views.ViewKind, verdict_pb2.ViewKind),
    (enums.BACKGROUNDS, views.Background, verdict_pb2.Background),
    (enums.STATES, review.State, review_pb2.ItemState),
    (enums.OUTCOMES, review.Outcome, review_pb2.Outcome),
]


@pytest.mark.parametrize(
    ("table", "core", "wire"), TABLES, ids=lambda v: getattr(v, "__name__", "")
)
def test_every_member_of_the_core_has_its_number_and_every_number_its_member(
    table: Any, core: type[enum.StrEnum], wire: Any
) -> None:
    assert set(table) == set(core)
    assert sorted(table.values()) == [number for number in wire.values() if number != 0]
    for member, number in table.items():
        assert wire.Name(number).endswith(f"_{member.name}")
        assert enums.from_wire(table, number, field="f") is member


@pytest.mark.parametrize("number", [0, 99])
def test_unspecified_and_unknown_numbers_are_refused(number: int) -> None:
    with pytest.raises(InvalidRequest, match=r"outcome: must be one of APPROVE, REJECT, ESCALATE"):
        enums.from_wire(enums.OUTCOMES, number, field="outcome")


# --- ModerateRequest ---


def request(**fields: Any) -> moderation_pb2.ModerateRequest:
    return moderation_pb2.ModerateRequest(**{"request_id": "r", "image": b"x", **fields})


def read(message: moderation_pb2.ModerateRequest) -> Any:
    return moderation.read_request(message, message.image, tenant="t", max_image_bytes=LIMIT)


def test_a_full_request_is_read_whole() -> None:
    got = read(
        request(
            policy="p",
            categories=["a", "b"],
            mode=moderation_pb2.MODERATE_MODE_DRY_RUN,
            surface="avatar",
            content_ref="c",
            uploader_ref="u",
            labels={"k": "v"},
        )
    )
    assert dataclasses.asdict(got) == {
        "tenant": "t",
        "request_id": "r",
        "image": b"x",
        "policy": "p",
        "categories": ("a", "b"),
        "dry_run": True,
        "surface": "avatar",
        "content_ref": "c",
        "uploader_ref": "u",
        "labels": {"k": "v"},
    }


@pytest.mark.parametrize(
    "mode", [moderation_pb2.MODERATE_MODE_UNSPECIFIED, moderation_pb2.MODERATE_MODE_ENFORCE]
)
def test_a_call_acts_unless_it_says_dry_run(mode: Any) -> None:
    assert read(request(mode=mode)).dry_run is False


AT_THE_LIMIT: list[dict[str, Any]] = [
    {"request_id": "é" * 128},
    {"policy": "p" * 128},
    {"surface": "s" * 128},
    {"content_ref": "c" * 512},
    {"uploader_ref": "u" * 512},
    {"categories": ["c" * 128] * 64},
    {"labels": {f"{i:064d}": "v" * 256 for i in range(16)}},
    {"image": b"x" * LIMIT},
]


@pytest.mark.parametrize("fields", AT_THE_LIMIT, ids=lambda f: next(iter(f)))
def test_what_is_just_within_a_limit_is_accepted(fields: dict[str, Any]) -> None:
    (name,) = fields
    got = getattr(read(request(**fields)), name)
    assert got == (tuple(fields[name]) if isinstance(fields[name], list) else fields[name])


BEYOND: list[tuple[dict[str, Any], str]] = [
    ({"request_id": ""}, "request_id"),
    ({"request_id": "r" * 129}, "request_id"),
    ({"request_id": "a\0b"}, "request_id"),
    ({"policy": "p" * 129}, "policy"),
    ({"surface": "s" * 129}, "surface"),
    ({"content_ref": "c" * 513}, "content_ref"),
    ({"content_ref": "\0"}, "content_ref"),
    ({"uploader_ref": "u" * 513}, "uploader_ref"),
    ({"categories": ["c"] * 65}, "categories"),
    ({"categories": ["a", ""]}, "categories[1]"),
    ({"categories": ["a" * 129]}, "categories[0]"),
    ({"labels": {str(i): "" for i in range(17)}}, "labels"),
    ({"labels": {"": "v"}}, "labels key"),
    ({"labels": {"k" * 65: "v"}}, "labels key"),
    ({"labels": {"k": "v" * 257}}, "labels value"),
    ({"mode": 7}, "mode"),
]


@pytest.mark.parametrize(("fields", "field"), BEYOND)
def test_what_is_beyond_a_limit_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(request(**fields))
    assert caught.value.field == field


def test_the_image_itself() -> None:
    with pytest.raises(ImageEmpty):
        read(request(image=b""))
    with pytest.raises(ImageTooLarge) as caught:
        read(request(image=b"x" * (LIMIT + 1)))
    assert caught.value.metadata == {"size_bytes": "101", "limit_bytes": "100"}
    with pytest.raises(NotBuilt):
        read(moderation_pb2.ModerateRequest(request_id="r", uri="https://example.com/a.jpg"))
    with pytest.raises(InvalidRequest, match="source"):
        read(moderation_pb2.ModerateRequest(request_id="r"))


def test_the_limits_of_a_batch() -> None:
    mib = 2**20
    assert moderation.check_batch([b"x" * mib] * 32) == 32 * mib
    assert moderation.check_batch([b"x"] * 64) == 64
    for bad in ([], [b"x"] * 65, [b"x" * (32 * mib), b"x"]):
        with pytest.raises(InvalidRequest) as caught:
            moderation.check_batch(bad)
        assert caught.value.field == "requests"


# --- Answer ---


def score(**changes: Any) -> verdict.CategoryScore:
    base = verdict.CategoryScore(
        category="weapons",
        score=0.9,
        log_odds=2.2,
        neutral_score=0.25,
        threshold=policy.Threshold(value=0.6),
        block_threshold=None,
        margin=1.8,
        band=verdict.Band.REVIEW,
        view=1,
        severity=3,
        mode=policy.Mode.ENFORCE,
    )
    return dataclasses.replace(base, **changes)


def full_answer(*scores: verdict.CategoryScore) -> answers.Answer:
    return answers.Answer(
        request_id="r",
        sha256="ab" * 32,
        judgement=verdict.Judgement(
            verdict=verdict.Verdict.REVIEW,
            reasons=(
                verdict.Reason(code=verdict.ReasonCode.CATEGORY_REVIEW, category="weapons"),
                verdict.Reason(code=verdict.ReasonCode.VIEWS_TRUNCATED, detail="frames"),
            ),
            scores=scores or (score(),),
            degraded=True,
        ),
        policy="p",
        policy_version="pv",
        model_version="mv",
        dry_run=True,
        views=(
            views.View(kind=views.ViewKind.STILL, box=(0, 0, 5, 6)),
            views.View(
                kind=views.ViewKind.FRAME,
                box=(1, 2, 3, 4),
                frame=7,
                background=views.Background.BLACK,
            ),
        ),
        coverage=0.5,
        crop_fraction=0.75,
        decode_info=views.DecodeInfo(
            format="GIF",
            width=5,
            height=6,
            mode="P",
            frames=9,
            orientation=6,
            has_alpha=True,
            icc_converted=True,
            scale_denominator=2,
        ),
        surface="avatar",
        content_ref="c",
        uploader_ref="u",
        labels={"k": "v"},
        item_id="i-1",
    )


@pytest.mark.parametrize("value", [0.125, 0.0, None])
def test_a_probability_is_absent_without_a_calibration(value: float | None) -> None:
    sent = moderation.response_of(full_answer(score(probability=value))).scores[0]
    assert sent.HasField("probability") is (value is not None)
    assert sent.probability == (value or 0.0)


def test_an_answer_arrives_whole() -> None:
    sent = moderation.response_of(full_answer())
    expected = moderation_pb2.ModerateResponse(
        request_id="r",
        verdict=verdict_pb2.VERDICT_REVIEW,
        reasons=[
            verdict_pb2.Reason(code="CATEGORY_REVIEW", category="weapons"),
            verdict_pb2.Reason(code="VIEWS_TRUNCATED", detail="frames"),
        ],
        scores=[
            verdict_pb2.CategoryScore(
                category="weapons",
                score=0.9,
                log_odds=2.2,
                neutral_score=0.25,
                review_threshold=verdict_pb2.Threshold(
                    value=0.6, scale=verdict_pb2.THRESHOLD_SCALE_SCORE
                ),
                margin=1.8,
                band=verdict_pb2.BAND_REVIEW,
                view=1,
                severity=3,
                mode=verdict_pb2.CATEGORY_MODE_ENFORCE,
            )
        ],
        worst_category="weapons",
        views=[
            verdict_pb2.View(
                kind=verdict_pb2.VIEW_KIND_STILL,
                right=5,
                lower=6,
                background=verdict_pb2.BACKGROUND_NONE,
            ),
            verdict_pb2.View(
                kind=verdict_pb2.VIEW_KIND_FRAME,
                left=1,
                upper=2,
                right=3,
                lower=4,
                frame=7,
                background=verdict_pb2.BACKGROUND_BLACK,
            ),
        ],
        coverage=0.5,
        crop_fraction=0.75,
        decode_info=verdict_pb2.DecodeInfo(
            format="GIF",
            width=5,
            height=6,
            mode="P",
            frames=9,
            orientation=6,
            has_alpha=True,
            icc_converted=True,
            scale_denominator=2,
        ),
        sha256="ab" * 32,
        policy="p",
        policy_version="pv",
        model_version="mv",
        degraded=True,
        item_id="i-1",
        content_ref="c",
        uploader_ref="u",
        surface="avatar",
        labels={"k": "v"},
        dry_run=True,
    )
    assert sent == expected


def test_no_field_of_the_answer_message_is_forgotten() -> None:
    """A field added to the contract must be filled here, or this fails."""
    sent = moderation.response_of(full_answer())
    filled = {field.name for field, _ in sent.ListFields()}
    assert filled == set(sent.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("margin", [-math.inf, math.inf, math.nan])
def test_a_margin_that_is_no_number_is_absent(margin: float) -> None:
    (sent,) = moderation.response_of(full_answer(score(margin=margin, threshold=None))).scores
    assert not sent.HasField("margin")
    assert not sent.HasField("review_threshold")
    assert not sent.HasField("block_threshold")


def test_a_margin_of_zero_and_a_threshold_of_zero_are_present() -> None:
    zero = score(margin=0.0, block_threshold=policy.Threshold(value=0.0, scale=policy.Scale.LOGIT))
    (sent,) = moderation.response_of(full_answer(zero)).scores
    assert sent.HasField("margin")
    assert sent.block_threshold.scale == verdict_pb2.THRESHOLD_SCALE_LOGIT


# --- review ---


def item(**changes: Any) -> review.Item:
    base = review.Item(
        item_id="i-9",
        tenant="t",
        sha256="ab" * 32,
        state=review.State.LEASED,
        verdict=verdict.Verdict.BLOCK,
        policy="p",
        policy_version="pv",
        model_version="mv",
        reasons=(verdict.ReasonCode.CATEGORY_BLOCK,),
        category="weapons",
        severity=3,
        score=0.9,
        answer=answers.to_json(full_answer()),
        media_type="image/gif",
        size_bytes=123,
        enqueued_at=1_700_000_000.25,
        due_at=1_700_000_600.0,
        rank=1.0,
        surface="avatar",
        content_ref="c",
        uploader_ref="u",
        labels={"k": "v"},
        submissions=2,
        round=1,
        tier=2,
        reviews_needed=1,
        expiries=4,
        claimed_by="ann",
        claimed_at=1_700_000_001.0,
        lease_until=1_700_000_002.0,
        decisions=(
            review.DecisionRecord(
                decision_id="d-1",
                item_id="i-9",
                round=1,
                outcome=review.Outcome.ESCALATE,
                labels=("x",),
                note="look",
                reviewer="ann",
                decided_at=1_700_000_000.5,
                effective=False,
                supersedes="d-0",
            ),
        ),
    )
    return dataclasses.replace(base, **changes)


def test_an_item_arrives_whole() -> None:
    (earlier,) = item().decisions
    sent = review_wire.item_of(
        item(
            opened_by=review.Cause.APPEAL,
            opening_note="a toy",
            attached_to="i-8",
            earlier=dataclasses.replace(earlier, decision_id="d-7"),
        ),
        Reader(decides=True, settles=True),  # and yet whole: it is not blind, and in tier 2
    )
    assert (sent.opened_by, sent.opening_note, sent.attached_to) == ("APPEAL", "a toy", "i-8")
    assert sent.earlier.decision_id == "d-7"
    filled = {field.name for field, _ in sent.ListFields()}
    assert filled == set(sent.DESCRIPTOR.fields_by_name) - {"group_id"}
    assert sent.state == review_pb2.ITEM_STATE_LEASED
    assert sent.verdict == verdict_pb2.VERDICT_BLOCK
    assert list(sent.reasons) == ["CATEGORY_BLOCK"]
    assert sent.enqueued_at.ToMicroseconds() == 1_700_000_000_250_000
    assert sent.answer.item_id == "i-9"
    (decision,) = sent.decisions
    assert decision.outcome == review_pb2.OUTCOME_ESCALATE
    assert (decision.cause, decision.supersedes, decision.effective) == ("DECIDE", "d-0", False)


def test_an_item_without_a_lease_has_no_times_of_one() -> None:
    sent = review_wire.item_of(item(claimed_at=None, lease_until=None), Reader(decides=False))
    assert not sent.HasField("claimed_at")
    assert not sent.HasField("lease_until")


@pytest.mark.parametrize("text", ["", "{", '{"request_id": "r"}', "[]", '"x"'])
def test_an_item_whose_answer_cannot_be_read_is_still_shown(text: str) -> None:
    sent = review_wire.item_of(item(answer=text), Reader(decides=False))
    assert sent.item_id == "i-9"
    assert not sent.HasField("answer")


def test_a_claim_is_read_with_its_defaults() -> None:
    got = review_wire.read_claim(
        review_pb2.ClaimRequest(claim_id="c", reviewer="ann"), tenant="t", name=""
    )
    assert got == review.ClaimRequest(
        tenant="t", reviewer="ann", claim_id="c", tier=1, lease_s=600.0
    )


@pytest.mark.parametrize("written", ["", "ann"])
def test_a_proved_name_need_not_be_written(written: str) -> None:
    claim = review_pb2.ClaimRequest(claim_id="c", reviewer=written)
    assert review_wire.read_claim(claim, tenant="t", name="ann").reviewer == "ann"
    decide = review_pb2.DecideRequest(
        item_id="i", token="k", outcome=review_pb2.OUTCOME_APPROVE, reviewer=written
    )
    assert review_wire.read_decide(decide, tenant="t", name="ann").reviewer == "ann"


def test_nobody_writes_another_name_than_the_proved_one() -> None:
    claim = review_pb2.ClaimRequest(claim_id="c", reviewer="bob")
    with pytest.raises(InvalidRequest, match="reviewer: must be empty or the caller's own"):
        review_wire.read_claim(claim, tenant="t", name="ann")
    decide = review_pb2.DecideRequest(
        item_id="i", token="k", outcome=review_pb2.OUTCOME_APPROVE, reviewer="bob"
    )
    with pytest.raises(InvalidRequest, match="reviewer: must be empty or the caller's own"):
        review_wire.read_decide(decide, tenant="t", name="ann")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"claim_id": ""}, "claim_id"),
        ({"reviewer": ""}, "reviewer"),
        ({"tier": -1}, "tier"),
        ({"lease_seconds": -1}, "lease_seconds"),
        ({"lease_seconds": 7201}, "lease_seconds"),
        ({"categories": ["a"] * 65}, "categories"),
    ],
)
def test_a_bad_claim_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    message = review_pb2.ClaimRequest(**{"claim_id": "c", "reviewer": "ann", **fields})
    with pytest.raises(InvalidRequest) as caught:
        review_wire.read_claim(message, tenant="t", name="")
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"item_id": ""}, "item_id"),
        ({"token": ""}, "token"),
        ({"outcome": 0}, "outcome"),
        ({"note": "n" * 4097}, "note"),
        ({"labels": [""]}, "labels[0]"),
        ({"reviewer": "\0"}, "reviewer"),
    ],
)
def test_a_bad_decision_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    good: dict[str, Any] = {"item_id": "i", "token": "k", "outcome": 1, "reviewer": "ann"}
    with pytest.raises(InvalidRequest) as caught:
        review_wire.read_decide(review_pb2.DecideRequest(**{**good, **fields}), tenant="t", name="")
    assert caught.value.field == field


def test_a_list_is_read_with_its_defaults_and_its_bounds() -> None:
    def read_list(**fields: Any) -> review.ListRequest:
        return review_wire.read_list(review_pb2.ListRequest(**fields), tenant="t", blind=False)

    assert read_list() == review.ListRequest(tenant="t", page_size=50)
    assert read_list(page_size=500, states=[2, 3]).states == (
        review.State.LEASED,
        review.State.PARKED,
    )
    for fields, field in (
        ({"page_size": 501}, "page_size"),
        ({"page_size": -1}, "page_size"),
        ({"states": [0]}, "states[0]"),
        ({"states": [1] * 6}, "states"),
        ({"page_token": "p" * 1025}, "page_token"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            read_list(**fields)
        assert caught.value.field == field


def test_stats_have_an_age_only_where_something_is_ready() -> None:
    by_state = {state: position for position, state in enumerate(review.State, start=1)}
    stats = review.QueueStats(by_state=by_state, oldest_ready_at=90.0, now=100.0)
    reader = Reader(decides=True)
    assert review_wire.stats_of(stats, reader) == review_pb2.StatsResponse(
        ready=1, leased=2, parked=3, oldest_ready_age_seconds=10.0
    )
    none = review_wire.stats_of(dataclasses.replace(stats, oldest_ready_at=None), reader)
    assert not none.HasField("oldest_ready_age_seconds")


def test_a_policy_arrives_whole_with_its_source_only_where_asked() -> None:
    sent = policy_of(colour_policy(block_at=0.9), is_default=True, with_source=True)
    assert {field.name for field, _ in sent.ListFields()} == set(sent.DESCRIPTOR.fields_by_name)
    (category,) = sent.categories
    assert (category.id, category.method, category.severity) == ("red", "contrast", 2)
    assert (category.review_threshold.value, category.block_threshold.value) == (0.6, 0.9)
    assert policy_of(colour_policy(), is_default=False, with_source=False).source == ""
