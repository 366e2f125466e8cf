"""Logistic regression for pictures with several views, where the highest view decides.

A server takes the maximum over a picture's views, so that is what is trained (multiple-instance
learning, as MI-SVM: Andrews, Tsochantaridis and Hofmann, NIPS 2002): of a picture that shows the
category at least one view does, so its highest one is an example; of a picture that does not no
view does, so each of its views is one. Which view is the highest depends on the head; the two
are found in turn. Each round lowers the same loss, so it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imagesieve_server.extras import need

Doubles = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

_ROUNDS = 20
_ITERATIONS = 5_000
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bags:
    """N pictures with V views, grouped by picture in order."""

    vectors: Doubles  # [V, D]
    picture_of: Numbers  # [V], 0 … N − 1, rising
    positive: Flags  # [N]

    def __len__(self) -> int:
        return len(self.positive)

    def some(self, chosen: Flags) -> Bags:
        """The pictures where ``chosen`` [N]."""
        views = chosen[self.picture_of]
        number = np.cumsum(chosen) - 1
        return Bags(
            vectors=self.vectors[views],
            picture_of=number[self.picture_of[views]],
            positive=self.positive[chosen],
        )

    @property
    def starts(self) -> Numbers:
        """[N]: each picture's first view."""
        return np.searchsorted(self.picture_of, np.arange(len(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """log-odds = weights · view + bias."""

    weights: Doubles  # [D]
    bias: float

    def of_views(self, bags: Bags) -> Doubles:
        """[V]."""
        return np.asarray(bags.vectors @ self.weights + self.bias, dtype=np.float64)

    def of_pictures(self, bags: Bags) -> Doubles:
        """[N]: the highest of each picture's views."""
        highest = np.maximum.reduceat(self.of_views(bags), bags.starts)
        return np.asarray(highest, dtype=np.float64)


def fit(bags: Bags, *, strength: float) -> Head:
    """The head for pictures of both kinds. ``strength`` is that of the L2 penalty, 1 ÷ C.

    Both kinds weigh the same in sum, however many there are of each. Raises MissingExtra.
    """
    weights = _weights(bags)
    first = np.zeros(len(bags.vectors), dtype=np.bool_)
    first[bags.starts] = True
    chosen = first | ~bags.positive[bags.picture_of]
    regression = _regression(strength)
    head = _fitted(regression, bags, weights, chosen)
    for _ in range(_ROUNDS):
        before, chosen = chosen, _highest(bags, head.of_views(bags))
        if np.array_equal(before, chosen):
            break
        head = _fitted(regression, bags, weights, chosen)
    return head


def _weights(bags: Bags) -> Doubles:
    """[V]: a picture's views weigh as the picture; each kind weighs N/2 in sum over pictures."""
    positives = int(bags.positive.sum())
    of_kind = np.where(bags.positive, positives, len(bags) - positives)
    return np.asarray((len(bags) / 2 / of_kind)[bags.picture_of], dtype=np.float64)


def _highest(bags: Bags, scores: Doubles) -> Flags:
    """[V]: of positive pictures the highest view (the first of equals), of others every view."""
    order = np.lexsort((-scores, bags.picture_of))  # stable: the first of equals stays first
    chosen = ~bags.positive[bags.picture_of]
    chosen[order[bags.starts]] = True
    return np.asarray(chosen, dtype=np.bool_)


def _regression(strength: float) -> Any:
    return need("sklearn.linear_model").LogisticRegression(
        C=1.0 / strength, tol=_TOLERANCE, max_iter=_ITERATIONS, warm_start=True
    )


def _fitted(regression: Any, bags: Bags, weights: Doubles, chosen: Flags) -> Head:
    answers = bags.positive[bags.picture_of[chosen]]
    regression.fit(bags.vectors[chosen], answers, sample_weight=weights[chosen])
    return Head(
        weights=regression.coef_[0].astype(np.float64), bias=float(regression.intercept_[0])
    )


def balanced_loss(log_odds: Doubles, positive: Flags) -> float:
    """Mean logistic loss of pictures [N] of both kinds, each kind counting half."""
    losses = np.logaddexp(0.0, np.where(positive, -log_odds, log_odds))
    return float((losses[positive].mean() + losses[~positive].mean()) / 2)
