"""Precision per category and day, ready to be drawn. Pure.

A day is drawn with its 95 % interval: few flags say little, and that must be seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from imagesieve_server.core.binomial import Share
from imagesieve_server.core.review_figures import JudgedCount, precision, wilson

DAYS: Final = 28
_MOST: Final = 12  # categories that are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One day of one category; percentages from 0 to 100."""

    ago: int  # days
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPlot:
    """One category."""

    title: str
    points: tuple[Point, ...]  # the longest ago first; days without flags have none
    whole: Point  # of all the days together
    flags: int


def precision_plots(
    days: Mapping[int, Sequence[JudgedCount]], *, titles: Mapping[str, str]
) -> tuple[PrecisionPlot, ...]:
    """Of days ago → what was decided then; the categories with most flags first."""
    counts: dict[str, dict[int, Share]] = defaultdict(dict)
    for ago, judged in days.items():
        for category, share in precision(judged).items():
            counts[category][ago] = share
    plots = [_plot(titles.get(id, id), shares) for id, shares in counts.items()]
    return tuple(sorted(plots, key=lambda plot: (-plot.flags, plot.title))[:_MOST])


def _plot(title: str, shares: Mapping[int, Share]) -> PrecisionPlot:
    whole = wilson(
        sum(share.events for share in shares.values()), sum(share.of for share in shares.values())
    )
    return PrecisionPlot(
        title=title,
        points=tuple(_point(ago, shares[ago]) for ago in sorted(shares, reverse=True)),
        whole=_point(0, whole),
        flags=whole.of,
    )


def _point(ago: int, share: Share) -> Point:
    return Point(
        ago=ago,
        value=round(100 * share.value, 1),
        low=round(100 * share.low, 1),
        high=round(100 * share.high, 1),
    )
