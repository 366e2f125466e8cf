"""Thresholds that keep the reviewers' work within a budget: flagged pictures ÷ uploads ≤ N/M.

Every chosen category gets the same share of the uploads to flag; a picture that several flag is
one review, so the shares together may exceed the budget. One half of the pictures, drawn by seed,
says which log-odds of each category go with which share: the *level* of a log-odds is how many of
that half reach it, with straight lines between them and the excess beyond. The other half says how
far the level may rise: its flags, in any category, are a tolerance limit as in ``promise``, and
exact, because the scale was made without it.

Labels are not needed, but the pictures must be a fair sample of the uploads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core import binomial
from imagesieve_server.core.errors import TooFewLabels
from imagesieve_server.core.scoring import Doubles

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadChoice:
    """Thresholds in log-odds per category, with what they rest on."""

    log_odds: dict[str, float]
    allowed: int  # flags among ``pictures`` that the promise leaves room for
    pictures: int  # the half that was counted


def choose_for_load(
    log_odds: Mapping[str, Doubles],
    *,
    flagged_anyway: Flags,
    share: float,
    delta: float,
    seed: int,
    loosely: bool = False,
) -> LoadChoice:
    """The lowest thresholds with which, with confidence 1 − δ, at most ``share`` of fresh uploads
    is flagged.

    ``log_odds`` holds [N] per category to choose for; ``flagged_anyway`` [N] is what the rest of
    the policy sends to review whatever is chosen. ``loosely``: where the pictures are too few for
    a promise, none of them may be flagged (for the training part of a fold). Raises TooFewLabels.
    """
    total = len(flagged_anyway)
    half = np.random.default_rng(seed).permutation(total) < total // 2
    counted = int(np.sum(~half))
    allowed = binomial.allowed_events(counted, share, delta)
    if loosely:
        allowed = max(0, allowed)
    if allowed < 0:
        raise TooFewLabels(_too_few(total, share, delta))
    scales = {category: _Scale(values[half]) for category, values in log_odds.items()}
    levels = np.full(counted, np.inf)
    for category, values in log_odds.items():
        levels = np.minimum(levels, scales[category].levels(values[~half]))
    levels[flagged_anyway[~half]] = -np.inf
    limit = float(np.sort(levels)[allowed])  # flagged: a level below this one's
    if limit == -math.inf:
        raise TooFewLabels(_no_room(int(flagged_anyway.sum()), total, share))
    spared = levels >= limit
    return LoadChoice(
        log_odds={
            # What is spared stays so whatever the arithmetic of the scale rounds to.
            category: max(scales[category].threshold(limit), _above(values[~half][spared].max()))
            for category, values in log_odds.items()
        },
        allowed=allowed,
        pictures=counted,
    )


class _Scale:
    """One category's way from log-odds to levels and back, both falling."""

    def __init__(self, log_odds: Doubles) -> None:
        self._places, counts = np.unique(log_odds, return_counts=True)
        self._reach = np.cumsum(counts[::-1])[::-1].astype(np.float64)  # how many reach a place

    def levels(self, log_odds: Doubles) -> Doubles:
        """The level of each, [n]."""
        inside = np.interp(log_odds, self._places, self._reach)
        beyond = np.maximum(0.0, log_odds - self._places[-1])
        below = np.maximum(0.0, self._places[0] - log_odds)
        return np.asarray(inside - beyond + below, dtype=np.float64)

    def threshold(self, limit: float) -> float:
        """The log-odds from which on levels lie below ``limit``."""
        inside = float(np.interp(limit, self._reach[::-1], self._places[::-1]))
        beyond = max(0.0, float(self._reach[-1]) - limit)
        below = max(0.0, limit - float(self._reach[0]))
        return _above(inside + beyond - below)


def _above(log_odds: float) -> float:
    return float(np.nextafter(log_odds, math.inf))


def _too_few(found: int, share: float, delta: float) -> str:
    return (
        f"{found} pictures; to promise that at most {share:g} of the uploads are flagged with "
        f"confidence {1 - delta:g} at least {2 * binomial.needed_draws(share, delta)} are needed"
    )


def _no_room(anyway: int, total: int, share: float) -> str:
    return (
        f"{anyway} of {total} pictures go to review whatever these categories say (by other "
        f"categories, or because not everything could be looked at): no room is left within "
        f"{share:g} of the uploads"
    )
