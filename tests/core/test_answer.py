"""The answer's JSON: everything comes back, and what it looks like is stable."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesieve_server.core.answer import Answer, from_json, to_json, without_details
from imagesieve_server.core.policy import Mode, Scale, Threshold
from imagesieve_server.core.verdict import (
    Band,
    CategoryScore,
    Judgement,
    Reason,
    ReasonCode,
    Verdict,
)
from imagesieve_server.core.views import Background, DecodeInfo, View, ViewKind

finite = st.floats(allow_nan=False, allow_infinity=False)
small = st.integers(0, 9)
words = st.text(max_size=4)
limits = st.none() | st.builds(Threshold, value=finite, scale=st.sampled_from(Scale))
scores = st.builds(
    CategoryScore,
    category=words,
    score=finite,
    log_odds=finite,
    neutral_score=finite,
    threshold=limits,
    block_threshold=limits,
    margin=finite | st.just(-math.inf),
    band=st.sampled_from(Band),
    view=small,
    severity=small,
    mode=st.sampled_from(Mode),
)
judgements = st.builds(
    Judgement,
    verdict=st.sampled_from(Verdict),
    reasons=st.lists(
        st.builds(Reason, code=st.sampled_from(ReasonCode), category=words, detail=words),
        max_size=2,
    ).map(tuple),
    scores=st.lists(scores, max_size=2).map(tuple),
    degraded=st.booleans(),
)
views = st.builds(
    View,
    kind=st.sampled_from(ViewKind),
    box=st.tuples(small, small, small, small),
    frame=small,
    background=st.sampled_from(Background),
)
infos = st.builds(
    DecodeInfo,
    format=words,
    width=small,
    height=small,
    mode=words,
    frames=small,
    orientation=small,
    has_alpha=st.booleans(),
    icc_converted=st.booleans(),
    scale_denominator=small,
)
answers = st.builds(
    Answer,
    request_id=words,
    sha256=words,
    judgement=judgements,
    policy=words,
    policy_version=words,
    model_version=words,
    dry_run=st.booleans(),
    views=st.lists(views, max_size=2).map(tuple),
    coverage=finite,
    crop_fraction=finite,
    decode_info=st.none() | infos,
    surface=words,
    content_ref=words,
    uploader_ref=words,
    labels=st.dictionaries(words, words, max_size=2),
    item_id=words,
)


@settings(max_examples=100, deadline=None)
@given(answers)
def test_every_answer_comes_back_whole(answer: Answer) -> None:
    assert from_json(to_json(answer)) == answer


@settings(max_examples=100, deadline=None)
@given(answers)
def test_without_details_the_verdict_is_left_and_nothing_of_the_upload(answer: Answer) -> None:
    judgement = dataclasses.replace(answer.judgement, scores=())
    verdict_alone = dataclasses.replace(
        answer,
        judgement=judgement,
        views=(),
        decode_info=None,
        surface="",
        content_ref="",
        uploader_ref="",
        labels={},
    )
    assert without_details(to_json(answer)) == to_json(verdict_alone)


@pytest.mark.parametrize(
    "text", ['{"judgement":null}', '{"item_id":"i","judgement":"REVIEW"}', "{}"]
)
def test_removing_details_adds_nothing_to_an_answer_that_has_none(text: str) -> None:
    assert without_details(text) == text


def answer(**score: Any) -> Answer:
    """A flagged answer with one category, whose numbers a test may choose."""
    base: dict[str, Any] = {
        "category": "weapons", "score": 0.9, "log_odds": 2.0, "neutral_score": 0.1,
        "threshold": Threshold(value=0.6), "block_threshold": None, "margin": 1.0,
        "band": Band.REVIEW, "view": 0, "severity": 3, "mode": Mode.ENFORCE,
    }  # fmt: skip
    return Answer(
        request_id="r",
        sha256="ab",
        judgement=Judgement(
            verdict=Verdict.REVIEW,
            reasons=(Reason(code=ReasonCode.CATEGORY_REVIEW, category="weapons"),),
            scores=(CategoryScore(**{**base, **score}),),
        ),
        policy="p",
        policy_version="v",
        model_version="m",
        views=(View(kind=ViewKind.STILL, box=(1, 2, 3, 4)),),
        decode_info=DecodeInfo(format="PNG", width=3, height=4, mode="RGB"),
    )


@pytest.mark.parametrize("value", [0.25, 0.0, None])
def test_a_probability_is_kept_and_may_be_absent(value: float | None) -> None:
    sent = answer(probability=value)
    assert from_json(to_json(sent)) == sent
    older = json.loads(to_json(sent))
    del older["judgement"]["scores"][0]["probability"]
    assert from_json(json.dumps(older)).judgement.scores[0].probability is None


def test_words_become_members_again() -> None:
    """A word equals its member, but code compares members by identity."""
    read = from_json(to_json(answer(threshold=Threshold(value=1.0, scale=Scale.LOGIT))))
    score = read.judgement.scores[0]
    assert score.band is Band.REVIEW
    assert score.mode is Mode.ENFORCE
    assert score.threshold is not None
    assert score.threshold.scale is Scale.LOGIT
    assert read.judgement.verdict is Verdict.REVIEW
    assert read.judgement.reasons[0].code is ReasonCode.CATEGORY_REVIEW
    assert read.views[0].kind is ViewKind.STILL
    assert read.views[0].background is Background.NONE


@pytest.mark.parametrize("number", ["score", "log_odds", "neutral_score"])
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_null_and_read_as_none_at_all(
    number: str, broken: float
) -> None:
    text = to_json(answer(**{number: broken}))
    assert json.loads(text)["judgement"]["scores"][0][number] is None
    assert "NaN" not in text
    assert "Infinity" not in text
    assert math.isnan(getattr(from_json(text).judgement.scores[0], number))


def test_the_text_is_compact_and_its_keys_are_in_order() -> None:
    """It is stored beside every flag: the same answer must be the same bytes."""
    text = to_json(answer())
    assert text == json.dumps(json.loads(text), separators=(",", ":"), sort_keys=True)


def test_keys_of_a_newer_server_are_ignored_wherever_they_stand() -> None:
    original = answer()

    def grown(value: Any) -> Any:
        if isinstance(value, list):
            return [grown(each) for each in value]
        if isinstance(value, dict):
            return {**{key: grown(each) for key, each in value.items()}, "added_later": [1]}
        return value

    raw = json.loads(to_json(original))
    labels = raw["labels"]
    assert from_json(json.dumps({**grown(raw), "labels": labels})) == original


@pytest.mark.parametrize("missing", ["judgement", "views", "decode_info"])
def test_something_else_is_refused(missing: str) -> None:
    raw = json.loads(to_json(answer()))
    del raw[missing]
    with pytest.raises(KeyError, match=missing):
        from_json(json.dumps(raw))
    with pytest.raises(ValueError):
        from_json("not JSON")
