"""From a category's log-odds to a probability: a monotone mapping learned offline.

A probability is for reports. Thresholds never compare with it: they compare with the score or the
log-odds, so a new calibration changes no verdict. Both kinds never fall, so a view that raises
the log-odds never lowers the probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platt:
    """P = σ(slope·x + intercept) (Platt 1999), x the log-odds or the cosine."""

    slope: float  # above 0
    intercept: float

    def probabilities_of(self, log_odds: Doubles) -> Doubles:
        """The probability of each, [N]."""
        return np.asarray(
            np.exp(-np.logaddexp(0.0, -(self.slope * log_odds + self.intercept))), dtype=np.float64
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Isotonic:
    """Straight lines between knots, flat outside; at least two knots."""

    log_odds: tuple[float, ...]  # strictly rising; cosines for method cosine
    probabilities: tuple[float, ...]  # never falling, 0 to 1; one per knot

    def probabilities_of(self, log_odds: Doubles) -> Doubles:
        """The probability of each, [N]."""
        found = np.interp(log_odds, self.log_odds, self.probabilities)
        # Interpolation may round past the knot it comes to: that would be a fall behind it.
        above = np.searchsorted(self.log_odds, log_odds, side="left")
        roof = np.asarray(self.probabilities)[np.minimum(above, len(self.log_odds) - 1)]
        return np.asarray(np.minimum(found, roof), dtype=np.float64)


Calibration = Platt | Isotonic


def probability(calibration: Calibration | None, log_odds: float) -> float | None:
    """The probability of one picture; None without a calibration, NaN of NaN."""
    if calibration is None:
        return None
    if math.isnan(log_odds):
        return math.nan
    return float(calibration.probabilities_of(np.asarray([log_odds], dtype=np.float64))[0])
