"""Figures of the overview: counts ready to be drawn. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagesieve_server.console.database import Deed
from imagesieve_server.console.exposure import Limits
from imagesieve_server.console.words import span
from imagesieve_server.core.review import Outcome
from imagesieve_server.core.review_figures import DecidedCount, TakenCount, Waiting, WaitingCount

HOURS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """What waits of one category."""

    title: str
    waiting: int
    overdue: int
    due_soon: int  # within the hour
    share: float  # of the deepest category, 0 to 100
    overdue_share: float  # the same scale, as is the next
    due_soon_share: float
    oldest: str  # in words; "" where it may not be told


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """Decisions of one hour."""

    ago: int  # hours; 0 is the last sixty minutes
    count: int
    share: float  # of the busiest hour, 0 to 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What one person did, and what it took."""

    name: str
    approved: int
    rejected: int
    escalated: int
    skipped: int  # in this console, as are the next two
    undone: int
    unveiled: int  # different items
    taken: tuple[int, int, int]  # different items in hand: milder ones, severe, urgent
    shares: tuple[float, float, float]  # the same, of the person who took most, 0 to 100
    limited: bool  # no more severe or urgent ones come to them today

    @property
    def decided(self) -> int:
        return self.approved + self.rejected + self.escalated


def by_category(waiting: Waiting, *, titles: Mapping[str, str]) -> tuple[Depth, ...]:
    """The deepest first. Blind items count as waiting, but neither their age nor whether they
    are overdue is told."""
    most = max((count.items for count in waiting.counts), default=1)
    depths = [_depth(count, titles, most, waiting.now) for count in waiting.counts]
    return tuple(sorted(depths, key=lambda depth: (-depth.waiting, depth.title)))


def _depth(count: WaitingCount, titles: Mapping[str, str], most: int, now: float) -> Depth:
    oldest = count.oldest_at
    return Depth(
        title=titles.get(count.category, count.category) or "Unsorted",
        waiting=count.items,
        overdue=count.overdue,
        due_soon=count.due_soon,
        share=round(100 * count.items / most, 1),
        overdue_share=round(100 * count.overdue / most, 1),
        due_soon_share=round(100 * count.due_soon / most, 1),
        oldest="" if oldest is None else span(max(0.0, now - oldest)),
    )


def by_hour(decided: Sequence[DecidedCount]) -> tuple[Hour, ...]:
    """The last 24 hours, the longest ago first; hour 0 of the counts is the longest ago."""
    counts: Counter[int] = Counter()
    for count in decided:
        counts[HOURS - 1 - count.hour] += count.decisions
    most = max([counts[ago] for ago in range(HOURS)] + [1])
    return tuple(
        Hour(ago=ago, count=counts[ago], share=round(100 * counts[ago] / most, 1))
        for ago in reversed(range(HOURS))
    )


def people(
    *,
    decided: Sequence[DecidedCount],
    deeds: Sequence[Deed],
    unveiled: Mapping[str, int],
    taken: Sequence[TakenCount],
    limits: Limits,
) -> tuple[Person, ...]:
    """Everybody who did or saw something, by name."""
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for count in decided:
        said[count.reviewer][count.outcome] += count.decisions
    for deed in deeds:
        if deed.what in ("SKIP", "UNDO"):
            said[deed.account][deed.what] += 1
    hands: dict[str, list[TakenCount]] = defaultdict(list)
    for one in taken:
        hands[one.reviewer].append(one)
    most = max((sum(one.items for one in ones) for ones in hands.values()), default=1)
    return tuple(
        _person(name, said[name], unveiled.get(name, 0), hands[name], most, limits)
        for name in sorted({*said, *unveiled, *hands})
    )


def _person(
    name: str,
    said: Counter[str],
    unveiled: int,
    taken: Sequence[TakenCount],
    most: int,
    limits: Limits,
) -> Person:
    urgent = sum(one.items for one in taken if one.severity >= 4)
    severe = sum(one.items for one in taken if one.severity == 3)
    milder = sum(one.items for one in taken) - severe - urgent
    return Person(
        name=name,
        approved=said[Outcome.APPROVE],
        rejected=said[Outcome.REJECT],
        escalated=said[Outcome.ESCALATE],
        skipped=said["SKIP"],
        undone=said["UNDO"],
        unveiled=unveiled,
        taken=(milder, severe, urgent),
        shares=(
            round(100 * milder / most, 1),
            round(100 * severe / most, 1),
            round(100 * urgent / most, 1),
        ),
        limited=limits.highest(taken) < 4,
    )
