"""A calibration's outcome as text for the terminal and as JSON."""

from __future__ import annotations

import math
from typing import Any

from imagesieve_server.core.binomial import Share
from imagesieve_server.core.calibration import Isotonic, Platt
from imagesieve_server.core.policy import Threshold
from imagesieve_server.offline.calibration.held_out import Measured
from imagesieve_server.offline.calibration.outcome import (
    Budget,
    Calibrated,
    CategoryOutcome,
    Outcome,
)
from imagesieve_server.offline.calibration.promise import Aim, Goal
from imagesieve_server.offline.calibration.reliability import Reliability
from imagesieve_server.offline.calibration.view_kinds import PICTURES
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.policy_text.written import threshold_text
from imagesieve_server.offline.report import numbers


def goal_text(goal: Aim | Budget) -> str:
    """The promise in words."""
    sure = f"with confidence {goal.confidence:g}"
    if isinstance(goal, Budget):
        return (
            f"at most {goal.reviews_per_day:g} reviews a day of {goal.uploads_per_day:g} uploads "
            f"({_asked(goal.share)}), {sure}"
        )
    if goal.goal is Goal.MAX_FPR:
        return f"a false-positive rate of at most {_asked(goal.rate)} per category, {sure}"
    return f"a recall of at least {_asked(goal.rate)} per category, {sure}"


def lines(outcome: Outcome) -> list[str]:
    """The report, line by line."""
    found = [goal_text(outcome.goal), ""]
    for one in outcome.categories:
        found += [*category_lines(one, outcome.goal), ""]
    found.append(f"flagged by any acting category now   {share_text(outcome.flagged_now)}")
    found.append(f"                          held out   {share_text(outcome.flagged_held_out)}")
    found += [f"note: {note}" for note in outcome.notes]
    found.append(
        f"Held out: each of {outcome.folds} parts of the pictures was judged by what the others "
        f"chose (seed {outcome.seed}); intervals are exact, 95 %."
    )
    return found


def category_lines(one: CategoryOutcome, goal: Aim | Budget) -> list[str]:
    """One category."""
    unsaid = f", {one.unsaid} not said" if one.unsaid else ""
    yes = f"{one.yes} picture{'' if one.yes == 1 else 's'}"
    found = [f"{one.category.id}: {yes} with it, {one.no} without{unsaid}"]
    old = one.category.thresholds.review_at
    width = max(len(_limit(old)), len(_limit(one.review_at)))
    found.append(f"  now       {_limit(old).ljust(width)}  {_measured(one.now)}")
    found.append(f"  held out  {_limit(one.review_at).ljust(width)}  {_measured(one.held_out)}")
    for kind, limit in one.views.items():
        found.append(f"            {_limit(limit)} for views of kind {kind.value}")
    if len(one.kinds) > 1:
        for kind_outcome in one.kinds:
            name = PICTURES[kind_outcome.kind]
            shared = _short(kind_outcome.shared)
            if kind_outcome.separate is None:
                found.append(f"  {name}: {shared}")
            else:
                own = _short(kind_outcome.separate)
                found.append(f"  {name}: one threshold for all {shared}; one per kind {own}")
    if isinstance(goal, Aim):
        found.append(f"  rests on {rests_on(one, goal)}")
    found.append(f"  probability: {probability_text(one.calibrated)}")
    return found


def rests_on(one: CategoryOutcome, goal: Aim | Budget) -> str:
    """What the promise allowed."""
    if isinstance(goal, Budget):
        return f"{_some(one.allowed, 'flagged picture')} allowed among {one.pictures}"
    if goal.goal is Goal.MAX_FPR:
        return (
            f"{_some(one.allowed, 'wrong flag')} allowed among {one.pictures} pictures without it"
        )
    return f"{_some(one.allowed, 'miss', 'misses')} allowed among {one.pictures} pictures with it"


