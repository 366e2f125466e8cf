"""From scores to a verdict, the failure table, and the answer's JSON."""

from __future__ import annotations

import dataclasses
import math

import pytest

from helpers.policies import category, group, policy, still, unit
from imagesieve_server.core import answer as answers
from imagesieve_server.core.errors import EncoderUnavailable, PolicyError, UnknownCategory
from imagesieve_server.core.failure import (
    judge_undecodable,
    judge_without_encoder,
    refuse_unsafe_fail_open,
)
from imagesieve_server.core.policy import (
    Mode,
    OnPartialCoverage,
    OnUnavailable,
    Policy,
    Scale,
    Threshold,
)
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.verdict import Band, CategoryScore, ReasonCode, Verdict, decide
from imagesieve_server.core.views import DecodeInfo

RULES = policy([category(group(unit(1, 0)))], group(unit(0, 1)))


def scored(band: Band, **changes: object) -> CategoryScore:
    base = CategoryScore(
        category="weapons",
        score=0.9,
        log_odds=2.2,
        neutral_score=0.1,
        threshold=Threshold(value=0.6),
        block_threshold=None,
        margin=1.8,
        band=band,
        view=0,
        severity=3,
        mode=Mode.ENFORCE,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bands", "verdict"),
    [
        ((), Verdict.ALLOW),
        ((Band.CLEAR,), Verdict.ALLOW),
        ((Band.CLEAR, Band.REVIEW), Verdict.REVIEW),
        ((Band.REVIEW, Band.BLOCK), Verdict.BLOCK),
        ((Band.BLOCK, Band.REVIEW), Verdict.BLOCK),
    ],
)
def test_the_strongest_band_decides(bands: tuple[Band, ...], verdict: Verdict) -> None:
    judged = decide(
        policy=RULES, scores=[scored(b) for b in bands], scores_valid=True, coverage=1.0
    )
    assert judged.verdict is verdict
    assert len(judged.reasons) == sum(b is not Band.CLEAR for b in bands)


def test_observed_categories_never_act() -> None:
    watched = scored(Band.BLOCK, mode=Mode.OBSERVE)
    judged = decide(policy=RULES, scores=[watched], scores_valid=True, coverage=1.0)
    assert (judged.verdict, judged.reasons) == (Verdict.ALLOW, ())


def test_invalid_scores_go_to_a_person() -> None:
    judged = decide(policy=RULES, scores=[], scores_valid=False, coverage=1.0)
    assert judged.verdict is Verdict.REVIEW
    assert judged.reasons[0].code is ReasonCode.SCORE_INVALID


@pytest.mark.parametrize(
    ("choice", "verdict"),
    [(OnPartialCoverage.REVIEW, Verdict.REVIEW), (OnPartialCoverage.REPORT, Verdict.ALLOW)],
)
def test_partial_coverage_is_never_silent(choice: OnPartialCoverage, verdict: Verdict) -> None:
    rules = dataclasses.replace(RULES, on_partial_coverage=choice)
    judged = decide(policy=rules, scores=[], scores_valid=True, coverage=0.3, truncated=("frames",))
    assert judged.verdict is verdict
    assert (judged.reasons[0].code, judged.reasons[0].detail) == (
        ReasonCode.VIEWS_TRUNCATED,
        "frames",
    )


def test_partial_coverage_does_not_weaken_a_block() -> None:
    judged = decide(policy=RULES, scores=[scored(Band.BLOCK)], scores_valid=True, coverage=0.3)
    assert judged.verdict is Verdict.BLOCK


def test_worst_prefers_what_acts_then_severity() -> None:
    mild = scored(Band.REVIEW, category="mild", severity=1, margin=9.0)
    severe = scored(Band.REVIEW, category="severe", severity=4, margin=0.1)
    observed = scored(Band.BLOCK, category="observed", mode=Mode.OBSERVE, margin=99.0)
    judged = decide(policy=RULES, scores=[mild, severe, observed], scores_valid=True, coverage=1.0)
    assert judged.worst is not None
    assert judged.worst.category == "severe"


def with_choice(choice: OnUnavailable, severity: int = 1) -> Policy:
    return policy(
        [category(group(unit(1, 0)), severity=severity)], group(unit(0, 1)), on_unavailable=choice
    )


