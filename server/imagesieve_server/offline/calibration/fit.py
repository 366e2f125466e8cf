"""From log-odds to probabilities: Platt's sigmoid and isotonic regression, the better of the two.

Platt (1999): P(yes) = σ(slope·x + intercept) by maximum likelihood with the targets
(N₁ + 1)/(N₁ + 2) and 1/(N₀ + 2) in place of 1 and 0, so that a category that is separated
perfectly does not get an infinite slope. Isotonic regression (Zadrozny and Elkan 2002): the
monotone step function nearest to the labels, with straight lines between the centres of its steps
(Oron and Flournoy 2017): half the knots, and no jumps that the pictures cannot place. Its ends are
held at the same two targets, or one lucky picture would be "certain".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.calibration import Calibration, Isotonic, Platt
from imagesieve_server.core.errors import TooFewLabels
from imagesieve_server.core.scoring import Doubles
from imagesieve_server.extras import need
from imagesieve_server.offline.calibration.promise import Labels
from imagesieve_server.offline.calibration.reliability import log_losses

LEAST = 10
"""Pictures of each label below which nothing is fitted: two numbers from fewer say nothing."""

MAX_KNOTS = 50
"""Knots of an isotonic calibration, so that it stays a few lines that a person can read past."""

_DIGITS = 5  # significant ones of what is written into the policy

Fit = Callable[[Doubles, Labels], Calibration | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The calibration, fitted on all pictures, and what the choice rests on."""

    calibration: Calibration
    held_out: Doubles  # [N]: each picture's probability by the fit without its fold
    losses: dict[str, float]  # mean held-out log loss of each method, nats


def fit_best(log_odds: Doubles, labels: Labels, *, folds: npt.NDArray[np.intp]) -> Fitted | None:
    """Fit both, keep the one with the lower held-out log loss; None where neither rises with the
    log-odds. Isotonic must be better by more than one standard error of the difference: it has
    many more numbers to get wrong.

    ``labels`` [N] are 0 and 1 only. Raises TooFewLabels, or MissingExtra.
    """
    _check_enough(labels)
    platt = _held_out(fit_platt, log_odds, labels, folds)
    isotonic = _held_out(fit_isotonic, log_odds, labels, folds)
    if platt is None or isotonic is None:
        return None
    loss = {"platt": log_losses(platt, labels), "isotonic": log_losses(isotonic, labels)}
    gain = loss["platt"] - loss["isotonic"]
    standard_error = float(gain.std(ddof=1)) / len(gain) ** 0.5
    better = float(gain.mean()) > standard_error
    calibration = (fit_isotonic if better else fit_platt)(log_odds, labels)
    if calibration is None:
        return None
    return Fitted(
        calibration=calibration,
        held_out=isotonic if better else platt,
        losses={name: float(each.mean()) for name, each in loss.items()},
    )


def fit_platt(log_odds: Doubles, labels: Labels) -> Platt | None:
    """Platt's sigmoid; None where it does not rise."""
    targets = np.where(labels == 1, *_ends(labels)[::-1])
    # A target between 0 and 1 is a picture of both labels, each with its weight. The spread is
    # scaled to 1 first: the solver stops by the size of the gradient.
    middle, spread = float(log_odds.mean()), float(log_odds.std()) or 1.0
    x = np.tile((log_odds - middle) / spread, 2)[:, None]
    y = np.repeat([1, 0], len(labels))
    weights = np.concatenate([targets, 1.0 - targets])
    model = need("sklearn.linear_model").LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    model.fit(x, y, sample_weight=weights)
    slope = float(model.coef_[0, 0]) / spread
    intercept = float(model.intercept_[0]) - slope * middle
    return Platt(slope=_short(slope), intercept=_short(intercept)) if slope > 0.0 else None


def fit_isotonic(log_odds: Doubles, labels: Labels) -> Isotonic | None:
    """Isotonic regression; None where it is flat."""
    low, high = _ends(labels)
    model = need("sklearn.isotonic").IsotonicRegression(y_min=low, y_max=high)
    fitted = model.fit_transform(log_odds, labels.astype(np.float64))
    values, place = np.unique(fitted, return_inverse=True)
    centres = np.bincount(place, weights=log_odds) / np.bincount(place)
    knots = _thinned(centres, values)
    if len(knots) < 2:
        return None
    return Isotonic(log_odds=tuple(x for x, _ in knots), probabilities=tuple(p for _, p in knots))


def _thinned(x: Doubles, p: Doubles) -> list[tuple[float, float]]:
    """At most MAX_KNOTS rounded knots, log-odds strictly rising; the first and last stay."""
    if len(x) > MAX_KNOTS:
        chosen = np.unique(np.linspace(0, len(x) - 1, MAX_KNOTS).round().astype(int))
        x, p = x[chosen], p[chosen]
    return list({_short(a): _short(b) for a, b in zip(x, p, strict=True)}.items())


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _ends(labels: Labels) -> tuple[float, float]:
    """Platt's targets for 0 and 1."""
    yes, no = int(np.sum(labels == 1)), int(np.sum(labels == 0))
    return 1.0 / (no + 2.0), (yes + 1.0) / (yes + 2.0)


def _held_out(
    fit: Fit, log_odds: Doubles, labels: Labels, folds: npt.NDArray[np.intp]
) -> Doubles | None:
    probabilities = np.zeros(len(labels))
    for fold in np.unique(folds):
        out = folds == fold
        calibration = fit(log_odds[~out], labels[~out])
        if calibration is None:
            return None
        probabilities[out] = calibration.probabilities_of(log_odds[out])
    return probabilities


def _check_enough(labels: Labels) -> None:
    for label, words in ((1, "with"), (0, "without")):
        found = int(np.sum(labels == label))
        if found < LEAST:
            raise TooFewLabels(
                f"{found} picture{'' if found == 1 else 's'} labelled as {words} the "
                f"category; a calibration needs at least {LEAST}"
            )