def _some(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def probability_text(calibrated: Calibrated) -> str:
    """The calibration chosen and how true it is."""
    if calibrated.fitted is None or calibrated.after is None:
        return f"none ({calibrated.why_not})"
    before = f"{calibrated.before.ece:.3f} before, " if calibrated.before else ""
    return (
        f"{method_name(calibrated)}, calibration error {before}{calibrated.after.ece:.3f} held out "
        f"({calibrated.after.chance:.3f} by chance alone)"
    )


def method_name(calibrated: Calibrated) -> str:
    """platt or isotonic; "" without a calibration."""
    if calibrated.fitted is None:
        return ""
    return "platt" if isinstance(calibrated.fitted.calibration, Platt) else "isotonic"


def _asked(rate: float) -> str:
    """A goal's rate as it was given: 0.01 → 1 %."""
    return f"{100 * rate:.6g}{numbers.THIN}%"


def percent(value: float) -> str:
    """A share as a percentage, written as the evaluation writes it."""
    return "–" if math.isnan(value) else numbers.percent(value)


def share_text(share: Share) -> str:
    """A share with its interval."""
    if not share.of:
        return "–"
    figure = Figure(value=share.value, low=share.low, high=share.high)
    return numbers.with_interval(figure, share=True)


def _measured(measured: Measured) -> str:
    return (
        f"recall {share_text(measured.recall)}, false positives {share_text(measured.fpr)}, "
        f"precision {share_text(measured.precision)}"
    )


def _short(measured: Measured) -> str:
    return f"recall {percent(measured.recall.value)}, false positives {percent(measured.fpr.value)}"


def _limit(threshold: Threshold | None) -> str:
    return f"review_at {'none' if threshold is None else threshold_text(threshold)}"


# --- JSON -----------------------------------------------------------------------------------------


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Plain values; what is not known is null."""
    goal = outcome.goal
    asked: dict[str, Any] = {"confidence": goal.confidence}
    if isinstance(goal, Budget):
        asked |= {
            "goal": "max-review-per-day",
            "reviews_per_day": goal.reviews_per_day,
            "uploads_per_day": goal.uploads_per_day,
        }
    else:
        asked |= {"goal": goal.goal.value, "rate": goal.rate}
    return {
        "goal": asked,
        "folds": outcome.folds,
        "seed": outcome.seed,
        "flagged_now": _share_json(outcome.flagged_now),
        "flagged_held_out": _share_json(outcome.flagged_held_out),
        "notes": list(outcome.notes),
        "categories": [_category_json(one) for one in outcome.categories],
    }


def _category_json(one: CategoryOutcome) -> dict[str, Any]:
    return {
        "id": one.category.id,
        "labels": {"yes": one.yes, "no": one.no, "unsaid": one.unsaid},
        "review_at_now": _threshold_json(one.category.thresholds.review_at),
        "review_at": _threshold_json(one.review_at),
        "views": {kind.value: _threshold_json(limit) for kind, limit in one.views.items()},
        "allowed": one.allowed,
        "pictures": one.pictures,
        "now": _measured_json(one.now),
        "held_out": _measured_json(one.held_out),
        "kinds": {
            kind.kind.value: {
                "shared": _measured_json(kind.shared),
                "separate": _measured_json(kind.separate) if kind.separate else None,
            }
            for kind in one.kinds
        },
        "calibration": _calibrated_json(one.calibrated),
    }


def _calibrated_json(calibrated: Calibrated) -> dict[str, Any]:
    found: dict[str, Any] = {"method": method_name(calibrated) or None}
    if calibrated.fitted is not None:
        mapping = calibrated.fitted.calibration
        found["held_out_log_loss"] = calibrated.fitted.losses
        if isinstance(mapping, Isotonic):
            found |= {"log_odds": mapping.log_odds, "probabilities": mapping.probabilities}
        else:
            found |= {"slope": mapping.slope, "intercept": mapping.intercept}
    else:
        found["why_not"] = calibrated.why_not
    return found | {
        "before": _reliability_json(calibrated.before),
        "held_out": _reliability_json(calibrated.after),
    }


def _reliability_json(found: Reliability | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "ece": found.ece,
        "ece_by_chance": found.chance,
        "log_loss": found.log_loss,
        "brier": found.brier,
        "bins": [
            {"predicted": b.predicted, "observed": _share_json(b.observed)} for b in found.bins
        ],
    }


def _threshold_json(threshold: Threshold | None) -> dict[str, Any] | None:
    return None if threshold is None else {"value": threshold.value, "scale": threshold.scale}


def _measured_json(measured: Measured) -> dict[str, Any]:
    return {
        "fpr": _share_json(measured.fpr),
        "recall": _share_json(measured.recall),
        "precision": _share_json(measured.precision),
    }


def _share_json(share: Share) -> dict[str, Any]:
    value = None if math.isnan(share.value) else share.value
    return {"value": value, "low": share.low, "high": share.high, "n": share.of}
