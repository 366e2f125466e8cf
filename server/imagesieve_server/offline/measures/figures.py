"""A measured value and its 95 % interval.

Shares at a fixed threshold (recall, false-positive rate, precision, flagged) are proportions:
theirs is the exact interval of Clopper and Pearson, which is honest for few pictures and for
shares of 0 and 1. Measures of the whole ranking get percentiles of a bootstrap; where the value
is exactly 0 or 1 resampling has nothing to vary, and the exact interval stands in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagesieve_server.core import binomial
from imagesieve_server.offline.measures.ranking import Doubles

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value within its 95 % interval."""

    value: float
    low: float
    high: float

    def apart_from(self, other: Figure) -> bool:
        """Whether the two intervals have no point in common."""
        return self.low > other.high or other.low > self.high


def proportion(hits: int, trials: int, *, confidence: float = CONFIDENCE) -> Figure:
    """``hits`` of ``trials`` > 0 with the exact interval. Raises ValueError for other counts."""
    if not 0 <= hits <= trials or trials < 1:
        raise ValueError(f"{hits} of {trials}")
    share = binomial.interval(hits, trials, confidence=confidence)
    return Figure(value=share.value, low=share.low, high=share.high)


def from_resamples(value: float, samples: Doubles, *, examples: int) -> Figure:
    """``value`` with the percentiles of its bootstrap ``samples`` [B].

    ``examples`` is how many pictures the value hangs on (the scarcer of positives and
    negatives): it gives the interval where the value is exactly 0 or 1.
    """
    if value in (0.0, 1.0):
        return proportion(examples if value else 0, examples)
    low, high = percentiles(samples)
    return Figure(value=value, low=min(low, value), high=max(high, value))


def percentiles(samples: Doubles) -> tuple[float, float]:
    """The middle 95 % of ``samples``."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return float(low), float(high)
