"""Bootstrap of measures over pictures (Efron and Tibshirani 1993, percentile intervals).

Pictures are drawn, not views: two tiles of one picture are no two witnesses. Positives and
negatives are drawn apart (stratified): their ratio is what whoever collected the labels chose,
not a finding, and no resample lacks either. Precision and average precision are therefore those
at the ratio of the labelled set.

Variants (two poolings, two policies) are measured on the same resamples, so that a difference
has the interval of paired data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.offline.measures.figures import Figure, from_resamples, percentiles
from imagesieve_server.offline.measures.quality import Measure
from imagesieve_server.offline.measures.ranking import Doubles, Flags, Ranking

_CELLS = 1 << 19  # pictures × resamples that are in memory at once; fits a cache of a few MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How often to draw, and from which seed."""

    count: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measure of one variant: the value, and the same over every resample."""

    value: float
    samples: Doubles  # [B]
    examples: int  # the scarcer of positives and negatives

    def figure(self) -> Figure:
        """The value with its interval."""
        return from_resamples(self.value, self.samples, examples=self.examples)

    def minus(self, other: Measured) -> Figure:
        """The paired difference to another variant measured in the same call."""
        difference = self.value - other.value
        low, high = percentiles(self.samples - other.samples)
        return Figure(value=difference, low=min(low, difference), high=max(high, difference))


def measure(
    variants: Mapping[str, Doubles],
    positive: Flags,
    measures: Mapping[str, Measure],
    resampling: Resampling,
) -> dict[str, dict[str, Measured]]:
    """Variant → measure → value and resamples; ``variants`` are scores [n] of the same pictures.

    Raises ValueError without a positive or a negative.
    """
    if not 0 < positive.sum() < len(positive):
        raise ValueError("a ranking needs positives and negatives")
    rankings = {name: Ranking(scores, positive) for name, scores in variants.items()}
    values = {
        name: {key: float(one(ranking.steps())[0]) for key, one in measures.items()}
        for name, ranking in rankings.items()
    }
    samples: dict[str, dict[str, list[Doubles]]] = {
        name: {key: [] for key in measures} for name in variants
    }
    for weights in resamples(positive, resampling):
        for name, ranking in rankings.items():
            steps = ranking.steps(weights)
            for key, one in measures.items():
                samples[name][key].append(one(steps))
    scarce = int(min(positive.sum(), (~positive).sum()))
    return {
        name: {
            key: Measured(
                value=values[name][key], samples=np.concatenate(samples[name][key]), examples=scarce
            )
            for key in measures
        }
        for name in variants
    }


def resamples(positive: Flags, resampling: Resampling) -> Iterator[npt.NDArray[np.int64]]:
    """How often each of n pictures was drawn, int [b, n] a part, ``count`` rows in all."""
    generator = np.random.default_rng(resampling.seed)
    strata = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    part = max(1, _CELLS // len(positive))
    for start in range(0, resampling.count, part):
        rows = min(part, resampling.count - start)
        weights = np.zeros((rows, len(positive)), dtype=np.int64)
        for stratum in strata:
            if len(stratum):
                weights[:, stratum] = _drawn(generator, rows, len(stratum))
        yield weights


def _drawn(generator: np.random.Generator, rows: int, n: int) -> npt.NDArray[np.int64]:
    """[rows, n]: how often each of n is among n draws with replacement."""
    draws = generator.integers(0, n, (rows, n))
    draws += np.arange(rows)[:, np.newaxis] * n
    return np.bincount(draws.ravel(), minlength=rows * n).reshape(rows, n)
