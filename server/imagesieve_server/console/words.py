"""Spans of time, states of items and labels in a reader's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagesieve_server.core.review import Outcome, State

STATES: Mapping[State, str] = {
    State.READY: "Waiting",
    State.LEASED: "In hand",
    State.PARKED: "Parked",
    State.DECIDED: "Decided",
    State.EXPIRED: "Decided, picture removed",
}
"""What people call an item's state."""

OUTCOMES: Mapping[Outcome, str] = {
    Outcome.APPROVE: "approved",
    Outcome.REJECT: "rejected",
    Outcome.ESCALATE: "escalated",
}
OTHER = "other"
"""The label of what no category of the policy names."""
OTHER_TITLE = "Something else"
UNDONE_BY_REVIEWER = "undone by the reviewer"
"""Kept with an item whose own reviewer took a decision back."""
_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"))


def span(seconds: float) -> str:
    """A length of time, roughly: "3 hours"."""
    for unit, name in _UNITS:
        if seconds >= unit:
            count = int(seconds // unit)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "less than a minute"


def ago(seconds: float) -> str:
    """When something was, so many seconds before now."""
    return "just now" if seconds < 60 else f"{span(seconds)} ago"


def within(seconds: float) -> str:
    """Until when something should be done, so many seconds from now."""
    return f"due in {span(seconds)}" if seconds >= 0 else f"overdue by {span(-seconds)}"


def labels_in_words(labels: Sequence[str], titles: Mapping[str, str]) -> str:
    """Labels by the titles of their categories, where they have any."""
    known = {OTHER: OTHER_TITLE, **titles}
    return ", ".join(known.get(label, label) for label in labels)
