"""Quantiles of the gamma distribution, in the standard library alone.

P(a, x), the regularised lower incomplete gamma function, by its series below a + 1 and by its
continued fraction above (DLMF 8.7.1 and 8.9.2, the latter evaluated by Lentz's method).
"""

from __future__ import annotations

import math
from statistics import NormalDist

_MANY = 1e4
"""Shapes from here on use Wilson and Hilferty's cube (PNAS 17, 1931): its error there is below
1e-6 of the quantile."""


def quantile(probability: float, shape: float) -> float:
    """x with P(``shape``, x) = ``probability``, unit scale; ``shape`` > 0."""
    if probability <= 0.0:
        return 0.0
    if shape > _MANY:
        z = NormalDist().inv_cdf(probability)
        return shape * float(1.0 - 1.0 / (9.0 * shape) + z / (3.0 * math.sqrt(shape))) ** 3
    low, high = 0.0, max(1.0, shape)
    while cumulative(high, shape) < probability:
        high *= 2.0
    for _ in range(200):
        middle = (low + high) / 2.0
        if not low < middle < high:
            break
        low, high = (middle, high) if cumulative(middle, shape) < probability else (low, middle)
    return high


def cumulative(x: float, shape: float) -> float:
    """P(``shape``, ``x``)."""
    if x <= 0.0:
        return 0.0
    scale = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1.0:
        return scale * _series(x, shape)
    return 1.0 - scale * _fraction(x, shape)


def _series(x: float, shape: float) -> float:
    term = total = 1.0 / shape
    n = shape
    while term > total * 1e-17:
        n += 1.0
        term *= x / n
        total += term
    return total


def _fraction(x: float, shape: float) -> float:
    b = x + 1.0 - shape
    c, d = 1e300, 1.0 / b
    value = d
    for i in range(1, 100_000):
        a = -i * (i - shape)
        b += 2.0
        d = 1.0 / (a * d + b)
        c = b + a / c
        value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value
