"""The rules of the review queue: states, arrows, rank, and the values that cross its port.

The store enforces ``ARROWS`` in SQL; nothing else may change an item's state. Times are
seconds since the epoch by the *store's* clock; this module never reads one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from imagesieve_server.core.verdict import ReasonCode, Verdict

LEASE_S = 600.0
"""A claim's first lease, seconds."""
LEASE_MAX_S = 7200.0
"""A lease is never extended beyond this many seconds after its claim."""
LOOK_AT = 5000
"""Items that are looked at for one page of a list with filters."""
PARK_AFTER_EXPIRIES = 5
"""Lease expiries in one round after which an item is parked; releases do not count."""


class State(enum.StrEnum):
    READY = "READY"
    LEASED = "LEASED"
    PARKED = "PARKED"
    DECIDED = "DECIDED"
    EXPIRED = "EXPIRED"  # retention removed the payload; the decision record stays


OPEN = frozenset({State.READY, State.LEASED, State.PARKED})
"""At most one open item per (tenant, sha256)."""


class Cause(enum.StrEnum):
    """What moves an item along an arrow."""

    ENQUEUE = "ENQUEUE"
    REUSE_DECISION = "REUSE_DECISION"
    CLAIM = "CLAIM"
    RELEASE = "RELEASE"
    LEASE_EXPIRED = "LEASE_EXPIRED"
    ESCALATE = "ESCALATE"
    REVIEW_AGAIN = "REVIEW_AGAIN"  # another independent review is needed
    PARK = "PARK"
    REQUEUE = "REQUEUE"
    DECIDE = "DECIDE"
    LEGAL_DELETE = "LEGAL_DELETE"
    GROUP_CLOSE = "GROUP_CLOSE"
    APPEAL = "APPEAL"
    UNDO = "UNDO"
    OVERTURN = "OVERTURN"
    ATTACH = "ATTACH"  # contested while another item with the same bytes is open
    FOLLOW = "FOLLOW"  # the decision of the item it attached to counts for it, too
    RETAIN_END = "RETAIN_END"
    WITHDRAW = "WITHDRAW"  # a copy of a golden item that was not answered


@dataclass(frozen=True, slots=True)
class Arrow:
    """One allowed change of state. ``source`` None means the item is new."""

    source: State | None
    target: State
    cause: Cause
    needs_token: bool = False  # only the holder of the present lease may do it
    new_round: bool = False  # round + 1, expiry count reset


ARROWS: tuple[Arrow, ...] = (
    Arrow(None, State.READY, Cause.ENQUEUE),
    Arrow(None, State.DECIDED, Cause.REUSE_DECISION),
    Arrow(State.READY, State.LEASED, Cause.CLAIM),
    Arrow(State.LEASED, State.READY, Cause.RELEASE, needs_token=True),
    Arrow(State.LEASED, State.READY, Cause.LEASE_EXPIRED),
    Arrow(State.LEASED, State.READY, Cause.ESCALATE, needs_token=True),
    Arrow(State.LEASED, State.READY, Cause.REVIEW_AGAIN, needs_token=True),
    Arrow(State.LEASED, State.PARKED, Cause.PARK),
    Arrow(State.PARKED, State.READY, Cause.REQUEUE),
    Arrow(State.LEASED, State.DECIDED, Cause.DECIDE, needs_token=True),
    *(
        Arrow(source, State.DECIDED, cause)
        for source in (State.READY, State.LEASED, State.PARKED)
        for cause in (Cause.LEGAL_DELETE, Cause.GROUP_CLOSE)
    ),
    *(
        Arrow(State.DECIDED, State.READY, cause, new_round=True)
        for cause in (Cause.APPEAL, Cause.UNDO, Cause.OVERTURN)
    ),
    Arrow(State.DECIDED, State.DECIDED, Cause.ATTACH),
    Arrow(State.DECIDED, State.DECIDED, Cause.FOLLOW, new_round=True),
    Arrow(State.DECIDED, State.DECIDED, Cause.LEGAL_DELETE, new_round=True),
    Arrow(State.DECIDED, State.EXPIRED, Cause.RETAIN_END),
    Arrow(State.READY, State.EXPIRED, Cause.WITHDRAW),
    Arrow(State.LEASED, State.EXPIRED, Cause.WITHDRAW),
    Arrow(State.EXPIRED, State.EXPIRED, Cause.LEGAL_DELETE, new_round=True),
)


def arrow(source: State | None, cause: Cause) -> Arrow | None:
    """The arrow that leaves ``source`` for ``cause``, or None where it is not allowed."""
    for candidate in ARROWS:
        if candidate.source is source and candidate.cause is cause:
            return candidate
    return None


class Outcome(enum.StrEnum):
    """What a reviewer says."""

    APPROVE = "APPROVE"  # the picture may be published
    REJECT = "REJECT"
    ESCALATE = "ESCALATE"  # the next tier decides


_SEVERITY_ALLOWANCE_S = {1: 0.0, 2: 3600.0, 3: 4 * 3600.0, 4: 24 * 3600.0}
_SCORE_ALLOWANCE_S = 1800.0


def rank_allowance_s(*, severity: int, score: float) -> float:
    """Seconds an item is put ahead of its arrival: more for severe and for clear cases.

    The rank of an item is ``enqueued_at − allowance``; the smallest is claimed first. It is
    fixed at insert, so age is inherent and nothing starves: an item waits behind at most one
    day of more urgent ones.
    """
    bounded = min(max(score, 0.0), 1.0) if score == score else 1.0
    return _SEVERITY_ALLOWANCE_S[severity] + _SCORE_ALLOWANCE_S * bounded


_DUE_S = {1: 24 * 3600.0, 2: 8 * 3600.0, 3: 2 * 3600.0, 4: 1800.0}


