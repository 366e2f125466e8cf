"""What a calibration found, as plain values: for the terminal, for JSON and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagesieve_server.core.binomial import Share
from imagesieve_server.core.policy import Category, Threshold
from imagesieve_server.core.views import ViewKind
from imagesieve_server.offline.calibration.fit import Fitted
from imagesieve_server.offline.calibration.held_out import Measured
from imagesieve_server.offline.calibration.promise import Aim
from imagesieve_server.offline.calibration.reliability import Reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most this share of the uploads is flagged, with this confidence."""

    reviews_per_day: float
    uploads_per_day: float
    confidence: float = 0.95

    @property
    def share(self) -> float:
        """Flagged uploads ÷ uploads."""
        return self.reviews_per_day / self.uploads_per_day

    @property
    def delta(self) -> float:
        """The probability with which the promise may fail."""
        return 1.0 - self.confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOutcome:
    """One kind of picture, held out: by one threshold for all views, and by one per kind."""

    kind: ViewKind
    shared: Measured
    separate: Measured | None  # None where it was not asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A category's probabilities, or why there are none."""

    fitted: Fitted | None = None
    why_not: str = ""
    before: Reliability | None = None  # as the policy is now; None for a bare cosine
    after: Reliability | None = None  # held out


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryOutcome:
    """One category: its new threshold and what it does."""

    category: Category
    yes: int
    no: int
    unsaid: int
    log_odds: float  # the threshold before rounding
    review_at: Threshold
    allowed: int  # mistakes (or flags) among ``pictures`` that the promise leaves room for
    pictures: int  # pictures, or groups, that the promise rests on
    now: Measured  # the policy as it is, on all labelled pictures
    held_out: Measured
    calibrated: Calibrated
    views: Mapping[ViewKind, Threshold] = field(default_factory=dict)
    kinds: tuple[KindOutcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The whole of it."""

    goal: Aim | Budget
    categories: tuple[CategoryOutcome, ...]
    folds: int
    seed: int
    flagged_now: Share  # of all pictures, by any acting category, as the policy is
    flagged_held_out: Share  # the same with the new thresholds
    notes: tuple[str, ...] = ()
