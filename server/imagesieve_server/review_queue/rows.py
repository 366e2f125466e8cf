"""One row of each table, as frozen values, and the transaction both stores offer over them.

The rules (``recording``, ``leasing``, ``deciding``, ``reading``) are written once, against
``Transaction``. A store knows how to keep rows and how to find them; it knows no rule except
the guard on a change: the row must still be what the rule saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from imagesieve_server.core.review import AuditCount, Cause, Outcome, State
from imagesieve_server.core.verdict import ReasonCode, Verdict
from imagesieve_server.review_queue.figure_rows import FigureReads
from imagesieve_server.review_queue.group_rows import GroupTables
from imagesieve_server.review_queue.list_rows import Found, Wanted
from imagesieve_server.review_queue.quality_rows import QualityReads
from imagesieve_server.review_queue.webhook_rows import WebhookRows


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """The hot row of an item; columns as in ``schema.item``."""

    tenant: str
    item_id: str
    sha256: str
    state: State
    verdict: Verdict
    category: str
    severity: int
    reason_bits: int = 0  # of the shown submission's reasons
    audit: bool
    rank: float
    enqueued_at: float
    due_at: float
    shown_request_id: str
    submissions: int = 1
    round: int = 1
    tier: int = 1
    reviews_needed: int = 1
    expiries: int = 0
    token: str | None = None
    claimed_by: str = ""
    claimed_at: float | None = None
    lease_until: float | None = None
    group_id: str | None = None
    opened_by: Cause = Cause.ENQUEUE
    opening_note: str = ""
    opened_at: float
    attached_to: str | None = None
    blind: bool = False
    golden_of: str | None = None
    decided_at: float | None = None
    decisions: int = 0
    spoken_by: str = ""  # the reviewer of the last of them
    chain_head: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRow:
    tenant: str
    request_id: str
    digest: str
    item_id: str
    received_at: float
    verdict: Verdict
    policy: str
    policy_version: str
    model_version: str
    reasons: tuple[ReasonCode, ...]
    category: str
    severity: int
    score: float
    audit: bool
    inclusion_probability: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadRow:
    tenant: str
    request_id: str
    answer: str
    surface: str
    content_ref: str
    uploader_ref: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    tenant: str
    sha256: str
    size_bytes: int
    media_type: str
    stored_at: float
    removed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow:
    tenant: str
    token: str
    claim_id: str
    item_id: str
    reviewer: str
    claimed_at: float
    ended_at: float | None = None
    ended_by: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    tenant: str
    item_id: str
    seq: int  # 1, 2, … within the item
    decision_id: str
    round: int
    tier: int
    outcome: Outcome
    labels: tuple[str, ...]
    note: str
    reviewer: str
    token: str | None
    decided_at: float
    effective: bool
    supersedes: str
    cause: Cause
    policy_version: str  # of the submission the reviewer was shown, as is the next
    model_version: str
    prev_hash: str
    hash: str = ""  # over all the above

    @property
    def order(self) -> tuple[float, bool, int, str]:
        """The last word on some bytes has the largest. One that follows another item's is of the
        same moment, and comes before the word that a person gave."""
        return self.decided_at, self.cause is not Cause.FOLLOW, self.seq, self.decision_id


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    tenant: str
    item_id: str
    version: int  # the item's, after the change
    at: float
    actor: str
    cause: Cause
    source: State | None
    target: State
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One submission's share of one effective decision."""

    tenant: str
    position: int  # 1, 2, … within the tenant, in commit order, without gaps
    item_id: str
    decision_id: str
    request_id: str
    created_at: float


CURSOR_MARK = "cursor"
"""Name of the key of cursors, hexadecimal."""


