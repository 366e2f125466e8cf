"""A store that forgets with the process: for tests and demonstrations, never for service.

Keeps rows in dictionaries behind one lock. A transaction that fails is undone row by row.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.near_duplicates import Grouping
from imagesieve_server.core.review import OPEN, AuditCount, Cause, State
from imagesieve_server.review_queue.memory_figures import MemoryFigures
from imagesieve_server.review_queue.memory_groups import MemoryGroups
from imagesieve_server.review_queue.memory_lists import MemoryLists
from imagesieve_server.review_queue.memory_quality import MemoryQuality
from imagesieve_server.review_queue.memory_tables import Tables, key_of, known_of, place_of
from imagesieve_server.review_queue.memory_webhooks import MemoryWebhooks
from imagesieve_server.review_queue.rows import (
    AuditRow,
    ClaimRow,
    DecisionRow,
    EventRow,
    EvidenceRow,
    ItemRow,
    PayloadRow,
    SubmissionRow,
    Transaction,
)
from imagesieve_server.review_queue.store import GROUPING, RuledStore


class MemoryBackend:
    """Transactions over dictionaries, one at a time.

    ``clock`` gives seconds since the epoch.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tables = Tables()
        self._lock = threading.Lock()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        with self._lock:
            transaction = MemoryTransaction(tables=self._tables, clock=self._clock)
            try:
                yield transaction
            except BaseException:
                transaction.undo()
                raise

    read = write

    def forget(self) -> None:
        """Nothing lingers."""

    def close(self) -> None:
        """Nothing to give back."""


def memory_store(*, clock: Callable[[], float], grouping: Grouping | None = GROUPING) -> RuledStore:
    """A ``ReviewStore`` in memory."""
    return RuledStore(backend=MemoryBackend(clock=clock), grouping=grouping)


