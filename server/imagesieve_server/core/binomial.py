"""Exact binomial bounds. The cumulative probabilities are summed in log space.

X is binomial: n independent draws, each an event with probability p.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.scoring import Doubles

_STEPS = 100
"""The most evaluations for an interval's end."""
_LEAST = 1e-15
"""How near to 0 or 1 an end can be told."""
_CLOSE = 1e-12
"""Relative width at which an end counts as found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share that was counted, with its interval."""

    events: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """events ÷ of; NaN of nothing."""
        return self.events / self.of if self.of else math.nan


def log_cdf(most: int, n: int, p: float) -> Doubles:
    """log P(X ≤ k) for k = 0 … ``most`` < n, [most + 1], with 0 < p < 1.

    By the ratio of neighbouring terms, P(X = i + 1) / P(X = i) = (n − i) p / ((i + 1)(1 − p)).
    """
    i = np.arange(most, dtype=np.float64)
    ratios = np.log((n - i) / (i + 1.0)) + (math.log(p) - math.log1p(-p))
    terms = n * math.log1p(-p) + np.concatenate([[0.0], np.cumsum(ratios)])
    return np.asarray(np.logaddexp.accumulate(terms), dtype=np.float64)


def allowed_events(n: int, rate: float, delta: float) -> int:
    """The most events among n draws that still prove "the rate is at most ``rate``" with
    confidence 1 − δ: the largest k with P(X ≤ k | rate) ≤ δ; −1 where even none proves nothing.

    0 < rate < 1 and 0 < δ < 1/2, so k lies below n·rate.
    """
    if n < 1:
        return -1
    most = min(n - 1, math.ceil(n * rate))
    return int(np.searchsorted(log_cdf(most, n, rate), math.log(delta), side="right")) - 1


def needed_draws(rate: float, delta: float) -> int:
    """The fewest draws that can prove it at all: (1 − rate)ⁿ ≤ δ (299 for 1 % at δ = .05)."""
    n = max(1, math.floor(math.log(delta) / math.log1p(-rate)))
    while allowed_events(n, rate, delta) < 0:
        n += 1
    return n


def interval(events: int, of: int, *, confidence: float = 0.95) -> Share:
    """The share with its exact two-sided interval (Clopper and Pearson 1934).

    The interval of nothing is all of [0, 1].
    """
    tail = (1.0 - confidence) / 2.0
    low, high = 0.0, 1.0
    if events > 0:
        low = 1.0 - _root(
            lambda q: math.exp(_log_at_most(events - 1, of, 1.0 - q)) - (1.0 - tail),
            near=1.0 - events / of,
            step=_step(events, of),
        )
    if events < of:
        high = _root(
            lambda p: math.log(tail) - _log_at_most(events, of, p),
            near=events / of,
            step=_step(events, of),
        )
    return Share(events=events, of=of, low=low, high=high)


def _log_at_most(k: int, n: int, p: float) -> float:
    return min(0.0, float(log_cdf(k, n, p)[k]))


def _step(events: int, of: int) -> float:
    """A first guess of how far an end lies from the share itself."""
    return 2.0 * math.sqrt(events * (of - events) / of) / of + 2.0 / of


def _root(distance: Callable[[float], float], *, near: float, step: float) -> float:
    """Where ``distance``, which rises, is zero on (near, 1): Illinois' false position.

    Ten evaluations or so, where halving takes fifty.
    """
    low, high = max(near, _LEAST), min(near + step, 1.0 - _LEAST)
    at_low, at_high = distance(low), distance(high)
    while at_high < 0.0 and high < 1.0 - _LEAST:
        low, at_low = high, at_high
        step *= 2.0
        high = min(high + step, 1.0 - _LEAST)
        at_high = distance(high)
    if at_low >= 0.0 or at_high <= 0.0:
        return low if at_low >= 0.0 else high
    side = 0
    for _ in range(_STEPS):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        if not low < middle < high:
            middle = (low + high) / 2.0
        at_middle = distance(middle)
        if at_middle == 0.0 or high - low <= _CLOSE * high:
            return middle
        if at_middle > 0.0:
            high, at_high = middle, at_middle
            at_low /= 2.0 if side > 0 else 1.0  # twice on one side: the other end counts less
            side = 1
        else:
            low, at_low = middle, at_middle
            at_high /= 2.0 if side < 0 else 1.0
            side = -1
    return (low + high) / 2.0
