"""How many labelled pictures a figure needs before it is worth printing."""

from __future__ import annotations

import math

_Z = 1.959963984540054
"""The standard normal's quantile of .975."""

LEAST_EACH = 10
"""Pictures that show a category, and that do not, below which no measure is given."""


def for_recall(recall: float) -> int:
    """Positives below which no threshold's recall can lie between ``recall`` and 1."""
    return round(1 / (1 - recall))


def for_rate(rate: float) -> int:
    """Negatives below which one false alarm alone is more than ``rate``."""
    return math.ceil(1 / rate - 1e-9)


def for_half_width(half: float, *, share: float = 0.5) -> int:
    """Pictures that a share near ``share`` needs for a 95 % interval of ± ``half``.

    The normal approximation, z² p (1 − p) ÷ half²; p = ½ is the worst case.
    """
    return math.ceil(_Z * _Z * share * (1 - share) / half**2)
