"""What leads are told about how well people decide. Frozen values, no protobuf.

Times are aware datetimes in UTC, by the server's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from imagesieve.review_results import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityFigures:
    """Of everything, of a category, or of a reviewer. A figure is None where there is too little
    to go by."""

    name: str = ""  # the category or reviewer; "" for everything, and for no category
    pairs: int = 0  # words of two people on one item, neither knowing of the other's
    agreed: int = 0
    only_first_rejected: int = 0  # of a reviewer: they rejected and the other person approved
    only_second_rejected: int = 0  # and the reverse
    agreement: Estimate | None = None
    kappa: Estimate | None = None  # Cohen's: agreement beyond chance, 1 at best
    golden: int = 0  # golden items answered
    golden_right: int = 0
    golden_passed: int = 0  # escalated instead of answered
    golden_accuracy: Estimate | None = None
    decisions: int = 0  # that took effect
    contested: int = 0  # judged again by somebody else
    overturned: int = 0  # and reversed by them
    overturn_rate: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well people decided from ``since`` up to ``until``."""

    since: datetime | None = None
    until: datetime | None = None
    total: QualityFigures = field(default_factory=QualityFigures)
    categories: tuple[QualityFigures, ...] = ()
    reviewers: tuple[QualityFigures, ...] = ()
    partial: bool = False  # there was more; these are the first words of the span


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """An item whose right answer is known, copies of which are given to reviewers."""

    item_id: str
    sha256: str
    outcome: Outcome  # the right answer
    category: str = ""
    labels: tuple[str, ...] = ()
    note: str = ""
    marked_by: str = ""
    marked_at: datetime | None = None
    given: int = 0  # how often a copy was given to somebody
