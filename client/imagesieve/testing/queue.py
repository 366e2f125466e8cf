"""The review queue of the fake server: a dictionary of items, no gRPC and no protobuf.

It follows the server's rules as a caller sees them (states, tokens, repeats), first come first
served. Nothing happens by itself: a lease ends only when a test calls ``expire``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from imagesieve.errors import (
    CursorExpired,
    DecisionConflict,
    InvalidRequest,
    ItemNotFound,
    LeaseLost,
    StateConflict,
)
from imagesieve.review_results import (
    Decision,
    DecisionEvent,
    Erasure,
    Item,
    ItemPage,
    ItemState,
    Lease,
    Outcome,
    QueueStats,
    ReopenCause,
)

LEASE_S = 600
OPEN = (ItemState.READY, ItemState.LEASED, ItemState.PARKED)


class FakeQueue:
    """Items in order of arrival. Not thread-safe: the fake server calls it under its lock."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._leases: dict[str, Lease] = {}  # by item_id, while the item is LEASED
        self._claims: dict[str, str] = {}  # claim_id to item_id
        self._decided: dict[str, Decision] = {}  # by token
        self._events: list[DecisionEvent] = []
        self._made = 0

    @property
    def items(self) -> tuple[Item, ...]:
        return tuple(self._items.values())

    def add(self, item: Item) -> None:
        """Put an item, with any state, under its item_id."""
        self._items[item.item_id] = item

    def new_id(self, kind: str) -> str:
        """item-1, token-2, decision-3 …"""
        self._made += 1
        return f"{kind}-{self._made}"

    def expire(self, item_id: str) -> None:
        """End the item's lease as time would."""
        self._back(self.get(item_id), expiries=self.get(item_id).expiries + 1)

    def park(self, item_id: str) -> None:
        """Park the item as its fifth expiry would."""
        self.expire(item_id)
        self._items[item_id] = replace(self._items[item_id], state=ItemState.PARKED)

    def claim(
        self,
        *,
        claim_id: str,
        reviewer: str,
        categories: Sequence[str],
        tier: int,
        lease_s: int,
        item_id: str = "",
    ) -> Lease | None:
        repeated = self._leases.get(self._claims.get(claim_id, ""))
        if repeated is not None:
            if item_id not in ("", repeated.item.item_id):
                raise InvalidRequest(
                    "claim_id: belongs to a claim of another item", metadata={"field": "claim_id"}
                )
            return repeated
        for item in self._items.values():
            wanted = not categories or item.category in categories
            wanted = wanted and item_id in ("", item.item_id)
            if item.state is ItemState.READY and wanted and item.tier == (tier or 1):
                return self._lease(item, claim_id, reviewer, lease_s or LEASE_S)
        return None

    def extend(self, item_id: str, token: str, lease_s: int) -> datetime:
        lease = self._held(item_id, token)
        until = datetime.now(UTC) + timedelta(seconds=lease_s or LEASE_S)
        item = replace(lease.item, lease_until=until)
        self._items[item_id] = item
        self._leases[item_id] = replace(lease, item=item, lease_until=until)
        return until

    def release(self, item_id: str, token: str) -> Item:
        return self._back(self._held(item_id, token).item)

    def decide(
        self,
        item_id: str,
        token: str,
        outcome: Outcome,
        *,
        labels: tuple[str, ...],
        note: str,
        reviewer: str,
    ) -> Decision:
        if outcome is Outcome.UNKNOWN:
            raise InvalidRequest("outcome: must be set", metadata={"field": "outcome"})
        if (earlier := self._decided.get(token)) is not None:
            if (earlier.outcome, earlier.labels, earlier.note) != (outcome, labels, note):
                raise DecisionConflict("the token decided otherwise before")
            return earlier
        item = self._held(item_id, token).item
        decision = Decision(
            decision_id=self.new_id("decision"),
            item_id=item_id,
            round=item.round,
            outcome=outcome,
            labels=labels,
            note=note,
            reviewer=reviewer or item.claimed_by,
            decided_at=datetime.now(UTC),
            effective=outcome is not Outcome.ESCALATE,
            cause="DECIDE",
            supersedes=_in_effect(item) if outcome is not Outcome.ESCALATE else "",
            policy_version=item.policy_version,
            model_version=item.model_version,
        )
        self._decided[token] = decision
        item = self._back(item)
        self._items[item_id] = replace(
            item,
            state=ItemState.DECIDED if decision.effective else ItemState.READY,
            tier=item.tier if decision.effective else item.tier + 1,
            decisions=(*item.decisions, decision),
        )
        if decision.effective:
            self._tell(item, decision, item.answer.request_id if item.answer else "")
        return decision

    def get(self, item_id: str) -> Item:
        item = self._items.get(item_id)
        if item is None:
            raise ItemNotFound("no such item")
        return item

    def list(
        self,
        *,
        states: Sequence[ItemState],
        category: str,
        reason: str,
        min_age_s: float,
        max_age_s: float,
        page_size: int,
        page_token: str,
    ) -> ItemPage:
        if page_token and not page_token.isdigit():
            raise CursorExpired("the page token was not made by this server")
        wanted = [
            item
            for item in self._items.values()
            if item.state in (states or OPEN) and category in ("", item.category)
            if not reason or reason in item.reasons
            if _has_age(item, min_age_s=min_age_s, max_age_s=max_age_s)
        ]
        first = int(page_token or 0)
        last = first + (page_size or 50)
        more = str(last) if last < len(wanted) else ""
        return ItemPage(items=tuple(wanted[first:last]), next_page_token=more)

    def stats(self) -> QueueStats:
        states = [item.state for item in self._items.values()]
        ready = [i.enqueued_at for i in self._items.values() if i.state is ItemState.READY]
        since = min((at for at in ready if at is not None), default=None)
        return QueueStats(
            ready=states.count(ItemState.READY),
            leased=states.count(ItemState.LEASED),
            parked=states.count(ItemState.PARKED),
            oldest_ready_age_s=(datetime.now(UTC) - since).total_seconds() if since else None,
        )

    def requeue(self, item_id: str) -> Item:
        item = self.get(item_id)
        if item.state is ItemState.READY:
            return item
        if item.state is not ItemState.PARKED:
            raise StateConflict(f"a {item.state} item cannot be put back")
        return self._back(item, expiries=0)

    def reopen(self, item_id: str, cause: ReopenCause, *, decision_id: str, note: str) -> Item:
        if cause is ReopenCause.UNKNOWN:
            raise InvalidRequest("cause: must be set", metadata={"field": "cause"})
        item = self.get(item_id)
        known = [decision.decision_id for decision in item.decisions]
        if decision_id and decision_id not in known:
            raise InvalidRequest("decision_id: unknown", metadata={"field": "decision_id"})
        if item.state is ItemState.EXPIRED:
            raise StateConflict("the picture was removed")
        if item.state in OPEN or decision_id not in ("", known[-1]):
            return item
        item = replace(item, round=item.round + 1, opened_by=cause, opening_note=note, tier=1)
        return self._back(item, expiries=0)

    def erase(self, *, sha256: str, item_id: str, reason: str, erased_by: str) -> Erasure:
        if bool(sha256) == bool(item_id):
            raise InvalidRequest("sha256: give one", metadata={"field": "sha256"})
        if not reason:
            raise InvalidRequest("reason: is required", metadata={"field": "reason"})
        sha256 = sha256 or self.get(item_id).sha256
        items = [item for item in self._items.values() if item.sha256 == sha256]
        if not items:
            raise ItemNotFound("no such picture")
        decisions = tuple(self._erased(item, reason, erased_by) for item in items)
        return Erasure(sha256=sha256, decisions=decisions)

    def close(
        self, item_id: str, outcome: Outcome, *, labels: tuple[str, ...], note: str, reviewer: str
    ) -> Decision:
        """Decide an open item with its group, whoever holds it."""
        item = self._back(self.get(item_id))
        decision = Decision(
            decision_id=self.new_id("decision"),
            item_id=item_id,
            round=item.round,
            outcome=outcome,
            labels=labels,
            note=note,
            reviewer=reviewer,
            decided_at=datetime.now(UTC),
            effective=True,
            cause="GROUP_CLOSE",
            supersedes=_in_effect(item),
        )
        decided = replace(item, state=ItemState.DECIDED, decisions=(*item.decisions, decision))
        self._items[item_id] = decided
        self._tell(decided, decision, item.answer.request_id if item.answer else "")
        return decision

    def _erased(self, item: Item, reason: str, erased_by: str) -> Decision:
        if item.decisions and item.decisions[-1].cause == "LEGAL_DELETE":
            return item.decisions[-1]
        decision = Decision(
            decision_id=self.new_id("decision"),
            item_id=item.item_id,
            round=item.round,
            outcome=Outcome.REJECT,
            note=reason,
            reviewer=erased_by,
            decided_at=datetime.now(UTC),
            effective=True,
            cause="LEGAL_DELETE",
            supersedes=_in_effect(item),
        )
        self._items[item.item_id] = emptied = replace(
            self._back(item),
            state=ItemState.EXPIRED,
            answer=None,
            content_ref="",
            uploader_ref="",
            surface="",
            labels={},
            decisions=(*item.decisions, decision),
        )
        self._tell(emptied, decision, item.answer.request_id if item.answer else "")
        return decision

    def events(self, cursor: str, *, from_oldest: bool) -> tuple[tuple[DecisionEvent, ...], str]:
        """The events behind the cursor and the present one; "" is now, without ``from_oldest``."""
        first = int(cursor) if cursor.isdigit() else 0
        if (cursor and not cursor.isdigit()) or first > len(self._events):
            raise CursorExpired("the cursor was not made by this server")
        if not cursor and not from_oldest:
            first = len(self._events)
        return tuple(self._events[first:]), str(len(self._events))

    def _tell(self, item: Item, decision: Decision, request_id: str) -> None:
        self._events.append(
            DecisionEvent(
                decision=decision,
                request_id=request_id,
                cursor=str(len(self._events) + 1),
                sha256=item.sha256,
                content_ref=item.content_ref,
                uploader_ref=item.uploader_ref,
                surface=item.surface,
                labels=item.labels,
            )
        )

    def _held(self, item_id: str, token: str) -> Lease:
        lease = self._leases.get(self.get(item_id).item_id)
        if lease is None or lease.token != token:
            raise LeaseLost("the token is not the item's present lease")
        return lease

    def _lease(self, item: Item, claim_id: str, reviewer: str, lease_s: int) -> Lease:
        now = datetime.now(UTC)
        leased = replace(
            item,
            state=ItemState.LEASED,
            claimed_by=reviewer,
            claimed_at=now,
            lease_until=now + timedelta(seconds=lease_s),
        )
        lease = Lease(item=leased, token=self.new_id("token"), lease_until=leased.lease_until)
        self._items[item.item_id] = leased
        self._leases[item.item_id] = lease
        self._claims[claim_id] = item.item_id
        return lease

    def _back(self, item: Item, *, expiries: int | None = None) -> Item:
        """The item, READY and without its lease."""
        self._leases.pop(item.item_id, None)
        ready = replace(
            item,
            state=ItemState.READY,
            expiries=item.expiries if expiries is None else expiries,
            claimed_at=None,
            claimed_by="",
            lease_until=None,
        )
        self._items[item.item_id] = ready
        return ready


def _in_effect(item: Item) -> str:
    """The decision_id of the last effective decision."""
    return next((d.decision_id for d in reversed(item.decisions) if d.effective), "")


def _has_age(item: Item, *, min_age_s: float, max_age_s: float) -> bool:
    if item.enqueued_at is None:
        return not min_age_s
    age_s = (datetime.now(UTC) - item.enqueued_at).total_seconds()
    return min_age_s <= age_s and (not max_age_s or age_s <= max_age_s)
