"""Facts about decisions are counted, and the counts become figures with intervals.

Pure. Where there is too little to go by it says so instead of a number: a kappa of twelve pairs
is read as a verdict on a person all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from imagesieve_server.core.agreement import Kappa, Table, kappa
from imagesieve_server.core.binomial import Share, interval
from imagesieve_server.core.quality import Fact, GoldenAnswer, Pair

MIN_PAIRS = 30
"""Pairs below which no kappa is told; its interval holds its level from here on."""
MIN_COUNT = 20
"""Answers or decisions below which no share is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was counted of a category, a reviewer, or everything."""

    table: Table = field(default_factory=Table)  # of a reviewer: their own words are the rows
    golden: int = 0  # answers to golden items
    golden_right: int = 0
    golden_passed: int = 0  # escalated: neither right nor wrong, and not among the answers
    decisions: int = 0  # that took effect
    contested: int = 0
    overturned: int = 0

    def with_answer(self, answer: GoldenAnswer) -> Counts:
        if answer.right is None:
            return replace(self, golden_passed=self.golden_passed + 1)
        return replace(self, golden=self.golden + 1, golden_right=self.golden_right + answer.right)

    def with_decision(self, *, contested: bool, overturned: bool) -> Counts:
        return replace(
            self,
            decisions=self.decisions + 1,
            contested=self.contested + contested,
            overturned=self.overturned + overturned,
        )

    @property
    def agreement(self) -> Share | None:
        """Pairs that agree, with the exact interval (Clopper and Pearson 1934)."""
        return _share(self.table.agreed, self.table.pairs, at_least=MIN_PAIRS)

    @property
    def kappa(self) -> Kappa | None:
        return kappa(self.table) if self.table.pairs >= MIN_PAIRS else None

    @property
    def golden_accuracy(self) -> Share | None:
        """Golden items answered rightly, with the exact interval."""
        return _share(self.golden_right, self.golden, at_least=MIN_COUNT)

    @property
    def overturn_rate(self) -> Share | None:
        """Decisions that somebody else's later one reversed, with the exact interval."""
        return _share(self.overturned, self.decisions, at_least=MIN_COUNT)


def _share(events: int, of: int, *, at_least: int) -> Share | None:
    return interval(events, of) if of >= at_least else None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """How well people decided in a span."""

    since: float  # seconds since the epoch
    until: float
    total: Counts
    categories: Mapping[str, Counts]  # by id; "" is no category
    reviewers: Mapping[str, Counts]
    partial: bool = False  # there were more words than were looked at; these are the first


class QualityTally:
    """Takes facts, gives a report."""

    def __init__(self) -> None:
        self._total = Counts()
        self._categories: dict[str, Counts] = {}
        self._reviewers: dict[str, Counts] = {}

    def add(self, fact: Fact) -> None:
        """Count one fact for all, for its category and for each person of it."""
        if isinstance(fact, Pair):
            self._pair(fact)
        elif isinstance(fact, GoldenAnswer):
            self._total = self._total.with_answer(fact)
            category = self._categories.get(fact.category, Counts())
            self._categories[fact.category] = category.with_answer(fact)
            reviewer = self._reviewers.get(fact.reviewer, Counts())
            self._reviewers[fact.reviewer] = reviewer.with_answer(fact)
        else:
            said = {"contested": fact.contested, "overturned": fact.overturned}
            self._total = self._total.with_decision(**said)
            category = self._categories.get(fact.category, Counts())
            self._categories[fact.category] = category.with_decision(**said)
            for name in fact.reviewers:
                reviewer = self._reviewers.get(name, Counts())
                self._reviewers[name] = reviewer.with_decision(**said)

    def report(self, *, since: float, until: float, partial: bool = False) -> QualityReport:
        """What was counted; by name."""
        return QualityReport(
            since=since,
            until=until,
            total=self._total,
            categories=dict(sorted(self._categories.items())),
            reviewers=dict(sorted(self._reviewers.items())),
            partial=partial,
        )

    def _pair(self, pair: Pair) -> None:
        one = Table().plus(first_rejects=pair.first_rejects, second_rejects=pair.second_rejects)
        self._total = _with_pair(self._total, one)
        category = self._categories.get(pair.category, Counts())
        self._categories[pair.category] = _with_pair(category, one)
        for name, seen in ((pair.first, one), (pair.second, one.turned())):
            self._reviewers[name] = _with_pair(self._reviewers.get(name, Counts()), seen)


def _with_pair(counts: Counts, one: Table) -> Counts:
    old = counts.table
    return replace(
        counts,
        table=Table(
            both_reject=old.both_reject + one.both_reject,
            only_first=old.only_first + one.only_first,
            only_second=old.only_second + one.only_second,
            neither=old.neither + one.neither,
        ),
    )
