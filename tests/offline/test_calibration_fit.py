"""Probabilities from log-odds, and whether they mean what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from imagesieve_server.core.calibration import Isotonic, Platt
from imagesieve_server.core.errors import TooFewLabels
from imagesieve_server.core.scoring import sigmoid
from imagesieve_server.offline.calibration.fit import MAX_KNOTS, fit_best, fit_isotonic, fit_platt
from imagesieve_server.offline.calibration.folds import deal
from imagesieve_server.offline.calibration.reliability import log_losses, reliability


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds, labels, and the true probabilities σ(0.5·x − 2) they are drawn from."""
    rng = np.random.default_rng(seed)
    x = 4 * rng.normal(size=n)
    truth = sigmoid(0.5 * x - 2)
    return x, (rng.uniform(size=n) < truth).astype(np.int8), truth


def dealt(labels: np.ndarray) -> np.ndarray:
    return deal(labels, groups=np.arange(len(labels)), folds=5, seed=1)


def test_perfect_probabilities_have_no_error_but_chances() -> None:
    errors, chances = [], []
    for seed in range(200):
        _, labels, truth = drawn(2000, seed)
        found = reliability(truth, labels)
        errors.append(found.ece)
        chances.append(found.chance)
    assert np.mean(errors) == pytest.approx(np.mean(chances), rel=0.05)


def test_an_error_is_seen_at_its_size() -> None:
    """Everything is given .2 more than is true."""
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.1, 0.6, size=50_000)
    labels = (rng.uniform(size=50_000) < truth).astype(np.int8)
    found = reliability(truth + 0.2, labels)
    assert found.ece == pytest.approx(0.2, abs=0.01)
    assert found.chance < 0.01
    assert all(b.predicted - b.observed.value == pytest.approx(0.2, abs=0.04) for b in found.bins)
    assert len(found.bins) == 15
    assert sum(b.observed.of for b in found.bins) == 50_000


def test_a_diagram_shows_both_ends_of_a_rare_category() -> None:
    """Of bins of equally many pictures all but one would lie below a tenth."""
    rng = np.random.default_rng(2)
    p = np.where(rng.uniform(size=10_000) < 0.05, rng.uniform(0.1, 1.0, size=10_000), 0.001)
    found = reliability(p, (rng.uniform(size=10_000) < p).astype(np.int8))
    assert sum(b.predicted > 0.1 for b in found.bins) >= 5
    assert sum(b.predicted < 0.1 for b in found.bins) >= 5
    assert [b.predicted for b in found.bins] == sorted(b.predicted for b in found.bins)


def test_losses_by_hand() -> None:
    p, y = np.array([0.75, 0.25, 1.0]), np.array([1, 1, 0], dtype=np.int8)
    losses = log_losses(p, y)
    assert list(losses[:2]) == pytest.approx([-math.log(0.75), -math.log(0.25)])
    assert math.isfinite(losses[2])
    assert reliability(p, y).brier == pytest.approx((0.25**2 + 0.75**2 + 1) / 3)


def test_fewer_pictures_than_bins_make_fewer_bins() -> None:
    found = reliability(np.array([0.2, 0.9]), np.array([0, 1], dtype=np.int8))
    assert [b.observed.of for b in found.bins] == [1, 1]


@pytest.mark.evaluate
def test_platt_finds_slope_and_intercept() -> None:
    x, labels, _ = drawn(100_000, 3)
    found = fit_platt(x, labels)
    assert found is not None
    assert (found.slope, found.intercept) == (
        pytest.approx(0.5, abs=0.02), pytest.approx(-2, abs=0.06)
    )  # fmt: skip


@pytest.mark.evaluate
def test_platts_targets_keep_a_perfect_category_finite() -> None:
    """Ten far apart on each side: the ends are 11/12 and 1/12, not certainty."""
    x, labels = np.repeat([-5.0, 5.0], 10), np.repeat([0, 1], 10).astype(np.int8)
    found = fit_platt(x, labels)
    assert found is not None
    assert found.probabilities_of(np.array([-5.0, 5.0])) == pytest.approx([1 / 12, 11 / 12], 1e-4)


@pytest.mark.evaluate
def test_cosines_close_together_are_fitted_too() -> None:
    x, labels, truth = drawn(20_000, 4)
    found = fit_platt(0.2 + x / 1000, labels)
    assert found is not None
    assert found.probabilities_of(0.2 + x / 1000) == pytest.approx(truth, abs=0.02)


@pytest.mark.evaluate
def test_isotonic_never_falls_and_stays_short() -> None:
    x, labels, truth = drawn(50_000, 5)
    found = fit_isotonic(x, labels)
    assert found is not None
    assert 2 <= len(found.log_odds) <= MAX_KNOTS
    assert list(found.log_odds) == sorted(set(found.log_odds))
    assert list(found.probabilities) == sorted(found.probabilities)
    assert found.probabilities[0] > 0
    assert found.probabilities[-1] < 1
    assert np.abs(found.probabilities_of(x) - truth).mean() < 0.01


@pytest.mark.evaluate
def test_a_sigmoid_is_kept_where_it_is_the_truth_and_left_where_it_is_not() -> None:
    x, labels, _ = drawn(5000, 6)
    found = fit_best(x, labels, folds=dealt(labels))
    assert found is not None
    assert isinstance(found.calibration, Platt)
    rng = np.random.default_rng(7)
    steps = np.where(x < -3, 0.02, np.where(x < 3, 0.5, 0.55))
    stepped = (rng.uniform(size=5000) < steps).astype(np.int8)
    found = fit_best(x, stepped, folds=dealt(stepped))
    assert found is not None
    assert isinstance(found.calibration, Isotonic)
    assert found.losses["isotonic"] < found.losses["platt"]


@pytest.mark.evaluate
def test_calibration_lowers_the_error_on_fresh_pictures() -> None:
    x, labels, _ = drawn(5000, 8)
    found = fit_best(x, labels, folds=dealt(labels))
    assert found is not None
    fresh, fresh_labels, _ = drawn(20_000, 9)
    before = reliability(sigmoid(fresh), fresh_labels)
    after = reliability(found.calibration.probabilities_of(fresh), fresh_labels)
    assert before.ece > 0.1
    assert after.ece < 0.02
    assert reliability(found.held_out, labels).ece < 0.03


@pytest.mark.evaluate
def test_scores_that_say_nothing_or_the_opposite_are_not_calibrated() -> None:
    x, labels, _ = drawn(2000, 10)
    assert fit_best(-x, labels, folds=dealt(labels)) is None
    assert fit_best(np.zeros(2000), labels, folds=dealt(labels)) is None


@pytest.mark.parametrize(("no", "yes"), [(9, 500), (500, 9), (0, 20), (20, 1)])
def test_too_few_of_a_label_are_refused(no: int, yes: int) -> None:
    labels = np.repeat([0, 1], [no, yes]).astype(np.int8)
    with pytest.raises(TooFewLabels, match="a calibration needs at least 10"):
        fit_best(np.arange(no + yes, dtype=np.float64), labels, folds=dealt(labels))
