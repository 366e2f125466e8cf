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

from imagesieve_server.core.scoring import Doubles
from imagesieve_server.offline.calibration.binomial import Share, interval
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

    bins: tuple[Bin, ...]
    ece: float  # expected calibration error, 0 to 1
    chance: float  # what ece would be if every probability were exact
    log_loss: float  # nats
    brier: float  # mean (p − y)²


def reliability(probabilities: Doubles, labels: Labels, *, bins: int = BINS) -> Reliability:
    """Measure N ≥ 1 probabilities [N] against labels [N] of 0 and 1."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    found, error, chance = [], 0.0, 0.0
    for part in parts:
        p, yes = probabilities[part], int(np.sum(labels[part] == 1))
        predicted = float(p.mean())
        found.append(Bin(predicted=predicted, observed=interval(yes, len(part))))
        weight = len(part) / len(labels)
        error += weight * abs(predicted - yes / len(part))
        # E|Z| of the normal that the count of yes is nearly distributed by
        spread = math.sqrt(float(np.sum(p * (1.0 - p)))) / len(part)
        chance += weight * math.sqrt(2.0 / math.pi) * spread
    y = (labels == 1).astype(np.float64)
    return Reliability(
        bins=tuple(found),
        ece=error,
        chance=chance,
        log_loss=float(log_losses(probabilities, labels).mean()),
        brier=float(np.mean((probabilities - y) ** 2)),
    )


def log_losses(probabilities: Doubles, labels: Labels) -> Doubles:
    """−log of the probability given to what was true, [N], nats."""
    right = np.where(labels == 1, probabilities, 1.0 - probabilities)
    return np.asarray(-np.log(np.maximum(right, _LEAST_P)), dtype=np.float64)
