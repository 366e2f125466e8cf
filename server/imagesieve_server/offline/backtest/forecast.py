"""Reviews a day, with an interval. A review is an upload that is not allowed.

The kept images are a sample of the uploads to come. Two things make the share uncertain: how
many they are (Wilson's interval, JASA 22, 1927), and that days differ, which is usually more: a
ratio of sums over days has the variance of its days' residuals. With five days or more both are
found and the wider ends are taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.959964
"""The normal deviate of a two-sided 95 % interval."""
MIN_DAYS = 5
"""Fewer days say too little about how days differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of the uploads with its 95 % interval; a difference of shares may be negative."""

    value: float
    low: float
    high: float

    def times(self, uploads: float) -> Share:
        """The same in uploads."""
        return Share(value=self.value * uploads, low=self.low * uploads, high=self.high * uploads)


def share(flagged: Sequence[int], images: Sequence[int]) -> Share:
    """Flagged ÷ images, each counted day by day; at least one image."""
    events, total = sum(flagged), sum(images)
    value = events / total
    spread = Z * math.sqrt(value * (1 - value) / total + (Z / (2 * total)) ** 2)
    middle, shrink = value + Z**2 / (2 * total), 1 + Z**2 / total
    low, high = (middle - spread) / shrink, (middle + spread) / shrink
    by_days = _day_error(flagged, images)
    return Share(
        value=value,
        low=max(0.0, min(low, value, value - by_days)),
        high=min(1.0, max(high, value, value + by_days)),
    )


def difference(gained: Sequence[int], lost: Sequence[int], images: Sequence[int]) -> Share:
    """The share of B minus that of A, on the same images: what only B flags minus what only A
    flags (paired, so that what both flag adds no doubt)."""
    more, less, total = sum(gained), sum(lost), sum(images)
    value = (more - less) / total
    by_images = Z * math.sqrt(max(0.0, (more + less) / total - value**2) / total)
    net = [one - other for one, other in zip(gained, lost, strict=True)]
    half = max(by_images, _day_error(net, images))
    return Share(value=value, low=value - half, high=value + half)


def _day_error(events: Sequence[int], images: Sequence[int]) -> float:
    """Half the interval of a ratio of sums over days (Cochran, Sampling Techniques, §2.11)."""
    days = len(images)
    if days < MIN_DAYS:
        return 0.0
    counts, sizes = np.array(events, dtype=np.float64), np.array(images, dtype=np.float64)
    residuals = counts - counts.sum() / sizes.sum() * sizes
    error = math.sqrt(days / (days - 1) * float((residuals**2).sum())) / float(sizes.sum())
    return _student(days - 1) * error


def _student(freedom: int) -> float:
    """Student's deviate at 97.5 %, by its expansion around the normal one (Abramowitz and
    Stegun 26.7.5); within .01 from four degrees of freedom on."""
    return (
        Z
        + (Z**3 + Z) / (4 * freedom)
        + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)
        + (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / (384 * freedom**3)
    )
