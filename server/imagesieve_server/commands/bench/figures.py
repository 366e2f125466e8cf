"""The arithmetic of a benchmark: rounds in, ratios with their spread and limits out. Pure.

A machine that changes its speed changes both figures of a ratio that are measured one after the
other, so ratios are made round by round and only then summed up. It refuses to know what is
measured and how.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a figure should reach."""

    at_least: float | None = None
    at_most: float | None = None

    def reached(self, value: float) -> bool:
        """Whether ``value`` is within both bounds; NaN is not."""
        least = -math.inf if self.at_least is None else self.at_least
        most = math.inf if self.at_most is None else self.at_most
        return least <= value <= most

    def __str__(self) -> str:
        parts = []
        if self.at_least is not None:
            parts.append(f"≥ {self.at_least:g}")
        if self.at_most is not None:
            parts.append(f"≤ {self.at_most:g}")
        return " and ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One quantity, a value a round."""

    what: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """``over`` ÷ ``under``, round by round."""

    measure: str  # which measure it is of
    title: str
    over: Series
    under: Series  # the limit, the peer, or the unloaded figure
    aim: Aim | None = None
    beside: Mapping[str, float | str] = field(default_factory=dict)  # what else a reader needs

    def __post_init__(self) -> None:
        if not self.over.values or len(self.over.values) != len(self.under.values):
            raise ValueError(f"{self.title}: both quantities need one value for each round")

    @property
    def rounds(self) -> tuple[float, ...]:
        """The ratio of each round; NaN where there is nothing to divide by."""
        pairs = zip(self.over.values, self.under.values, strict=True)
        return tuple(over / under if under else math.nan for over, under in pairs)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """Least and greatest of the rounds."""
        return min(self.rounds), max(self.rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A quantity that is compared with nothing: seconds to ready, bytes installed."""

    measure: str
    title: str
    of: Series
    aim: Aim | None = None
    beside: Mapping[str, float | str] = field(default_factory=dict)


Figure = Ratio | Amount


def limit(*, encoder: float, decoder: float, shared: bool) -> float:
    """The most views per second that encoder and decoder allow, from each one's own rate.

    ``shared``: both use the same cores, so that their times add up; else the slower one decides.
    Raises ValueError where a rate is not positive.
    """
    if encoder <= 0 or decoder <= 0:
        raise ValueError("rates are positive")
    return 1 / (1 / encoder + 1 / decoder) if shared else min(encoder, decoder)


def without_callers(rate: float, *, callers_cpu_s: float, wall_s: float, cores: int) -> float:
    """``rate`` as it were had the callers not used ``callers_cpu_s`` of the same cores.

    It assumes that the cores were busy all the time, as under full load. Raises ValueError where
    the callers used all there was.
    """
    left = 1 - callers_cpu_s / (wall_s * cores)
    if left <= 0:
        raise ValueError("the callers used every core all the time")
    return rate / left


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed: nearest rank, never interpolated.

    A p99 of fewer than a hundred values is therefore their maximum. Raises ValueError for no
    values or a share outside (0, 1].
    """
    if not values or not 0 < share <= 1:
        raise ValueError("a percentile needs values and a share in (0, 1]")
    return sorted(values)[math.ceil(share * len(values)) - 1]
