"""Which view speaks for a category, and what is said about it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from helpers.policies import category, group, policy, still, unit
from imagesieve_server.core.calibration import Platt
from imagesieve_server.core.policy import (
    Method,
    Mode,
    Policy,
    Pooling,
    Probe,
    Scale,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.scoring import UNIT_TOLERANCE, Scored, pool, score_image
from imagesieve_server.core.verdict import Band, CategoryScore
from imagesieve_server.core.views import Background, View, ViewKind

X, Y, Z = unit(1, 0, 0), unit(0, 1, 0), unit(0, 0, 1)
FRAME = {"kind": ViewKind.FRAME, "box": (0, 0, 8, 8)}


def scored(rules: Policy, *vectors: np.ndarray, views: tuple[View, ...] = ()) -> Scored:
    return score_image(
        policy=rules,
        categories=rules.categories,
        embeddings=np.stack(vectors),
        views=views or still(len(vectors)),
    )


def score(rules: Policy, *vectors: np.ndarray, views: tuple[View, ...] = ()) -> CategoryScore:
    found = scored(rules, *vectors, views=views)
    assert found.valid
    return found.scores[0]


def test_the_worst_views_numbers_are_told() -> None:
    """Its thresholds, its neutral score and its index; severity and mode are the category's."""
    limits = Thresholds(review_at=Threshold(value=0.6), block_at=Threshold(value=0.9))
    rule = category(group(X), thresholds=limits, severity=2, mode=Mode.OBSERVE)
    mild, bad = unit(1, 3, 0), unit(4, 3, 0)
    found = score(policy([rule], group(Y), logit_scale=10.0), mild, bad, mild)
    assert found.view == 1
    assert found.neutral_score == pytest.approx(0.6, abs=1e-6)
    assert (found.threshold, found.block_threshold) == (limits.review_at, limits.block_at)
    assert (found.category, found.severity, found.mode) == ("weapons", 2, Mode.OBSERVE)


def test_a_stronger_band_speaks_before_a_higher_score() -> None:
    """A tile's strict threshold is reached by a score that is fine for the whole picture."""
    strict = Thresholds(review_at=Threshold(value=0.2), block_at=Threshold(value=0.25))
    lax = Thresholds(review_at=Threshold(value=0.95))
    rule = category(group(X), thresholds=lax, per_view_kind=((ViewKind.TILE, strict),))
    higher, lower = unit(1, 1, 0), unit(1, 1.1, 0)
    tile = View(kind=ViewKind.TILE, box=(0, 0, 8, 8))
    rules = policy([rule], group(Y), logit_scale=10.0)
    found = score(rules, higher, lower, views=(*still(), tile))
    assert (found.band, found.view) == (Band.BLOCK, 1)
    assert found.score == pytest.approx(0.5)  # the highest of all views
    assert found.log_odds == pytest.approx(0.0, abs=1e-6)
    lowers = 10 * (1 - 1.1) / math.hypot(1, 1.1)
    assert found.margin == pytest.approx(lowers - math.log(0.2 / 0.8), abs=1e-5)


def test_the_first_frame_uses_the_stills_thresholds_on_every_background() -> None:
    lax = Thresholds(review_at=Threshold(value=0.99))
    rule = category(group(X), per_view_kind=((ViewKind.FRAME, lax),))
    views = (
        View(**FRAME, background=Background.WHITE),
        View(**FRAME, background=Background.BLACK),
        View(**FRAME, frame=3),
    )
    rules = policy([rule], group(Y), logit_scale=2.0)
    likely = unit(1, 0.2, 0)  # a score between .6 and .99
    assert score(rules, Y, likely, Y, views=views).band is Band.REVIEW
    assert score(rules, Y, Y, likely, views=views).band is Band.CLEAR


@pytest.mark.parametrize("kind", [ViewKind.TILE, ViewKind.FRAME])
def test_view_0_uses_the_stills_thresholds_whatever_its_kind(kind: ViewKind) -> None:
    lax = Thresholds(review_at=Threshold(value=0.99))
    rule = category(group(X), per_view_kind=((kind, lax),))
    late = View(kind=kind, box=(0, 0, 8, 8), frame=3)
    likely = unit(1, 0.2, 0)  # a score between .6 and .99
    rules = policy([rule], group(Y), logit_scale=2.0)
    assert score(rules, likely, views=(late,)).band is Band.REVIEW
    assert score(rules, Y, likely, views=(late, late)).band is Band.CLEAR


@pytest.mark.parametrize(("value", "band"), [(1.9, Band.BLOCK), (2.1, Band.CLEAR)])
def test_a_block_threshold_in_log_odds_is_compared_with_them(value: float, band: Band) -> None:
    limits = Thresholds(review_at=None, block_at=Threshold(value=value, scale=Scale.LOGIT))
    rules = policy([category(group(X), thresholds=limits)], group(Y), logit_scale=10.0)
    found = score(rules, unit(4, 3, 0))  # log-odds 2, score .88
    assert found.band is band


@pytest.mark.parametrize(
    ("method", "threshold", "margin"),
    [
        (Method.CONTRAST, Threshold(value=0.25), 2.0 - math.log(0.25 / 0.75)),
        (Method.CONTRAST, Threshold(value=0.5, scale=Scale.LOGIT), 1.5),
        (Method.COSINE, Threshold(value=0.5), 0.3),
        (Method.CONTRAST, None, -math.inf),
        (Method.COSINE, None, -math.inf),
    ],
)
def test_the_margin_is_how_far_beyond_its_threshold_a_view_is(
    method: Method, threshold: Threshold | None, margin: float
) -> None:
    rule = category(group(X), method=method, thresholds=Thresholds(review_at=threshold))
    found = score(policy([rule], group(Y), logit_scale=10.0), unit(4, 3, 0))
    assert found.margin == pytest.approx(margin, abs=1e-5)


