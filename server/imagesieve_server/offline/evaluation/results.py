"""What an evaluation finds: plain values, the same for every form of report.

Shares are 0 to 1. A figure that cannot be given is None, and ``lacking`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Category, Policy, Threshold
from imagesieve_server.core.verdict import Verdict
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.measures.ranking import Doubles, Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class AtThreshold:
    """What one of the present thresholds does, each view judged by its own kind's."""

    name: str  # review_at | block_at
    threshold: Threshold | None  # the still's; None where only another kind of view has one
    hits: int  # shows it, flagged
    misses: int  # shows it, not flagged
    false_alarms: int  # does not show it, flagged
    passed: int  # does not show it, not flagged
    recall: Figure | None  # hits ÷ all that show it
    false_positive_rate: Figure | None  # false alarms ÷ all that do not
    precision: Figure | None  # hits ÷ all that are flagged; None where nothing is


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A picture that people and the policy see differently."""

    number: int  # of the picture in the labelled set
    view: int  # the view that decided, in the labelled set
    file: str
    log_odds: float
    margin: float  # distance past the threshold; −inf where there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryResult:
    """One category."""

    category: Category
    positives: int  # pictures that show it
    negatives: int  # pictures that do not
    unsaid: int  # pictures nobody said it of
    statement: str  # why there are no figures, and what would be needed; "" where there are
    figures: Mapping[str, Figure | None]  # measure → value; keys as in MEASURES
    lacking: Mapping[str, str]  # measure → what it would need
    at: tuple[AtThreshold, ...]
    false_alarms: tuple[Mistake, ...]  # the most confident first
    misses: tuple[Mistake, ...]
    log_odds: Doubles  # [positives + negatives], of the pictures somebody spoke of
    positive: Flags  # the same pictures: whether they show it


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictResult:
    """What would happen to the pictures as a whole."""

    counts: Mapping[Verdict, int]
    flagged: Figure  # REVIEW or BLOCK ÷ all
    flagged_showing: Figure | None  # of those that show something the policy enforces
    flagged_clean: Figure | None  # of those known to show none of what it enforces
    observed_only: Figure  # allowed, though a category in mode observe would flag it


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A slice against all other pictures."""

    difference: float  # slice − rest
    p: float  # after Holm's correction over every test of the report
    flagged: bool  # p below the report's level


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow:
    """One value of one column, for one category, at its present review threshold."""

    value: str
    positives: int
    negatives: int
    recall: Figure | None
    false_positive_rate: Figure | None
    recall_gap: Gap | None
    false_positive_gap: Gap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTable:
    """One column, one category."""

    column: str
    category: str
    rows: tuple[SliceRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """Every slice, and how many tests the gaps are corrected for."""

    tables: tuple[SliceTable, ...]
    tests: int
    level: float
    notes: tuple[str, ...]  # columns left out or shortened

    def gaps(self) -> int:
        """How many are flagged."""
        return sum(
            gap is not None and gap.flagged
            for table in self.tables
            for row in table.rows
            for gap in (row.recall_gap, row.false_positive_gap)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One measure of two variants on the same pictures."""

    first: float
    second: float
    difference: Figure  # first − second, with the interval of paired data


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One category."""

    category: str
    pictures: int
    measures: Mapping[str, Compared]
    note: str  # for example which prompt was the best single one; or why there are no figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One choice that a policy makes."""

    id: str
    question: str  # in plain words
    first: str  # a name of the first variant
    second: str
    method: str  # how it was done, for who wants to know
    rows: tuple[ComparisonRow, ...]
    mean: Mapping[str, Compared]  # over the categories that have the measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All of it."""

    policy: Policy
    model: str  # the bundle's name
    labelled: LabelledSet
    logits: Mapping[str, Doubles]  # category id → [V]
    bands: Mapping[str, npt.NDArray[np.int8]]  # category id → [N]
    verdicts: VerdictResult
    categories: tuple[CategoryResult, ...]
    slices: Slices
    comparisons: tuple[Comparison, ...]
    resamples: int
    seed: int
    notes: tuple[str, ...]