class Transaction(FigureReads, QualityReads, WebhookRows, GroupTables, Protocol):
    """What the rules ask of a store. All reads see the writes of the same transaction.

    Several servers may have transactions at once. In one that writes, the items that were
    read stay as they are until its end, except those of ``page`` and the counts.
    """

    def now(self) -> float:
        """The store's clock, seconds since the epoch; the same throughout the transaction."""
        ...

    def hold(self, tenant: str, names: Sequence[str]) -> None:
        """Wait until no other transaction holds one of these names, and hold them until the
        end. Whoever adds or removes what refers to bytes holds their sha256, tenants in order
        and before any item is read; whoever claims, the claims."""
        ...

    # --- reads: lists in the order stated, mappings without the keys that are unknown ---

    def submissions(
        self, tenant: str, request_ids: Sequence[str]
    ) -> Mapping[str, SubmissionRow]: ...

    def payloads(self, tenant: str, request_ids: Sequence[str]) -> Mapping[str, PayloadRow]: ...

    def answers(
        self, tenant: str, request_ids: Sequence[str]
    ) -> Mapping[str, tuple[SubmissionRow, PayloadRow]]:
        """Both at once."""
        ...

    def requests_after(self, name: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """The first (tenant, request_id) behind ``name``."""
        ...

    def evidence(self, tenant: str, sha256s: Sequence[str]) -> Mapping[str, EvidenceRow]: ...

    def open_items(self, tenant: str, sha256s: Sequence[str]) -> Mapping[str, ItemRow]:
        """The open item of each of these bytes, by sha256; no copy of a golden one."""
        ...

    def item(self, tenant: str, item_id: str) -> ItemRow | None: ...

    def items(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, ItemRow]: ...

    def items_of_bytes(self, tenant: str, sha256s: Sequence[str]) -> Sequence[ItemRow]:
        """In any state, by (enqueued_at, item_id); copies of golden ones, too."""
        ...

    def attached(self, tenant: str, item_id: str) -> Sequence[ItemRow]:
        """The items that wait for this one's decision, by (enqueued_at, item_id)."""
        ...

    def decided_before(self, at: float, *, limit: int) -> Sequence[ItemRow]:
        """DECIDED items of all tenants decided before ``at``, attached to none and not golden, the
        first decided first. They may change until they are read again."""
        ...

    def next_ready(
        self,
        tenant: str,
        *,
        tier: int,
        categories: Sequence[str],
        reviewer: str,
        item_id: str = "",
        excluding: Sequence[str] = (),
    ) -> ItemRow | None:
        """First by (rank, item_id) of the tier, without those that this reviewer is barred from
        (``review_rules.is_barred``). No category named: any; no item named: any."""
        ...

    def due_leases(self, tenant: str | None, now: float) -> Sequence[ItemRow]:
        """Leased items whose lease ended at ``now`` or before."""
        ...

    def page(self, wanted: Wanted) -> Found:
        """Items of one state by (enqueued_at, item_id)."""
        ...

    def open_counts(self, tenant: str | None) -> Mapping[State, int]: ...

    def oldest_ready_at(self, tenant: str | None) -> float | None: ...

    def request_ids(self, tenant: str, item_id: str) -> Sequence[str]:
        """An item's submissions by (received_at, request_id)."""
        ...

    def live_claims(self, tenant: str, claim_ids: Sequence[str]) -> Mapping[str, ClaimRow]:
        """By claim_id."""
        ...

    def claim(self, tenant: str, token: str) -> ClaimRow | None: ...

    def decisions(self, tenant: str, item_ids: Sequence[str]) -> Sequence[DecisionRow]:
        """By item and seq."""
        ...

    def closed_decisions(self, tenant: str, sha256s: Sequence[str]) -> Mapping[str, DecisionRow]:
        """The last effective decision on a DECIDED or EXPIRED item of each of these bytes, by
        sha256; none on a copy of a golden one."""
        ...

    def audit(self, tenant: str, item_id: str) -> Sequence[AuditRow]:
        """By version."""
        ...

    def counts(self, tenant: str) -> Sequence[AuditCount]:
        """By policy, version, day, band, hash and probability."""
        ...

    def events(self, tenant: str, *, after: int, limit: int) -> Sequence[EventRow]:
        """By position."""
        ...

    def tenants_with_events(self) -> Sequence[str]: ...

    def event_range(self, tenant: str) -> tuple[int, int]:
        """(position up to which events were removed, position of the last event)."""
        ...

    def mark(self, name: str) -> str | None:
        """What was written under this name, once and for all servers: ``CURSOR_MARK`` was when
        the tables were made."""
        ...

    # --- writes ---

    def add_items(self, rows: Sequence[ItemRow]) -> None: ...

    def add_submissions(self, rows: Sequence[SubmissionRow]) -> None: ...

    def add_payloads(self, rows: Sequence[PayloadRow]) -> None: ...

    def change_payloads(self, rows: Sequence[PayloadRow]) -> None: ...

    def remove_evidence(self, tenant: str, sha256s: Sequence[str], *, at: float) -> None:
        """Mark as removed what is not marked so."""
        ...

    def drop_events(self, tenant: str, *, upto: int) -> None:
        """Remove the tenant's events up to this position."""
        ...

    def put_evidence(self, rows: Sequence[EvidenceRow]) -> None:
        """Insert, or mark evidence that was removed as stored again."""
        ...

    def add_audit(self, rows: Sequence[AuditRow]) -> None:
        """May be written as late as the end of the transaction, many together."""
        ...

    def add_counts(self, counts: Sequence[AuditCount]) -> None:
        """Add to what was counted of each key, which is all but the last two fields."""
        ...

    def add_decision(self, row: DecisionRow) -> None: ...

    def add_claims(self, rows: Sequence[ClaimRow]) -> None: ...

    def end_claim(self, tenant: str, token: str, *, at: float, cause: Cause) -> None: ...

    def drop_claims(self, *, ended_before: float) -> None:
        """Remove ended claims of all tenants, some of them at a time."""
        ...

    def next_positions(self, tenant: str, count: int) -> int:
        """Reserve ``count`` event positions of the tenant; returns the first. Whoever holds
        reserved positions commits before anyone else gets later ones."""
        ...

    def add_events(self, rows: Sequence[EventRow]) -> None: ...

    def add_mark(self, name: str, value: str) -> None: ...

    def change_item(self, before: ItemRow, after: ItemRow) -> bool:
        """Replace the row if its state, token and version are still those of ``before``."""
        ...