def due_after_s(severity: int) -> float:
    """Seconds after enqueueing by which an item of this severity should be decided."""
    return _DUE_S[severity]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flagged submission, as the pipeline hands it to the queue.

    ``answer`` is the complete answer as JSON text (``core/answer.py``), stored so that a
    repeated request_id gets the same answer; the store adds nothing but the item's id.
    """

    tenant: str
    request_id: str
    request_digest: str  # over bytes, policy, categories, surface and mode
    sha256: str  # hex digest of the original bytes; names the evidence
    size_bytes: int
    media_type: str  # for example image/jpeg
    verdict: Verdict
    policy: str
    policy_version: str
    model_version: str
    reasons: tuple[ReasonCode, ...]
    category: str  # the worst acting category's id, "" where none
    severity: int  # 1 to 4
    score: float  # that category's score; 1.0 where there is none (undecodable, unscored)
    answer: str
    surface: str = ""
    content_ref: str = ""
    uploader_ref: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    audit: bool = False  # an audit sample, not a flag
    inclusion_probability: float | None = None  # of the audit sample
    reviews_needed: int = 1  # agreeing reviewers before the decision takes effect
    second_review_share: float = 0.0  # chance of needing two of them, drawn by the store
    reuse_decision: bool = False  # take over the last decision on these bytes, where there is one
    blind: bool = False  # reviewers must not see what tells a flag from an audit sample
    picture_hash: str = ""  # PDQ, 64 hexadecimal digits; "" where it must not be compared


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCount:
    """Uploads of one day that got ALLOW from a policy that audits.

    Without a hash those of a whole band, which the estimates divide by; with one those of a
    single picture that was selected, however often it was uploaded.
    """

    tenant: str
    policy: str
    policy_version: str
    day: str  # UTC, as 2026-11-21
    band: str
    sha256: str  # "": the whole band
    probability: float  # of each picture of the band to be selected
    uploads: int
    dropped: int = 0  # selected ones whose sample could not be kept; they bias the estimates


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the store made of a flag."""

    item_id: str  # "" for a repeat of an audit sample: its uploader was told of none
    answer: str  # the stored answer: the first one's, where the request_id was known
    repeated: bool = False  # the request_id was known with the same digest
    joined: bool = False  # another open item with the same bytes took it in
    group_id: str = ""  # of the item, where it was not repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One decision, append-only."""

    decision_id: str
    item_id: str
    round: int
    outcome: Outcome
    labels: tuple[str, ...]
    note: str
    reviewer: str
    decided_at: float
    effective: bool  # False for an ESCALATE and for one of several needed reviews
    supersedes: str = ""  # decision_id
    cause: Cause = Cause.DECIDE
    policy_version: str = ""  # of the answer the reviewer was shown
    model_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One picture waiting for, or given, a person's decision."""

    item_id: str
    tenant: str
    sha256: str
    state: State
    verdict: Verdict  # the strongest of its submissions
    policy: str
    policy_version: str
    model_version: str
    reasons: tuple[ReasonCode, ...]
    category: str
    severity: int
    score: float
    answer: str  # JSON of the first submission's answer
    media_type: str
    size_bytes: int
    enqueued_at: float
    due_at: float
    rank: float
    surface: str = ""
    content_ref: str = ""
    uploader_ref: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    submissions: int = 1
    round: int = 1
    tier: int = 1
    reviews_needed: int = 1
    expiries: int = 0  # of this round
    claimed_by: str = ""
    claimed_at: float | None = None
    lease_until: float | None = None
    opened_by: Cause = Cause.ENQUEUE  # what began the present round, or contested the item last
    opening_note: str = ""  # the words that came with it
    attached_to: str = ""  # the open item with these bytes whose decision will count here, too
    decisions: tuple[DecisionRecord, ...] = ()
    earlier: DecisionRecord | None = None  # last effective one on a closed item of these bytes
    blind: bool = False  # a policy that audits sent it: audit.WITHHELD is not for reviewers
    group_id: str = ""  # of its look-alikes; audit samples have none
    golden: bool = False  # copies of it are given out; not for reviewers
    golden_of: str = ""  # the item that it is a copy of; not for reviewers
    golden_for: str = ""  # and the person the copy was made for


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A claimed item with the token that proves the claim."""

    item: Item
    token: str
    lease_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    tenant: str
    reviewer: str
    claim_id: str  # made by the caller; the same id returns the same lease while it lives
    categories: tuple[str, ...] = ()  # empty: any
    tier: int = 1
    lease_s: float = LEASE_S
    item_id: str = ""  # this one and no other, where it is ready for the reviewer
    excluding: tuple[str, ...] = ()  # items that the reviewer passed over


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideRequest:
    tenant: str
    item_id: str
    token: str
    reviewer: str
    outcome: Outcome
    labels: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    tenant: str
    states: tuple[State, ...] = ()  # empty: all open ones
    category: str = ""
    reason: ReasonCode | None = None  # among its reasons
    min_age_s: float = 0.0  # since its arrival, by the store's clock
    max_age_s: float = 0.0  # 0: any
    told_only: bool = False  # without blind items, whose reasons and arrival are not told
    page_size: int = 50
    page_token: str = ""  # opaque, from the page before
    look_at: int = LOOK_AT  # items looked at for one page, which may so become short


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage:
    items: tuple[Item, ...]  # may be fewer than asked for, even none, before the last page
    next_page_token: str  # empty on the last page


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """One tenant's queue, or all tenants' where the tenant asked for was None."""

    by_state: Mapping[State, int]  # open states only: decided ones are all of history
    oldest_ready_at: float | None  # since when the READY item waits that waits longest
    second_reviews: int = 0  # READY items that somebody has reviewed and another person must
    now: float  # the store's clock, so that ages need no other
