"""Figures of the overview: counts ready to be drawn. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagesieve_server.console.database import Deed
from imagesieve_server.console.words import span
from imagesieve_server.core.review import Item

HOURS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """What waits of one category."""

    title: str
    waiting: int
    overdue: int
    share: float  # of the deepest category, 0 to 100
    overdue_share: float  # the same scale
    oldest: str  # in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """Decisions of one hour."""

    ago: int  # hours; 0 is the last sixty minutes
    count: int
    share: float  # of the busiest hour, 0 to 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What one person did."""

    name: str
    approved: int
    rejected: int
    escalated: int
    skipped: int
    undone: int
    exposures: int  # different items seen unveiled

    @property
    def decided(self) -> int:
        return self.approved + self.rejected + self.escalated


def by_category(
    items: Sequence[Item], *, titles: Mapping[str, str], now: float
) -> tuple[Depth, ...]:
    """The deepest first. Items of policies that audit count as waiting, but neither their
    age nor whether they are overdue is told."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.category].append(item)
    most = max((len(group) for group in groups.values()), default=1)
    depths = [_depth(titles.get(c, c) or "Unsorted", g, most, now) for c, g in groups.items()]
    return tuple(sorted(depths, key=lambda depth: (-depth.waiting, depth.title)))


def _depth(title: str, group: Sequence[Item], most: int, now: float) -> Depth:
    told = [item for item in group if not item.blind]
    overdue = sum(item.due_at < now for item in told)
    oldest = min((item.enqueued_at for item in told), default=None)
    return Depth(
        title=title,
        waiting=len(group),
        overdue=overdue,
        share=round(100 * len(group) / most, 1),
        overdue_share=round(100 * overdue / most, 1),
        oldest="" if oldest is None else span(max(0.0, now - oldest)),
    )


def by_hour(deeds: Sequence[Deed], *, now: float) -> tuple[Hour, ...]:
    """The last 24 hours, the longest ago first."""
    counts = Counter(int((now - deed.at) // 3600) for deed in deeds)
    most = max([counts[ago] for ago in range(HOURS)] + [1])
    return tuple(
        Hour(ago=ago, count=counts[ago], share=round(100 * counts[ago] / most, 1))
        for ago in reversed(range(HOURS))
    )


def shares(deeds: Sequence[Deed], *, exposures: Mapping[str, int]) -> tuple[Person, ...]:
    """Everybody who did or saw something, by name."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for deed in deeds:
        counts[deed.account][deed.what] += 1
    return tuple(
        Person(
            name=name,
            approved=counts[name]["APPROVE"],
            rejected=counts[name]["REJECT"],
            escalated=counts[name]["ESCALATE"],
            skipped=counts[name]["SKIP"],
            undone=counts[name]["UNDO"],
            exposures=exposures.get(name, 0),
        )
        for name in sorted({*counts, *exposures})
    )
