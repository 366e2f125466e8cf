"""What is answered and what the queue keeps: every field from its own place."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from helpers.policies import category, group, policy, still, unit
from imagesieve_server.core.answer import Answer, from_json
from imagesieve_server.core.audit import Draw
from imagesieve_server.core.failure import judge_undecodable
from imagesieve_server.core.policy import AuditRates, Mode, Threshold
from imagesieve_server.core.records import answer_of, flag_of, sample_of, stored_answer
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.review import Recorded
from imagesieve_server.core.second_review import SecondReview
from imagesieve_server.core.verdict import (
    Band,
    CategoryScore,
    Judgement,
    Reason,
    ReasonCode,
    Verdict,
)
from imagesieve_server.core.views import DecodedImage, DecodeInfo

RULES = policy(
    [category(group(unit(1, 0)), severity=2), category(group(unit(1, 0)), id="drugs", severity=4)],
    group(unit(0, 1)),
)
REQUEST = ModerationRequest(
    tenant="t",
    request_id="r-1",
    image=b"12345",
    surface="avatar",
    content_ref="post-1",
    uploader_ref="user-1",
    labels={"a": "b"},
)
IMAGE = DecodedImage(
    pixels=np.zeros((1, 8, 8, 3), dtype=np.uint8),
    views=still(1),
    info=DecodeInfo(format="WEBP", width=8, height=9, mode="RGB"),
    coverage=0.5,
    crop_fraction=0.75,
)


def scored(**changes: Any) -> CategoryScore:
    base = CategoryScore(
        category="weapons",
        score=0.7,
        log_odds=0.8,
        neutral_score=0.1,
        threshold=Threshold(value=0.6),
        block_threshold=None,
        margin=0.4,
        band=Band.REVIEW,
        view=0,
        severity=2,
        mode=Mode.ENFORCE,
    )
    return dataclasses.replace(base, **changes)


def judged(*scores: CategoryScore, code: ReasonCode = ReasonCode.CATEGORY_REVIEW) -> Judgement:
    return Judgement(verdict=Verdict.REVIEW, reasons=(Reason(code=code),), scores=scores)


def answered(judgement: Judgement, image: DecodedImage | None = IMAGE) -> Answer:
    return answer_of(
        request=REQUEST,
        policy=RULES,
        model_version="m-1",
        sha256="ab",
        judgement=judgement,
        image=image,
    )


def test_an_answer_says_what_was_asked_judged_and_seen() -> None:
    judgement = judged(scored())
    assert answered(judgement) == Answer(
        request_id="r-1",
        sha256="ab",
        judgement=judgement,
        policy="test",
        policy_version="v" * 64,
        model_version="m-1",
        dry_run=False,
        views=IMAGE.views,
        coverage=0.5,
        crop_fraction=0.75,
        decode_info=IMAGE.info,
        surface="avatar",
        content_ref="post-1",
        uploader_ref="user-1",
        labels={"a": "b"},
        item_id="",
    )


def test_an_answer_without_a_picture_claims_to_have_seen_nothing() -> None:
    found = answered(judge_undecodable("TRUNCATED"), image=None)
    assert (found.views, found.coverage, found.crop_fraction, found.decode_info) == ((), 0, 0, None)


def test_an_answer_says_that_it_was_a_dry_run() -> None:
    request = dataclasses.replace(REQUEST, dry_run=True)
    found = answer_of(
        request=request, policy=RULES, model_version="", sha256="", judgement=judged(), image=IMAGE
    )
    assert found.dry_run


def test_a_flag_has_everything_a_reviewer_and_a_repeat_need() -> None:
    answer = answered(judged(scored()))
    flag = flag_of(
        request=REQUEST, policy=RULES, request_digest="d-1", answer=answer, picture_hash="0f" * 32
    )
    found = {
        field.name: getattr(flag, field.name)
        for field in dataclasses.fields(flag)
        if field.name
        not in ("answer", "audit", "inclusion_probability", "reviews_needed", "second_review_share")
    }
    assert found == {
        "tenant": "t", "request_id": "r-1", "request_digest": "d-1", "sha256": "ab",
        "size_bytes": 5, "media_type": "image/webp", "verdict": Verdict.REVIEW, "policy": "test",
        "policy_version": "v" * 64, "model_version": "m-1",
        "reasons": (ReasonCode.CATEGORY_REVIEW,), "category": "weapons", "severity": 2,
        "score": 0.7, "surface": "avatar", "content_ref": "post-1", "uploader_ref": "user-1",
        "labels": {"a": "b"}, "reuse_decision": False, "blind": False, "picture_hash": "0f" * 32,
    }  # fmt: skip
    assert from_json(flag.answer) == answer


def test_a_flag_is_reviewed_as_the_policy_says() -> None:
    rules = dataclasses.replace(RULES, reviews_needed=2, reuse_decisions=True)
    answer = answered(judged(scored()))
    flag = flag_of(request=REQUEST, policy=rules, request_digest="d-1", answer=answer)
    assert (flag.reviews_needed, flag.reuse_decision) == (2, True)
    assert flag.second_review_share == 0.0


def test_a_flag_is_drawn_for_a_second_review_by_its_categorys_share() -> None:
    answer = answered(judged(scored()))
    for twice, share in (
        (SecondReview(share=0.1), 0.1),
        (SecondReview(share=0.1, categories=(("weapons", 0.4),)), 0.4),
        (SecondReview(share=0.1, categories=(("other", 0.4),)), 0.1),
    ):
        rules = dataclasses.replace(RULES, second_review=twice)
        flag = flag_of(request=REQUEST, policy=rules, request_digest="d-1", answer=answer)
        assert flag.second_review_share == share


def test_a_sample_is_an_item_as_a_flag_of_its_category_would_be() -> None:
    rules = dataclasses.replace(RULES, audit=AuditRates(rate=0.5), reuse_decisions=True)
    drugs = scored(category="drugs", band=Band.CLEAR, margin=-0.1, severity=4, score=0.2)
    clear = Judgement(
        verdict=Verdict.ALLOW, reasons=(), scores=(scored(band=Band.CLEAR, margin=-3.0), drugs)
    )
    drawn = Draw(band="far", probability=0.5, selected=True, category="drugs", severity=4)
    told = {"request": REQUEST, "policy": rules, "request_digest": "d", "answer": answered(clear)}
    flag, sample = flag_of(**told), sample_of(**told, draw=drawn)
    assert flag.blind, "flags of the policy hide as much"
    assert sample == dataclasses.replace(
        flag, audit=True, inclusion_probability=0.5, reasons=(ReasonCode.AUDIT_SAMPLE,),
        category="drugs", severity=4, score=0.2, reuse_decision=False,
    )  # fmt: skip
    assert from_json(sample.answer) == answered(clear)


@pytest.mark.parametrize(
    "judgement",
    [
        judged(code=ReasonCode.UNSCORED),
        judged(scored(band=Band.CLEAR, margin=-0.1), code=ReasonCode.VIEWS_TRUNCATED),
        judged(scored(band=Band.BLOCK, mode=Mode.OBSERVE), code=ReasonCode.VIEWS_TRUNCATED),
    ],
    ids=["nothing scored", "nothing reached", "only observed"],
)
def test_a_flag_that_no_category_raised_ranks_as_the_worst(judgement: Judgement) -> None:
    """Nobody knows yet how bad it is: the policy's highest severity, and a score of 1."""
    flag = flag_of(request=REQUEST, policy=RULES, request_digest="", answer=answered(judgement))
    assert (flag.category, flag.severity, flag.score) == ("", 4, 1.0)


def test_a_file_without_a_picture_has_no_media_type_of_its_own() -> None:
    answer = answered(judge_undecodable("TRUNCATED"), image=None)
    flag = flag_of(request=REQUEST, policy=RULES, request_digest="", answer=answer)
    assert flag.media_type == "application/octet-stream"


def test_what_is_told_is_what_the_store_keeps_with_its_items_id() -> None:
    answer = answered(judged(scored()))
    flag = flag_of(request=REQUEST, policy=RULES, request_digest="", answer=answer)
    recorded = Recorded(item_id="i-1", answer=flag.answer)
    assert stored_answer(recorded) == dataclasses.replace(answer, item_id="i-1")
