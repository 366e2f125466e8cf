"""A threshold chosen from labelled log-odds so that a goal holds on fresh pictures.

The promise is about pictures drawn as the labelled ones were, and the confidence 1 − δ is over
the draw of the labelled ones. With s₁ ≥ s₂ ≥ … the harmless pictures' log-odds and any threshold
above s₍ₖ₊₁₎, the share of fresh harmless pictures at or above it is at most P(S > s₍ₖ₊₁₎). That
share is no larger than the (k+1)-th smallest of n uniform draws, whatever the distribution and its
ties, so it exceeds A with probability at most P(X ≤ k), X binomial (n, A) (the tolerance limit of
Wilks 1941; the same test as in Learn then Test, arXiv:2110.01052, on one ordered path, where no
correction for many tests is needed). Recall is the mirror image.

Pictures of one group (near-duplicates, one video) are no independent draws: a group counts once,
by its worst picture, and the promise is about groups.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core import binomial
from imagesieve_server.core.errors import TooFewLabels
from imagesieve_server.core.scoring import Doubles

Labels = npt.NDArray[np.int8]
Groups = npt.NDArray[np.intp]


class Goal(enum.StrEnum):
    """What a threshold is chosen for."""

    MAX_FPR = "max-fpr"  # at most this share of harmless pictures is flagged
    MIN_RECALL = "min-recall"  # at least this share of the category's pictures is flagged


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A goal, its rate in (0, 1), and the confidence of its promise in (1/2, 1)."""

    goal: Goal
    rate: float
    confidence: float = 0.95

    @property
    def delta(self) -> float:
        """The probability with which the promise may fail."""
        return 1.0 - self.confidence

    @property
    def tolerated(self) -> float:
        """The share of mistakes that the goal allows: wrong flags, or misses."""
        return self.rate if self.goal is Goal.MAX_FPR else 1.0 - self.rate

    @property
    def counts(self) -> int:
        """The label of the pictures that the goal is about."""
        return 0 if self.goal is Goal.MAX_FPR else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A threshold with what it rests on."""

    log_odds: float  # flag at and above
    allowed: int  # mistakes among the labelled pictures that the promise leaves room for
    pictures: int  # pictures (groups) of the goal's label


def flagged(log_odds: Doubles, threshold: float) -> npt.NDArray[np.bool_]:
    """Which pictures [N] a threshold in log-odds flags. NaN is flagged, as in the server."""
    return np.asarray(~(log_odds < threshold))


def choose(log_odds: Doubles, labels: Labels, aim: Aim, *, groups: Groups | None = None) -> Choice:
    """The threshold that keeps the goal with the least harm to the other side.

    ``log_odds`` and ``labels`` are [N]; −1 (nobody said) counts for neither side. ``groups`` [N]
    numbers the pictures that belong together. Raises TooFewLabels, which names the number needed.
    """
    scores = worst_of_groups(log_odds, labels, aim, groups)
    allowed = binomial.allowed_events(len(scores), aim.tolerated, aim.delta)
    if allowed < 0:
        grouped = len(scores) < int(np.sum(labels == aim.counts))
        raise TooFewLabels(_too_few(len(scores), aim, grouped=grouped))
    return at_allowed(scores, allowed, aim)


def choose_loosely(
    log_odds: Doubles, labels: Labels, aim: Aim, *, groups: Groups | None = None
) -> Choice:
    """As ``choose``, but where too few pictures are left for a promise, no mistake is allowed
    among them. For the training part of a fold, where the whole set has enough."""
    scores = worst_of_groups(log_odds, labels, aim, groups)
    if not len(scores):
        raise TooFewLabels(_too_few(0, aim, grouped=False))
    allowed = binomial.allowed_events(len(scores), aim.tolerated, aim.delta)
    return at_allowed(scores, max(0, allowed), aim)


def worst_of_groups(log_odds: Doubles, labels: Labels, aim: Aim, groups: Groups | None) -> Doubles:
    """The log-odds that the goal is about, one per group: of harmless pictures the highest, of
    the category's own the lowest."""
    about = labels == aim.counts
    scores: Doubles = log_odds[about]
    if groups is None or not len(scores):
        return scores
    sign = 1.0 if aim.goal is Goal.MAX_FPR else -1.0
    ids, place = np.unique(groups[about], return_inverse=True)
    worst = np.full(len(ids), -np.inf)
    np.maximum.at(worst, place, sign * scores)
    return np.asarray(sign * worst, dtype=np.float64)


def at_allowed(scores: Doubles, allowed: int, aim: Aim) -> Choice:
    """The threshold that makes at most ``allowed`` mistakes among ``scores`` [n], allowed < n."""
    ordered = np.sort(scores)
    if aim.goal is Goal.MIN_RECALL:
        threshold = float(ordered[allowed])
    else:
        threshold = float(np.nextafter(ordered[len(ordered) - 1 - allowed], math.inf))
    return Choice(log_odds=threshold, allowed=allowed, pictures=len(scores))


def _too_few(found: int, aim: Aim, *, grouped: bool) -> str:
    needed = binomial.needed_draws(aim.tolerated, aim.delta)
    units = "picture" if found == 1 else "pictures"
    once = " (a group, or copies, count once)" if grouped else ""
    side = "without the category" if aim.goal is Goal.MAX_FPR else "with the category"
    promise = (
        f"a false-positive rate of at most {aim.rate:g}"
        if aim.goal is Goal.MAX_FPR
        else f"a recall of at least {aim.rate:g}"
    )
    return (
        f"{found} {units} labelled as {side}{once}; to promise {promise} with confidence "
        f"{aim.confidence:g} at least {needed} are needed"
    )
