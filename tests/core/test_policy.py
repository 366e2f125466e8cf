"""Thresholds, the categories of a request, and severity."""

from __future__ import annotations

import math

import pytest

from helpers.policies import category, group, policy, unit
from imagesieve_server.core.errors import UnknownCategory
from imagesieve_server.core.policy import Scale, Threshold, Thresholds
from imagesieve_server.core.views import ViewKind

X, Y = unit(1, 0), unit(0, 1)


@pytest.mark.parametrize(
    ("scale", "score", "logit", "reached"),
    [
        (Scale.SCORE, 0.6, -9.0, True),  # at the threshold the band begins
        (Scale.SCORE, 0.5999, 9.0, False),
        (Scale.LOGIT, 0.0, 0.6, True),
        (Scale.LOGIT, 1.0, 0.5999, False),
        (Scale.SCORE, math.nan, -9.0, True),
        (Scale.LOGIT, 0.0, math.nan, True),
    ],
)
def test_a_threshold_compares_with_its_own_scale(
    scale: Scale, score: float, logit: float, reached: bool
) -> None:
    assert Threshold(value=0.6, scale=scale).reached(score=score, logit=logit) is reached


@pytest.mark.parametrize("value", [0.01, 0.3, 0.6, 0.999])
def test_a_scores_log_odds_are_those_of_the_sigmoid(value: float) -> None:
    assert 1 / (1 + math.exp(-Threshold(value=value).log_odds())) == pytest.approx(value)


@pytest.mark.parametrize(
    ("value", "log_odds"), [(-0.5, -math.inf), (0.0, -math.inf), (1.0, math.inf), (1.5, math.inf)]
)
def test_a_score_beyond_the_ends_is_infinitely_far(value: float, log_odds: float) -> None:
    """A cosine's threshold may lie below 0."""
    assert Threshold(value=value).log_odds() == log_odds


def test_a_view_has_its_kinds_thresholds_unless_it_is_the_first() -> None:
    usual = Thresholds(review_at=Threshold(value=0.6))
    of_tiles = Thresholds(review_at=Threshold(value=0.8))
    of_stills = Thresholds(review_at=Threshold(value=0.7))
    kinds = ((ViewKind.TILE, of_tiles), (ViewKind.STILL, of_stills))
    rule = category(group(X), thresholds=usual, per_view_kind=kinds)
    assert rule.thresholds_for(ViewKind.TILE, first=False) is of_tiles
    assert rule.thresholds_for(ViewKind.TILE, first=True) is of_stills
    assert rule.thresholds_for(ViewKind.STILL, first=False) is of_stills
    assert rule.thresholds_for(ViewKind.FRAME, first=False) is usual


RULES = policy(
    [category(group(X), id=name, severity=s) for name, s in (("a", 2), ("b", 4), ("c", 1))],
    group(Y),
)


def test_a_subset_has_the_policys_order_and_each_once() -> None:
    assert [c.id for c in RULES.subset(("c", "a", "c"))] == ["a", "c"]
    assert RULES.subset(()) == RULES.categories


def test_an_unknown_category_is_named_with_its_policy() -> None:
    with pytest.raises(UnknownCategory, match="policy 'test' has no category 'hats'") as caught:
        RULES.subset(("a", "hats"))
    assert caught.value.metadata == {"policy": "test", "category": "hats"}


def test_a_policy_is_as_severe_as_its_worst_category() -> None:
    assert RULES.severity == 4


def test_a_group_is_as_long_as_its_prompts() -> None:
    assert [len(group()), len(group(X)), len(group(X, Y))] == [0, 1, 2]
