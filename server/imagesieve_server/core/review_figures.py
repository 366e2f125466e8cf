"""Figures about the review queue that leads look at: counts as values, and what they come to.

Times are seconds since the epoch by the store's clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from imagesieve_server.core.binomial import Share
from imagesieve_server.core.review import Outcome

WAITING_LOOK_AT: Final = 20_000
"""Waiting items, the oldest, that are counted by category."""
JUDGED_LOOK_AT: Final = 2_000
"""Decisions of one span of time, the last, that precision is counted of."""
DUE_SOON_S: Final = 3600.0
_Z: Final = 1.959963984540054  # of the normal distribution, two-sided 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingCount:
    """READY items of one category."""

    category: str  # "": of none
    items: int
    told: int  # of them, those whose times may be told: all but blind ones
    overdue: int  # of those told, as is the rest
    due_soon: int  # within DUE_SOON_S
    oldest_at: float | None  # since when the one waits that waits longest


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits, by category."""

    counts: tuple[WaitingCount, ...]
    partial: bool  # only the WAITING_LOOK_AT that arrived first were counted
    now: float  # the store's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedCount:
    """What people said within an hour, whatever came of it: second words and escalations, too."""

    hour: int = 0  # of the span that was asked for
    reviewer: str
    outcome: Outcome
    decisions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCount:
    """Flagged items with one decision in effect, which a person made on the item itself."""

    category: str  # that the filter named
    outcome: Outcome  # APPROVE or REJECT
    labels: tuple[str, ...]
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The flags that were decided in a span of time."""

    counts: tuple[JudgedCount, ...]
    partial: bool  # only the last JUDGED_LOOK_AT decisions were looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenCount:
    """Different items that one reviewer took in hand."""

    reviewer: str
    severity: int  # 1 to 4
    items: int


def wilson(events: int, of: int) -> Share:
    """A share with its 95 % score interval (E. B. Wilson, JASA 22, 1927); (0, 1) of nothing.
    For plots: exact ones of as many points take long."""
    if not of:
        return Share(events=0, of=0, low=0.0, high=1.0)
    p, z2 = events / of, _Z * _Z
    middle = (p + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z / (1 + z2 / of) * math.sqrt(p * (1 - p) / of + z2 / (4 * of * of))
    return Share(events=events, of=of, low=max(0.0, middle - half), high=min(1.0, middle + half))


def precision(counts: Iterable[JudgedCount]) -> Mapping[str, Share]:
    """By category, the share of its flags that people confirmed: rejected, with its label or
    with none. Rejected for something else does not confirm it."""
    events: dict[str, int] = {}
    of: dict[str, int] = {}
    for count in counts:
        confirmed = count.outcome is Outcome.REJECT and (
            not count.labels or count.category in count.labels
        )
        of[count.category] = of.get(count.category, 0) + count.items
        events[count.category] = events.get(count.category, 0) + confirmed * count.items
    return {category: wilson(events[category], of[category]) for category in of}
