"""Whether probabilities mean what they say: of the pictures given p, a share p should be "yes".

Bins hold equal numbers of pictures (equal-width bins are nearly all empty for a rare category).
The expected calibration error is Σ n_b/N · |mean p − share of yes|. Counted on a sample it is too
large rather than too small: with perfect probabilities it is not 0 but what chance makes of it
(``chance``), so both are reported. Held-out probabilities only: on the pictures of the fit it is
flattered (Roelofs et al., arXiv:2012.08668, compare the estimators).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.binomial import Share, interval
from imagesieve_server.core.scoring import Doubles
from imagesieve_server.offline.calibration.promise import Labels

BINS = 15
_LEAST_P = 1e-12  # a probability of exactly 0 or 1 that was wrong costs 27.6 nats, not infinity


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bin of a reliability diagram."""

    predicted: float  # mean probability
    observed: Share  # share of yes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How well probabilities fit their labels."""

    bins: tuple[Bin, ...]  # for a diagram; see ``_for_diagram``
    ece: float  # expected calibration error, 0 to 1
    chance: float  # what ece would be if every probability were exact
    log_loss: float  # nats
    brier: float  # mean (p − y)²


def reliability(probabilities: Doubles, labels: Labels, *, bins: int = BINS) -> Reliability:
    """Measure N ≥ 1 probabilities [N] against labels [N] of 0 and 1."""
    order = np.argsort(probabilities, kind="stable")
    y = (labels == 1).astype(np.float64)
    error, chance = 0.0, 0.0
    for part in np.array_split(order, min(bins, len(order))):
        p = probabilities[part]
        error += abs(float(p.sum() - y[part].sum())) / len(labels)
        # E|Z| of the normal that the count of yes is nearly distributed by
        spread = math.sqrt(float(np.sum(p * (1.0 - p))))
        chance += math.sqrt(2.0 / math.pi) * spread / len(labels)
    return Reliability(
        bins=_for_diagram(probabilities, y, order, bins),
        ece=error,
        chance=chance,
        log_loss=float(log_losses(probabilities, labels).mean()),
        brier=float(np.mean((probabilities - y) ** 2)),
    )


def _for_diagram(
    probabilities: Doubles, y: Doubles, order: npt.NDArray[np.intp], bins: int
) -> tuple[Bin, ...]:
    """Bins that share out pictures and expected yes alike: of a rare category, bins of equally
    many pictures are nearly all at the same low end."""
    p = probabilities[order]
    weights = 1.0 / len(p) + p / max(float(p.sum()), 1e-300)
    number = np.minimum((np.cumsum(weights) - weights / 2) * bins / weights.sum(), bins - 1)
    found = []
    for k in np.unique(number.astype(int)):
        part = order[number.astype(int) == k]
        yes = interval(int(y[part].sum()), len(part))
        found.append(Bin(predicted=float(probabilities[part].mean()), observed=yes))
    return tuple(found)


def log_losses(probabilities: Doubles, labels: Labels) -> Doubles:
    """−log of the probability given to what was true, [N], nats."""
    right = np.where(labels == 1, probabilities, 1.0 - probabilities)
    return np.asarray(-np.log(np.maximum(right, _LEAST_P)), dtype=np.float64)
