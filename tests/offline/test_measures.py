"""Measures of a ranking: known values, properties that must hold, and intervals that cover."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imagesieve_server.offline.measures import bootstrap, needed, quality
from imagesieve_server.offline.measures.bootstrap import Measured, Resampling
from imagesieve_server.offline.measures.figures import Figure, from_resamples, proportion
from imagesieve_server.offline.measures.ranking import Doubles, Flags, Ranking

MEASURES = {
    "auc": quality.roc_auc,
    "ap": quality.average_precision,
    "p@.9": quality.precision_at_recall(0.9),
    "r@1%": quality.recall_at_fpr(0.01),
    "fpr@.9": quality.fpr_at_recall(0.9),
}


@st.composite
def ranked(draw: st.DrawFn) -> tuple[Doubles, Flags]:
    """Few different scores, so that ties are common; both answers occur."""
    positive = draw(st.lists(st.booleans(), min_size=2, max_size=40))
    assume(any(positive) and not all(positive))
    scores = draw(st.lists(st.integers(-4, 4), min_size=len(positive), max_size=len(positive)))
    return np.array(scores, dtype=np.float64), np.array(positive)


def values(scores: Doubles, positive: Flags) -> dict[str, float]:
    steps = Ranking(scores, positive).steps()
    return {name: float(measure(steps)[0]) for name, measure in MEASURES.items()}


def at_thresholds(scores: Doubles, positive: Flags) -> list[tuple[int, int]]:
    """(true, false) flagged at every possible threshold, counted one by one."""
    return [
        (int((positive & (scores >= limit)).sum()), int((~positive & (scores >= limit)).sum()))
        for limit in sorted(set(scores), reverse=True)
    ]


@settings(deadline=None)
@given(ranked())
def test_every_measure_is_what_counting_at_every_threshold_says(
    case: tuple[Doubles, Flags],
) -> None:
    scores, positive = case
    counted = at_thresholds(scores, positive)
    p, n = int(positive.sum()), int((~positive).sum())
    found = values(scores, positive)
    pairs = [
        (a > b) + (a == b) / 2 for a, b in itertools.product(scores[positive], scores[~positive])
    ]
    assert found["auc"] == pytest.approx(np.mean(pairs))
    assert found["auc"] == pytest.approx(quality.auc(scores[positive], scores[~positive]))
    gained = np.diff([0, *(t for t, _ in counted)])
    assert found["ap"] == pytest.approx(
        sum(g * t / (t + f) for g, (t, f) in zip(gained, counted, strict=True)) / p
    )
    enough = [(t, f) for t, f in counted if t >= 0.9 * p - 1e-9]
    assert found["p@.9"] == pytest.approx(max(t / (t + f) for t, f in enough))
    assert found["fpr@.9"] == pytest.approx(min(f for _, f in enough) / n)
    assert found["r@1%"] == pytest.approx(
        max((t for t, f in counted if f <= 0.01 * n), default=0) / p
    )


@settings(deadline=None)
@given(ranked(), st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_a_rising_scale_matters(
    case: tuple[Doubles, Flags], chance: object
) -> None:
    scores, positive = case
    order = list(range(len(scores)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    assert values(np.exp(scores[order]) * 3, positive[order]) == values(scores, positive)


@settings(deadline=None)
@given(ranked(), st.data())
def test_a_weight_is_the_same_as_a_row_that_many_times(
    case: tuple[Doubles, Flags], data: st.DataObject
) -> None:
    scores, positive = case
    weights = np.array(
        data.draw(st.lists(st.integers(0, 3), min_size=len(scores), max_size=len(scores)))
    )
    assume(weights[positive].sum() > 0)
    assume(weights[~positive].sum() > 0)
    steps = Ranking(scores, positive).steps(np.stack([weights, weights]))
    repeated = values(np.repeat(scores, weights), np.repeat(positive, weights))
    for name, measure in MEASURES.items():
        assert measure(steps).tolist() == pytest.approx([repeated[name]] * 2)


def test_auc_is_the_chance_that_a_positive_scores_higher() -> None:
    assert quality.auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert quality.auc(np.array([0.0]), np.array([1.0, 2.0])) == 0.0
    assert quality.auc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
    assert quality.auc(np.array([1.0]), np.array([0.0, 1.0, 2.0, 3.0])) == pytest.approx(1.5 / 4)


def test_all_tied_tells_nothing_apart() -> None:
    scores, positive = np.zeros(10), np.arange(10) < 2
    assert values(scores, positive) == pytest.approx(
        {"auc": 0.5, "ap": 0.2, "p@.9": 0.2, "r@1%": 0.0, "fpr@.9": 1.0}
    )


def test_nonsense_is_refused() -> None:
    flags = np.array([True, False])
    for scores in (np.array([1.0, np.nan]), np.array([1.0]), np.zeros((2, 1))):
        with pytest.raises(ValueError):
            Ranking(scores, flags)
    with pytest.raises(ValueError):
        Ranking(np.zeros(0), np.zeros(0, dtype=bool))
    with pytest.raises(ValueError, match="positives and negatives"):
        bootstrap.measure({"a": np.zeros(2)}, np.ones(2, dtype=bool), MEASURES, Resampling())


# --- intervals ----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 60))
def test_a_proportion_lies_in_its_interval_and_more_pictures_narrow_it(k: int, n: int) -> None:
    assume(k <= n)
    one, more = proportion(k, n), proportion(10 * k, 10 * n)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert one.low < one.high
    assert more.high - more.low < one.high - one.low
    assert proportion(k, n, confidence=0.999).low <= one.low


def test_impossible_counts_are_refused() -> None:
    for hits, trials in ((1, 0), (-1, 2), (3, 2)):
        with pytest.raises(ValueError):
            proportion(hits, trials)


def test_a_perfect_value_of_few_pictures_is_not_certain() -> None:
    assert from_resamples(1.0, np.ones(100), examples=5).low == proportion(5, 5).low < 0.5
    assert from_resamples(0.0, np.zeros(100), examples=5).high == proportion(0, 5).high > 0.5


def test_intervals_are_apart_where_they_share_no_point() -> None:
    one = Figure(value=0.5, low=0.4, high=0.6)
    assert not one.apart_from(Figure(value=0.7, low=0.6, high=0.8))
    assert one.apart_from(Figure(value=0.7, low=0.61, high=0.8))
    assert one.apart_from(Figure(value=0.1, low=0.0, high=0.39))


def test_resamples_keep_both_strata_and_repeat_with_their_seed() -> None:
    positive = np.arange(50) < 3
    found = np.concatenate(list(bootstrap.resamples(positive, Resampling(count=700, seed=4))))
    assert found.shape == (700, 50)
    assert (found[:, positive].sum(axis=1) == 3).all()
    assert (found[:, ~positive].sum(axis=1) == 47).all()
    assert abs(found.mean(axis=0) - 1).max() < 0.2
    again = np.concatenate(list(bootstrap.resamples(positive, Resampling(count=700, seed=4))))
    other = np.concatenate(list(bootstrap.resamples(positive, Resampling(count=700, seed=5))))
    assert (found == again).all()
    assert (found != other).any()


def test_resampling_in_parts_gives_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_CELLS", 30)
    scores = np.random.default_rng(0).normal(size=20)
    found = bootstrap.measure(
        {"a": scores}, np.arange(20) < 8, {"auc": quality.roc_auc}, Resampling(count=11)
    )
    assert len(found["a"]["auc"].samples) == 11


def test_a_variant_does_not_differ_from_itself_and_a_better_one_does() -> None:
    chance = np.random.default_rng(1)
    positive = np.arange(600) < 200
    scores = chance.normal(size=600) + positive
    found = bootstrap.measure(
        {"a": scores, "same": scores * 2, "better": scores + positive},
        positive,
        {"auc": quality.roc_auc},
        Resampling(count=200),
    )
    auc = {name: one["auc"] for name, one in found.items()}
    assert auc["same"].minus(auc["a"]) == Figure(value=0.0, low=0.0, high=0.0)
    assert auc["better"].minus(auc["a"]).low > 0
    unpaired = auc["better"].figure().low - auc["a"].figure().high
    assert auc["better"].minus(auc["a"]).low > unpaired  # pairing is what narrows it


def test_the_interval_of_an_auc_covers_the_truth_about_as_often_as_it_says() -> None:
    """Normal scores, one apart: the true AUC is Φ(1/√2) = .7602. 95 % ± 4 SE of 200 trials."""
    covered = 0
    for trial in range(200):
        chance = np.random.default_rng(trial)
        positive = np.arange(150) < 50
        scores = chance.normal(size=150) + positive
        found = bootstrap.measure(
            {"a": scores}, positive, {"auc": quality.roc_auc}, Resampling(count=200, seed=trial)
        )
        interval = found["a"]["auc"].figure()
        covered += interval.low <= 0.76025 <= interval.high
    assert 0.88 <= covered / 200 <= 1.0


def test_a_measured_value_always_lies_in_its_interval() -> None:
    one = Measured(value=0.9, samples=np.array([0.1, 0.2, 0.3]), examples=3)
    assert one.figure().high == 0.9


def test_the_numbers_that_are_asked_for() -> None:
    assert needed.for_half_width(0.1) == 97
    assert needed.for_half_width(0.005, share=0.01) == 1522
    assert [needed.for_recall(r) for r in (0.8, 0.9, 0.95)] == [5, 10, 20]
    assert needed.for_rate(0.01) == 100


# --- against scikit-learn -------------------------------------------------------------------------


@pytest.mark.evaluate
@settings(deadline=None)
@given(ranked())
def test_scikit_learn_says_the_same(case: tuple[Doubles, Flags]) -> None:
    from sklearn import metrics

    scores, positive = case
    found = values(scores, positive)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(positive, scores))
    assert found["ap"] == pytest.approx(metrics.average_precision_score(positive, scores))
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    assert found["p@.9"] == pytest.approx(precision[:-1][recall[:-1] >= 0.9 - 1e-9].max())
    fpr, tpr, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    assert found["r@1%"] == pytest.approx(tpr[fpr <= 0.01].max())
    assert found["fpr@.9"] == pytest.approx(fpr[tpr >= 0.9 - 1e-9].min())


@pytest.mark.evaluate
@settings(deadline=None)
@given(ranked(), st.data())
def test_scikit_learn_says_the_same_with_weights(
    case: tuple[Doubles, Flags], data: st.DataObject
) -> None:
    from sklearn import metrics

    scores, positive = case
    size = len(scores)
    weights = np.array(data.draw(st.lists(st.floats(0.5, 9), min_size=size, max_size=size)))
    steps = Ranking(scores, positive).steps(weights[np.newaxis])
    assert quality.roc_auc(steps)[0] == pytest.approx(
        metrics.roc_auc_score(positive, scores, sample_weight=weights)
    )
    assert quality.average_precision(steps)[0] == pytest.approx(
        metrics.average_precision_score(positive, scores, sample_weight=weights)
    )