def test_failure_table_hold_raises() -> None:
    cause = EncoderUnavailable("down")
    with pytest.raises(EncoderUnavailable) as raised:
        judge_without_encoder(with_choice(OnUnavailable.HOLD), cause)
    assert raised.value is cause


@pytest.mark.parametrize(
    ("choice", "verdict", "code"),
    [
        (OnUnavailable.REVIEW, Verdict.REVIEW, ReasonCode.UNSCORED),
        (OnUnavailable.ALLOW, Verdict.ALLOW, ReasonCode.POLICY_FAIL_OPEN),
    ],
)
def test_failure_table_answers_are_degraded(
    choice: OnUnavailable, verdict: Verdict, code: ReasonCode
) -> None:
    judged = judge_without_encoder(with_choice(choice), EncoderUnavailable("down"))
    assert (judged.verdict, judged.reasons[0].code, judged.degraded) == (verdict, code, True)


@pytest.mark.parametrize("severity", [3, 4])
def test_failing_open_is_refused_for_severe_policies(severity: int) -> None:
    with pytest.raises(PolicyError, match="severity"):
        refuse_unsafe_fail_open(with_choice(OnUnavailable.ALLOW, severity))
    refuse_unsafe_fail_open(with_choice(OnUnavailable.ALLOW, 2))
    refuse_unsafe_fail_open(with_choice(OnUnavailable.REVIEW, severity))


def test_the_answers_json_gives_the_same_answer_back() -> None:
    judged = decide(
        policy=RULES,
        scores=[
            scored(Band.REVIEW),
            scored(Band.CLEAR, threshold=None, margin=-math.inf, category="watched"),
        ],
        scores_valid=True,
        coverage=0.5,
        truncated=("tiles",),
    )
    original = answers.Answer(
        request_id="r-1",
        sha256="ab",
        judgement=judged,
        policy="test",
        policy_version="v",
        model_version="m",
        views=still(2),
        coverage=0.5,
        crop_fraction=0.25,
        decode_info=DecodeInfo(format="PNG", width=3, height=4, mode="I;16"),
        labels={"a": "b"},
    )
    assert answers.from_json(answers.to_json(original)) == original


def test_the_answers_json_ignores_keys_of_a_newer_server() -> None:
    original = answers.Answer(
        request_id="r",
        sha256="ab",
        judgement=judge_undecodable("TRUNCATED"),
        policy="test",
        policy_version="v",
        model_version="m",
    )
    text = answers.to_json(original).replace("{", '{"added_later":[1],', 1)
    assert "added_later" in text
    assert answers.from_json(text) == original


def test_scores_that_are_not_finite_survive_json() -> None:
    broken = scored(Band.REVIEW, score=math.nan, log_odds=math.inf)
    judged = decide(policy=RULES, scores=[broken], scores_valid=False, coverage=1.0)
    original = answers.Answer(
        request_id="r", sha256="", judgement=judged, policy="", policy_version="", model_version=""
    )
    back = answers.from_json(answers.to_json(original))
    assert math.isnan(back.judgement.scores[0].score)


def test_an_unknown_category_is_named() -> None:
    with pytest.raises(UnknownCategory, match="'hats'"):
        RULES.subset(("weapons", "hats"))
    assert [c.id for c in RULES.subset(())] == ["weapons"]


def request(**changes: object) -> ModerationRequest:
    base = ModerationRequest(tenant="t", request_id="r", image=b"x")
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_the_request_digest_covers_what_must_not_differ() -> None:
    digests = {
        r.digest(sha256=r.sha256(), policy="p")
        for r in (
            request(),
            request(image=b"y"),
            request(surface="avatar"),
            request(categories=("a", "b")),
            request(categories=("ab",)),
            request(dry_run=True),
        )
    }
    assert len(digests) == 6
    assert request(categories=("a", "b")).digest(sha256="s", policy="p") == request(
        categories=("b", "a", "a")
    ).digest(sha256="s", policy="p")


def test_a_thresholds_log_odds() -> None:
    assert Threshold(value=0.5).log_odds() == 0.0
    assert Threshold(value=-1.5, scale=Scale.LOGIT).log_odds() == -1.5
    assert Threshold(value=0.0).log_odds() == -math.inf
    assert Threshold(value=1.0).log_odds() == math.inf