class MemoryTransaction(MemoryLists, MemoryFigures, MemoryQuality, MemoryWebhooks, MemoryGroups):
    """The rows, with a note of how to undo each write."""

    def __init__(self, *, tables: Tables, clock: Callable[[], float]) -> None:
        super().__init__(tables=tables)
        self._clock = clock

    def now(self) -> float:
        return self._clock()

    def hold(self, tenant: str, names: Sequence[str]) -> None:
        """There is one transaction at a time."""

    # --- reads ---

    def submissions(self, tenant: str, request_ids: Sequence[str]) -> Mapping[str, SubmissionRow]:
        return known_of(self._t.submissions, tenant, request_ids)

    def payloads(self, tenant: str, request_ids: Sequence[str]) -> Mapping[str, PayloadRow]:
        return known_of(self._t.payloads, tenant, request_ids)

    def answers(
        self, tenant: str, request_ids: Sequence[str]
    ) -> Mapping[str, tuple[SubmissionRow, PayloadRow]]:
        payloads = self.payloads(tenant, request_ids)
        found = self.submissions(tenant, request_ids).items()
        return {request_id: (row, payloads[request_id]) for request_id, row in found}

    def requests_after(self, name: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        return sorted(known for known in self._t.submissions if known > name)[:limit]

    def evidence(self, tenant: str, sha256s: Sequence[str]) -> Mapping[str, EvidenceRow]:
        return known_of(self._t.evidence, tenant, sha256s)

    def open_items(self, tenant: str, sha256s: Sequence[str]) -> Mapping[str, ItemRow]:
        wanted = set(sha256s)
        return {
            row.sha256: row
            for row in self._items(tenant)
            if row.sha256 in wanted and row.state in OPEN and row.golden_of is None
        }

    def item(self, tenant: str, item_id: str) -> ItemRow | None:
        return self._t.items.get((tenant, item_id))

    def items(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, ItemRow]:
        return known_of(self._t.items, tenant, item_ids)

    def items_of_bytes(self, tenant: str, sha256s: Sequence[str]) -> Sequence[ItemRow]:
        return sorted((r for r in self._items(tenant) if r.sha256 in set(sha256s)), key=place_of)

    def attached(self, tenant: str, item_id: str) -> Sequence[ItemRow]:
        return sorted((r for r in self._items(tenant) if r.attached_to == item_id), key=place_of)

    def decided_before(self, at: float, *, limit: int) -> Sequence[ItemRow]:
        found = [
            (row.decided_at, row)
            for row in self._items(None)
            if row.state is State.DECIDED
            and row.attached_to is None
            and not self.is_golden(row)
            and row.decided_at is not None
            and row.decided_at < at
        ]
        return [row for _, row in sorted(found, key=lambda pair: pair[0])[:limit]]

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
        ready = [
            row
            for row in self._items(tenant)
            if row.state is State.READY
            and row.tier == tier
            and (not categories or row.category in categories)
            and not self.is_barred(row, reviewer)
            and not self.is_anothers_copy(row, reviewer)
            and item_id in ("", row.item_id)
            and row.item_id not in excluding
        ]
        return min(ready, key=lambda row: (row.rank, row.item_id), default=None)

    def due_leases(self, tenant: str | None, now: float) -> Sequence[ItemRow]:
        return [
            row
            for row in self._items(tenant)
            if row.lease_until is not None and row.lease_until <= now
        ]

    def open_counts(self, tenant: str | None) -> Mapping[State, int]:
        return Counter(row.state for row in self._items(tenant) if row.state in OPEN)

    def oldest_ready_at(self, tenant: str | None) -> float | None:
        ready = (row for row in self._items(tenant) if row.state is State.READY)
        return min((row.opened_at for row in ready), default=None)

    def request_ids(self, tenant: str, item_id: str) -> Sequence[str]:
        rows = [
            row
            for row in self._t.submissions.values()
            if (row.tenant, row.item_id) == (tenant, item_id)
        ]
        rows.sort(key=lambda row: (row.received_at, row.request_id))
        return [row.request_id for row in rows]

    def live_claims(self, tenant: str, claim_ids: Sequence[str]) -> Mapping[str, ClaimRow]:
        return {
            row.claim_id: row
            for row in self._t.claims.values()
            if row.tenant == tenant and row.claim_id in claim_ids and row.ended_at is None
        }

    def claim(self, tenant: str, token: str) -> ClaimRow | None:
        return self._t.claims.get((tenant, token))

    def decisions(self, tenant: str, item_ids: Sequence[str]) -> Sequence[DecisionRow]:
        return [row for item_id in item_ids for row in self._t.decisions.get((tenant, item_id), ())]

    def closed_decisions(self, tenant: str, sha256s: Sequence[str]) -> Mapping[str, DecisionRow]:
        wanted = set(sha256s)
        closed = [
            (row.sha256, decision)
            for row in self._items(tenant)
            if row.sha256 in wanted
            and row.state in (State.DECIDED, State.EXPIRED)
            and row.golden_of is None
            for decision in self._t.decisions.get((tenant, row.item_id), ())
            if decision.effective
        ]
        closed.sort(key=lambda pair: pair[1].order)
        return dict(closed)

    def audit(self, tenant: str, item_id: str) -> Sequence[AuditRow]:
        return self._t.audit.get((tenant, item_id), ())

    def counts(self, tenant: str) -> Sequence[AuditCount]:
        return sorted((c for c in self._t.counts.values() if c.tenant == tenant), key=key_of)

    def events(self, tenant: str, *, after: int, limit: int) -> Sequence[EventRow]:
        rows = self._t.events.get(tenant, ())
        return [row for row in rows if row.position > after][:limit]

    def tenants_with_events(self) -> Sequence[str]:
        kept = (t for t, last in self._t.positions.items() if self._t.removed.get(t, 0) < last)
        return sorted(kept)

    def event_range(self, tenant: str) -> tuple[int, int]:
        return self._t.removed.get(tenant, 0), self._t.positions.get(tenant, 0)

    def mark(self, name: str) -> str | None:
        return self._t.marks.get(name)

    # --- writes ---

    def add_items(self, rows: Sequence[ItemRow]) -> None:
        for row in rows:
            real = row.state in OPEN and row.golden_of is None
            if real and self.open_items(row.tenant, [row.sha256]):
                raise StoreUnavailable("another item with these bytes is open")
            self._insert(self._t.items, (row.tenant, row.item_id), row)

    def add_submissions(self, rows: Sequence[SubmissionRow]) -> None:
        for row in rows:
            self._insert(self._t.submissions, (row.tenant, row.request_id), row)

    def add_payloads(self, rows: Sequence[PayloadRow]) -> None:
        for row in rows:
            self._insert(self._t.payloads, (row.tenant, row.request_id), row)

    def change_payloads(self, rows: Sequence[PayloadRow]) -> None:
        for row in rows:
            self._put(self._t.payloads, (row.tenant, row.request_id), row)

    def remove_evidence(self, tenant: str, sha256s: Sequence[str], *, at: float) -> None:
        for row in self.evidence(tenant, sha256s).values():
            if row.removed_at is None:
                self._put(self._t.evidence, (tenant, row.sha256), replace(row, removed_at=at))

    def drop_events(self, tenant: str, *, upto: int) -> None:
        rows = self._t.events.get(tenant, ())
        self._put(self._t.events, tenant, tuple(row for row in rows if row.position > upto))
        self._put(self._t.removed, tenant, upto)

    def put_evidence(self, rows: Sequence[EvidenceRow]) -> None:
        for row in rows:
            known = self._t.evidence.get((row.tenant, row.sha256))
            if known is None or known.removed_at is not None:
                self._put(self._t.evidence, (row.tenant, row.sha256), row)

    def add_audit(self, rows: Sequence[AuditRow]) -> None:
        for row in rows:
            key = (row.tenant, row.item_id)
            self._put(self._t.audit, key, (*self._t.audit.get(key, ()), row))

    def add_counts(self, counts: Sequence[AuditCount]) -> None:
        for count in counts:
            known = self._t.counts.get(key_of(count), replace(count, uploads=0, dropped=0))
            uploads, dropped = known.uploads + count.uploads, known.dropped + count.dropped
            self._put(
                self._t.counts, key_of(count), replace(count, uploads=uploads, dropped=dropped)
            )

    def add_decision(self, row: DecisionRow) -> None:
        key = (row.tenant, row.item_id)
        self._put(self._t.decisions, key, (*self._t.decisions.get(key, ()), row))

    def add_claims(self, rows: Sequence[ClaimRow]) -> None:
        for row in rows:
            self._insert(self._t.claims, (row.tenant, row.token), row)

    def end_claim(self, tenant: str, token: str, *, at: float, cause: Cause) -> None:
        ended = replace(self._t.claims[tenant, token], ended_at=at, ended_by=cause)
        self._put(self._t.claims, (tenant, token), ended)

    def drop_claims(self, *, ended_before: float) -> None:
        for key, row in list(self._t.claims.items()):
            if row.ended_at is not None and row.ended_at < ended_before:
                self._drop(self._t.claims, key)

    def next_positions(self, tenant: str, count: int) -> int:
        last = self._t.positions.get(tenant, 0)
        self._put(self._t.positions, tenant, last + count)
        return last + 1

    def add_events(self, rows: Sequence[EventRow]) -> None:
        for row in rows:
            self._put(self._t.events, row.tenant, (*self._t.events.get(row.tenant, ()), row))

    def add_mark(self, name: str, value: str) -> None:
        self._put(self._t.marks, name, value)

    def change_item(self, before: ItemRow, after: ItemRow) -> bool:
        key = (before.tenant, before.item_id)
        seen = self._t.items[key]
        unchanged = (seen.state, seen.token, seen.version) == (
            before.state,
            before.token,
            before.version,
        )
        if unchanged:
            self._put(self._t.items, key, after)
        return unchanged

    # --- inside ---

    def _items(self, tenant: str | None) -> Iterator[ItemRow]:
        return (row for row in self._t.items.values() if tenant is None or row.tenant == tenant)
