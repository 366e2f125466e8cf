"""What the review queue gives back: items, leases, decisions. Frozen values, no protobuf.

Times are aware datetimes in UTC, by the server's clock.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from imagesieve.results import ModerationResult, Verdict


class ItemState(enum.StrEnum):
    """Where an item stands."""

    READY = "READY"
    LEASED = "LEASED"
    PARKED = "PARKED"  # too many leases expired; requeue puts it back
    DECIDED = "DECIDED"
    EXPIRED = "EXPIRED"  # retention removed the picture; the decision record stays
    UNKNOWN = "UNKNOWN"  # newer than this client


class Outcome(enum.StrEnum):
    """What a reviewer says."""

    APPROVE = "APPROVE"  # the picture may be published
    REJECT = "REJECT"
    ESCALATE = "ESCALATE"  # the next tier decides
    UNKNOWN = "UNKNOWN"  # newer than this client; never sent


class ReopenCause(enum.StrEnum):
    """Why a decided item is reviewed again."""

    APPEAL = "APPEAL"  # the uploader contests it
    UNDO = "UNDO"  # the reviewer takes it back
    OVERTURN = "OVERTURN"  # somebody else finds it wrong
    UNKNOWN = "UNKNOWN"  # newer than this client; never sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision; never changed afterwards."""

    decision_id: str
    item_id: str
    round: int
    outcome: Outcome
    labels: tuple[str, ...] = ()
    note: str = ""
    reviewer: str = ""
    decided_at: datetime | None = None
    effective: bool = False  # False for an escalation and for one of several needed reviews
    supersedes: str = ""  # decision_id of the decision this one replaces
    cause: str = ""  # DECIDE, REUSE_DECISION, FOLLOW, LEGAL_DELETE or GROUP_CLOSE
    policy_version: str = ""  # of the answer the reviewer was shown
    model_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One picture waiting for, or given, a person's decision.

    Of a policy that takes audit samples reviewers are not shown verdict (UNDECIDED here), reasons,
    score, answer and the two times: they must not be able to tell a sample from a flag.
    """

    item_id: str
    sha256: str
    state: ItemState
    verdict: Verdict  # the strongest of its submissions
    policy: str = ""
    policy_version: str = ""
    model_version: str = ""
    reasons: tuple[str, ...] = ()  # reason codes
    category: str = ""
    severity: int = 1
    score: float = 0.0
    answer: ModerationResult | None = None  # the first submission's whole answer
    media_type: str = ""
    size_bytes: int = 0
    enqueued_at: datetime | None = None
    due_at: datetime | None = None
    surface: str = ""
    content_ref: str = ""
    uploader_ref: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    submissions: int = 1  # how many uploads of the same bytes it stands for; 0: withheld
    round: int = 1
    tier: int = 1
    reviews_needed: int = 1
    expiries: int = 0  # lease expiries of this round
    claimed_by: str = ""
    claimed_at: datetime | None = None
    lease_until: datetime | None = None
    decisions: tuple[Decision, ...] = ()
    group_id: str = ""  # items of one group look alike
    opened_by: str = ""  # ENQUEUE, REUSE_DECISION, or why it was contested last
    opening_note: str = ""  # what was said then
    attached_to: str = ""  # the open item of these bytes whose decision will count here, too
    earlier: Decision | None = None  # the last one on another, closed item of these bytes
    image: bytes = field(default=b"", repr=False)  # the original, where it was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """The record of a legal deletion."""

    sha256: str
    decisions: tuple[Decision, ...] = ()  # one for each item of the bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A claimed item with the token that proves the claim."""

    item: Item
    token: str = field(repr=False)
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEvent:
    """One upload's share of one decision: an item of three uploads gives three."""

    decision: Decision
    request_id: str
    cursor: str = ""  # behind this event, to go on from
    sha256: str = ""
    content_ref: str = ""
    uploader_ref: str = ""
    surface: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage:
    """One page of a listing."""

    items: tuple[Item, ...]
    next_page_token: str = ""  # empty on the last page


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """How many open items stand where."""

    ready: int = 0
    leased: int = 0
    parked: int = 0
    oldest_ready_age_s: float | None = None  # seconds; None where none is ready
    awaiting_second_review: int = 0  # ready ones that one person has reviewed already
