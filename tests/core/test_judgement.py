"""Reasons in full, and which category stands for a judgement."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.policies import category, group, policy, unit
from imagesieve_server.core.policy import Mode, OnPartialCoverage
from imagesieve_server.core.verdict import (
    Band,
    CategoryScore,
    Judgement,
    Reason,
    ReasonCode,
    Verdict,
    decide,
)

RULES = policy([category(group(unit(1, 0)))], group(unit(0, 1)))
STRENGTH = {Verdict.ALLOW: 0, Verdict.REVIEW: 1, Verdict.BLOCK: 2}


def scored(name: str, band: Band = Band.REVIEW, **changes: Any) -> CategoryScore:
    base = CategoryScore(
        category=name,
        score=0.9,
        log_odds=2.2,
        neutral_score=0.1,
        threshold=None,
        block_threshold=None,
        margin=1.0,
        band=band,
        view=0,
        severity=3,
        mode=Mode.ENFORCE,
    )
    return dataclasses.replace(base, **changes)


def judge(*scores: CategoryScore, **fields: Any) -> Judgement:
    arguments: dict[str, Any] = {"policy": RULES, "scores_valid": True, "coverage": 1.0}
    return decide(scores=scores, **{**arguments, **fields})


def test_verdicts_are_ordered_by_strength() -> None:
    assert {verdict: verdict.strength for verdict in Verdict} == STRENGTH


def test_every_reason_is_listed_with_its_category_and_what_was_cut() -> None:
    found = judge(
        scored("a", Band.REVIEW),
        scored("b", Band.BLOCK),
        scored("c", Band.CLEAR),
        scored("d", Band.BLOCK, mode=Mode.OBSERVE),
        scores_valid=False,
        coverage=0.99,
        truncated=("frames", "tiles"),
    )
    assert found.verdict is Verdict.BLOCK
    assert found.reasons == (
        Reason(code=ReasonCode.SCORE_INVALID),
        Reason(code=ReasonCode.CATEGORY_REVIEW, category="a"),
        Reason(code=ReasonCode.CATEGORY_BLOCK, category="b"),
        Reason(code=ReasonCode.VIEWS_TRUNCATED, detail="frames,tiles"),
    )
    assert [score.category for score in found.scores] == ["a", "b", "c", "d"]
    assert found.degraded is False


scores = st.builds(
    scored,
    st.sampled_from("abc"),
    st.sampled_from(Band),
    mode=st.sampled_from(Mode),
    severity=st.integers(1, 4),
    margin=st.floats(-5, 5) | st.just(-math.inf),
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(scores, max_size=4), st.booleans(), st.sampled_from([1.0, 0.5]),
    st.sampled_from(OnPartialCoverage),
)  # fmt: skip
def test_the_verdict_is_the_strongest_that_anything_asks_for(
    found: list[CategoryScore], valid: bool, coverage: float, choice: OnPartialCoverage
) -> None:
    rules = dataclasses.replace(RULES, on_partial_coverage=choice)
    asked = [Verdict.ALLOW]
    asked += [Verdict(s.band) for s in found if s.acts]
    asked += [Verdict.REVIEW] if not valid else []
    asked += [Verdict.REVIEW] if coverage < 1 and choice is OnPartialCoverage.REVIEW else []
    judged = judge(*found, policy=rules, scores_valid=valid, coverage=coverage)
    assert judged.verdict is max(asked, key=lambda verdict: STRENGTH[verdict])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # what acts comes before what is nearer to its threshold
        ({"margin": 0.1}, {"band": Band.CLEAR, "margin": 9.0}),
        ({"margin": 0.1, "severity": 1}, {"mode": Mode.OBSERVE, "margin": 9.0, "severity": 4}),
        # BLOCK before REVIEW, whatever severity and margin
        ({"band": Band.BLOCK, "severity": 1, "margin": 0.1}, {"severity": 4, "margin": 9.0}),
        # then severity, then margin
        ({"severity": 4, "margin": 0.1}, {"severity": 3, "margin": 9.0}),
        ({"margin": 2.0}, {"margin": 1.0}),
        # where nothing acts, the nearest to its threshold, whatever its severity or band
        (
            {"band": Band.CLEAR, "margin": -1.0, "severity": 1},
            {"band": Band.CLEAR, "margin": -2.0, "severity": 4},
        ),
        (
            {"band": Band.CLEAR, "margin": 3.0},
            {"band": Band.BLOCK, "mode": Mode.OBSERVE, "margin": 2.0},
        ),
    ],
)
def test_the_worst_category_stands_for_the_judgement(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    for order in (("one", "other"), ("other", "one")):
        made = {"one": scored("one", **one), "other": scored("other", **other)}
        worst = judge(*(made[name] for name in order)).worst
        assert worst is not None
        assert worst.category == "one"


def test_nothing_scored_has_no_worst() -> None:
    assert judge().worst is None