@pytest.mark.parametrize(
    ("value", "band"), [(0.5, Band.REVIEW), (0.1, Band.BLOCK), (0.9, Band.CLEAR)]
)
def test_bands_begin_at_their_thresholds(value: float, band: Band) -> None:
    """A picture exactly between both sides: score .5, log-odds 0."""
    block = Threshold(value=value) if band is Band.BLOCK else None
    review = None if band is Band.BLOCK else Threshold(value=value)
    rule = category(group(X), thresholds=Thresholds(review_at=review, block_at=block))
    assert score(policy([rule], group(Y)), unit(1, 1, 0)).band is band


@pytest.mark.parametrize("off", [-0.8, 0.8, -1.2, 1.2])
def test_lengths_are_one_within_the_tolerance_and_not_beyond(off: float) -> None:
    vector = (X.astype(np.float64) * (1 + off * UNIT_TOLERANCE)).astype(np.float32)
    assert scored(policy([category(group(X))], group(Y)), vector).valid is (abs(off) < 1)


def test_rows_that_are_not_sound_keep_the_others_in_their_places() -> None:
    broken = np.full(3, np.nan, dtype=np.float32)
    found = scored(policy([category(group(X))], group(Y)), broken, Y, X)
    assert not found.valid
    assert (found.scores[0].view, found.scores[0].band) == (2, Band.REVIEW)


@pytest.mark.parametrize("bias", [math.inf, -math.inf, math.nan])
def test_a_score_that_is_not_finite_is_not_valid(bias: float) -> None:
    head = Probe(weights=np.ones(3, dtype=np.float32), bias=bias)
    rules = policy([category(group(), method=Method.PROBE, probe=head)], group(Y))
    with np.errstate(invalid="ignore"):  # NumPy warns of what is being tested
        assert not scored(rules, X).valid


def test_a_probe_without_weights_is_a_mistake_with_a_name() -> None:
    rules = policy([category(group(), method=Method.PROBE)], group(Y))
    with pytest.raises(ValueError, match="'weapons' has method probe but no probe"):
        scored(rules, X)


def test_without_neutral_prompts_there_is_no_neutral_score() -> None:
    """Only contrast needs them."""
    rules = policy([category(group(X), method=Method.COSINE)], group())
    assert score(rules, X).neutral_score == 0.0


@pytest.mark.parametrize("shape", [(3,), (1, 1, 3), (0, 3), (2, 3)])
def test_embeddings_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    rules = policy([category(group(X))], group(Y))
    embeddings = np.ones(shape, dtype=np.float32)
    with pytest.raises(ValueError, match="1 views but embeddings of shape"):
        score_image(policy=rules, categories=rules.categories, embeddings=embeddings, views=still())
    with pytest.raises(ValueError, match="0 views"):
        score_image(
            policy=rules,
            categories=rules.categories,
            embeddings=np.zeros((0, 3), dtype=np.float32),
            views=(),
        )


def test_the_probability_is_that_of_the_highest_log_odds_and_changes_no_band() -> None:
    mapping = Platt(slope=0.5, intercept=-3.0)
    plain = category(group(X))
    bare, with_it = (
        score(policy([rule], group(Y), logit_scale=10.0), unit(4, 3, 0), Y)
        for rule in (plain, category(group(X), calibration=mapping))
    )
    assert bare.probability is None
    assert with_it.probability == pytest.approx(1 / (1 + math.exp(2.0)), abs=1e-6)  # log-odds 2
    assert (with_it.band, with_it.score, with_it.margin) == (Band.REVIEW, bare.score, bare.margin)


def test_pools_by_hand() -> None:
    cosines = np.array([[0.1, 0.3], [0.9, -0.5]])
    assert list(pool(cosines, pooling=Pooling.MAX, logit_scale=10.0)) == [0.3, 0.9]
    found = pool(cosines, pooling=Pooling.LOGMEANEXP, logit_scale=10.0)
    by_hand = [math.log((math.exp(10 * a) + math.exp(10 * b)) / 2) / 10 for a, b in cosines]
    assert found == pytest.approx(by_hand, abs=1e-12)
    assert pool(cosines * 200, pooling=Pooling.LOGMEANEXP, logit_scale=100.0) == pytest.approx(
        [60 - math.log(2) / 100, 180 - math.log(2) / 100]
    )


def test_counter_prompts_of_contrast_and_neutral_prompts_are_pooled_as_the_category_says() -> None:
    v = unit(3, 4, 0)
    rule = category(group(Z), counter_prompts=group(X, Y), pooling=Pooling.LOGMEANEXP)
    logit = score(policy([rule], group(X, Y), logit_scale=10.0), v).log_odds
    side = math.log((math.exp(6) + math.exp(8)) / 2)
    assert logit == pytest.approx(0.0 - (side + math.log(2)), abs=1e-5)
    # the neutral score told to people is the maximum, whatever the category pools by
    found = score(policy([rule], group(X, Y), logit_scale=10.0), v)
    assert found.neutral_score == pytest.approx(0.8, abs=1e-6)
