"""Agreement, golden items and overturned decisions as bars with their intervals. Pure.

A figure is drawn with its 95 % interval, as precision is; where there is too little to go by, the
words say so and nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagesieve_server.console.quality_pages import line
from imagesieve_server.core.agreement import Kappa
from imagesieve_server.core.binomial import Share
from imagesieve_server.core.quality_report import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityBar:
    """One figure; positions from 0 to 100."""

    title: str
    text: str  # the figure and its interval, or why there is none
    value: float | None  # None: nothing is drawn
    low: float
    high: float


def quality_bars(counts: Counts) -> tuple[QualityBar, ...]:
    """The four figures of the overview."""
    words = line("", counts)
    return (
        _bar("Agreement of two reviewers", words.agreement, counts.agreement),
        _bar("Cohen's kappa, 1 at best", words.kappa, counts.kappa),
        _bar("Golden items right", words.right, counts.golden_accuracy),
        _bar("Overturned", words.overturned, counts.overturn_rate),
    )


def _bar(title: str, text: str, found: Share | Kappa | None) -> QualityBar:
    if found is None:
        return QualityBar(title=title, text=text, value=None, low=0.0, high=0.0)
    return QualityBar(
        title=title,
        text=text,
        value=_at(found.value),
        low=_at(found.low),
        high=_at(found.high),
    )


def _at(value: float) -> float:
    """Kappa may be below zero: less than chance alone gives stands at the left end."""
    return round(100 * min(max(value, 0.0), 1.0), 1)
