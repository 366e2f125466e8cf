"""What the review queue gives back about groups of look-alikes. Frozen values, no protobuf."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from imagesieve.review_results import Outcome


class GroupCloseProgress(enum.StrEnum):
    """How far a close is; what is begun is finished."""

    CLOSING = "CLOSING"
    CLOSED = "CLOSED"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"
    UNKNOWN = "UNKNOWN"  # newer than this client


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """Flags that look like the group's first one, by state."""

    group_id: str
    ready: int = 0
    leased: int = 0
    parked: int = 0
    decided: int = 0
    expired: int = 0
    first_at: datetime | None = None  # arrival of the first and of the last item
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupClose:
    """One decision that closes many items, and what came of it."""

    close_id: str
    group_id: str
    outcome: Outcome
    labels: tuple[str, ...] = ()
    note: str = ""
    closed_by: str = ""
    ordered_at: datetime | None = None
    count: int = 0  # items that were shown as closable
    progress: GroupCloseProgress = GroupCloseProgress.UNKNOWN
    pending: int = 0
    closed: int = 0  # decided by this close, and not reopened
    skipped: int = 0  # decided, contested or escalated by somebody else in between
    reopened: int = 0  # by the undo
    kept: int = 0  # left by the undo: decided again since, or without a picture
    undone_by: str = ""
    undone_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group as it is now, with the snapshot to close it by."""

    summary: GroupSummary
    closable: int = 0  # items that a close with this snapshot closes
    held_for_several_reviews: int = 0  # open items that a close leaves as they are
    held_as_escalated: int = 0
    held_as_contested: int = 0
    held_as_judged_otherwise: int = 0  # for another category than the first item, or more strongly
    more: int = 0  # open items behind the 10 000 first ones, which stay open
    snapshot: str = ""  # opaque
    closes: tuple[GroupClose, ...] = ()  # the latest first
