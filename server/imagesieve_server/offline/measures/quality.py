"""Measures of a ranking, each over B weightings at once: Steps in, float64 [B] out.

All need some positives and some negatives. Definitions are those that scikit-learn uses, so
that figures can be compared with other tools' (``precision_at_recall`` and ``recall_at_fpr``
take the best step that keeps the promise).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imagesieve_server.offline.measures.ranking import Doubles, Steps

Measure = Callable[[Steps], Doubles]

_ROUNDING = 1e-9  # of a count: weights are whole numbers or sums of a few


def auc(positive: Doubles, negative: Doubles) -> float:
    """The chance that a positive scores above a negative; ties count half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    at_most = np.searchsorted(ordered, positive, side="right")
    return float((below + at_most).mean() / 2 / len(negative))


def roc_auc(steps: Steps) -> Doubles:
    """Area under recall over false-positive rate, by trapezoids: the same chance as ``auc``."""
    before = np.zeros_like(steps.positives)
    mean = (steps.true + np.concatenate([before, steps.true[:, :-1]], axis=1)) / 2
    gained = np.diff(steps.false, axis=1, prepend=0.0)
    area = (gained * mean).sum(axis=1)
    return np.asarray(area / (steps.positives * steps.negatives)[:, 0], dtype=np.float64)


def average_precision(steps: Steps) -> Doubles:
    """Precision averaged over the recall gained at each step (no interpolation)."""
    gained = np.diff(steps.true, axis=1, prepend=0.0)
    return np.asarray(
        (gained * precision(steps)).sum(axis=1) / steps.positives[:, 0], dtype=np.float64
    )


def precision_at_recall(recall: float) -> Measure:
    """The best precision of all thresholds whose recall is at least ``recall``."""

    def measure(steps: Steps) -> Doubles:
        enough = steps.true >= recall * steps.positives - _ROUNDING
        return np.asarray(np.where(enough, precision(steps), 0.0).max(axis=1), dtype=np.float64)

    return measure


def recall_at_fpr(rate: float) -> Measure:
    """The best recall of all thresholds whose false-positive rate is at most ``rate``."""

    def measure(steps: Steps) -> Doubles:
        few = steps.false <= rate * steps.negatives + _ROUNDING
        best = np.where(few, steps.true, 0.0).max(axis=1)
        return np.asarray(best / steps.positives[:, 0], dtype=np.float64)

    return measure


def fpr_at_recall(recall: float) -> Measure:
    """The lowest false-positive rate of all thresholds whose recall is at least ``recall``."""

    def measure(steps: Steps) -> Doubles:
        enough = steps.true >= recall * steps.positives - _ROUNDING
        least = np.where(enough, steps.false, np.inf).min(axis=1)
        return np.asarray(least / steps.negatives[:, 0], dtype=np.float64)

    return measure


def precision(steps: Steps) -> Doubles:
    """[B, G]: share of positives among what is at or above each step; 0 where that is nothing."""
    flagged = steps.true + steps.false
    return np.divide(steps.true, flagged, out=np.zeros_like(flagged), where=flagged > 0)
