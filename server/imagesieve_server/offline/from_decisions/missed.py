"""How many violating uploads were allowed, from the samples that a person looked at.

Each picture i of a band is drawn with the band's probability p, independently of the others
(Poisson sampling), and stands for m_i uploads. With y_i whether it violates, the estimate is that
of Horvitz and Thompson (JASA 47, 1952),

    M̂ = Σ m_i y_i / π_i,    v̂ = Σ (m_i / π_i)² (1 − π_i) y_i,

which is unbiased whatever the bands are worth; π is p times the share of the band's drawn
pictures that were decided, so samples that wait or were lost are taken to be like those decided
in their band (missing at random). Hájek's ratio, which divides by the estimated number of uploads
instead, gains where that number varies with the estimate; violations among allowed uploads are
rare, so it would gain little, and it needs counts that are best effort.

The interval is that of Fay and Feuer for weighted sums of Poisson counts (Statistics in
Medicine 16, 1997): a gamma distribution with the estimate's mean and variance, whose upper end
adds one event of the largest weight. It is exact for one band, holds its level for few events,
and none among n drawn gives the exact bound, never certainty. Counts of Poisson sampling vary
less than Poisson counts; 1 − π in v̂ and −1/log(1 − π) as the added event's weight say so, down
to no interval at all where everything was looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.scoring import Doubles
from imagesieve_server.offline.from_decisions import gamma
from imagesieve_server.offline.measures.figures import Figure

TAIL = 0.025
_NONE_SEEN = -math.log(TAIL)
"""The Poisson mean under which none is seen once in forty times: 3.69."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Allowed pictures that were drawn at one rate."""

    name: str
    probability: float  # p
    allowed: int  # uploads, drawn or not; 0 where nothing counted them
    uploads: Doubles  # m of each decided sample [n]
    violating: npt.NDArray[np.bool_]  # y [n]
    missing: int = 0  # pictures drawn that were lost or not decided

    @property
    def reached(self) -> float:
        """π: the probability of a picture to be drawn and decided."""
        drawn = len(self.uploads) + self.missing
        return self.probability * (len(self.uploads) / drawn if drawn else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """The estimate with what its interval is made of."""

    total: float  # M̂, uploads
    variance: float  # v̂
    one_more: float  # the weight of an event that was not seen
    most: float  # uploads that were not looked at: M cannot be more than found and these
    found: int  # violating samples

    def figure(self, *, times: float = 1.0) -> Figure:
        """With its 95 % interval, as it would be with ``times`` as many samples."""
        variance, one_more = self.variance / times, self.one_more / times
        low = _gamma(TAIL, self.total, variance)
        high = _gamma(1.0 - TAIL, self.total + one_more, variance + one_more**2)
        return Figure(value=self.total, low=low, high=max(self.total, min(high, self.most)))


def estimate(bands: Sequence[Band]) -> Missed:
    """Add up the bands."""
    total = variance = found_uploads = 0.0
    found = 0
    for band in bands:
        reached = band.reached
        hit = band.uploads[band.violating]
        found += len(hit)
        found_uploads += float(hit.sum())
        if len(hit):
            total += float(hit.sum()) / reached
            variance += float((hit**2).sum()) / reached**2 * (1.0 - reached)
    unseen = [band.allowed - float(band.uploads.sum()) for band in bands]
    counted = bool(bands) and all(band.allowed for band in bands)
    return Missed(
        total=total,
        variance=variance,
        one_more=max((_one_more(band) for band in bands), default=math.inf),
        most=found_uploads + sum(max(0.0, rest) for rest in unseen) if counted else math.inf,
        found=found,
    )


def _one_more(band: Band) -> float:
    """The weight of one event in the band, and no more than makes all of it when none was seen.

    A picture that was not seen stands for as many uploads as the band's pictures have on
    average. Where violating ones were found it is as many as the picture of an average *upload*
    has, which is more: the sum is then ruled by the few that are uploaded most.
    """
    reached = band.reached
    if reached >= 1.0:
        return 0.0
    if band.violating.any():
        size = float((band.uploads**2).sum() / band.uploads.sum())
    else:
        size = float(band.uploads.mean()) if len(band.uploads) else 1.0
    weight = size / -math.log1p(-reached) if reached > 0.0 else math.inf
    rest = band.allowed - float(band.uploads.sum())
    return min(weight, max(0.0, rest) / _NONE_SEEN) if band.allowed else weight


def _gamma(probability: float, mean: float, variance: float) -> float:
    """The quantile of the gamma distribution of that mean and variance."""
    if mean <= 0.0 or variance <= 0.0 or math.isinf(mean):
        return mean
    return variance / mean * gamma.quantile(probability, mean * mean / variance)
