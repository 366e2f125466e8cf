"""How rows are found in SQL: the reading half of a transaction.

In a transaction that writes, the items that were read are locked where the database has row
locks (``_locked``; SQLite has none and needs none, its writers take turns). Where many servers
look for work, what another one has locked is passed over.

States stand in the text of a query: only then can a database know that a partial index serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from imagesieve_server.core.review import AuditCount, State
from imagesieve_server.review_queue import schema as t
from imagesieve_server.review_queue.rows import (
    AuditRow,
    ClaimRow,
    DecisionRow,
    EventRow,
    EvidenceRow,
    ItemRow,
    PayloadRow,
    SubmissionRow,
)
from imagesieve_server.review_queue.sql_claims import SqlClaims
from imagesieve_server.review_queue.sql_figures import SqlFigures
from imagesieve_server.review_queue.sql_groups import SqlGroups
from imagesieve_server.review_queue.sql_quality import SqlQuality
from imagesieve_server.review_queue.sql_rows import names_of, value_of
from imagesieve_server.review_queue.sql_webhooks import SqlWebhookReads

R = TypeVar("R")

_ANSWERS = (
    sa.select(t.submission)
    .add_columns(
        *(
            t.submission_payload.c[name]
            for name in names_of(PayloadRow)
            if name not in t.submission.c
        )
    )
    .join(t.submission_payload)
    .where(t.submission.c.tenant == sa.bindparam("tenant"))
    .where(t.submission.c.request_id.in_(sa.bindparam("request_ids", expanding=True)))
)
"""Made once: every upload is looked up."""


class SqlReads(SqlClaims, SqlFigures, SqlQuality, SqlGroups, SqlWebhookReads):
    """One open transaction, its reads."""

    def __init__(
        self, *, connection: sa.Connection, clock: Callable[[sa.Connection], float], writes: bool
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._writes = writes
        self._now: float | None = None

    def now(self) -> float:
        if self._now is None:
            self._now = self._clock(self._connection)
        return self._now

    def submissions(self, tenant: str, request_ids: Sequence[str]) -> Mapping[str, SubmissionRow]:
        if not request_ids:
            return {}
        query = _among(t.submission, tenant, t.submission.c.request_id, request_ids)
        return {row.request_id: row for row in self._rows(SubmissionRow, query)}

    def payloads(self, tenant: str, request_ids: Sequence[str]) -> Mapping[str, PayloadRow]:
        if not request_ids:
            return {}
        query = _among(t.submission_payload, tenant, t.submission_payload.c.request_id, request_ids)
        return {row.request_id: row for row in self._rows(PayloadRow, query)}

    def answers(
        self, tenant: str, request_ids: Sequence[str]
    ) -> Mapping[str, tuple[SubmissionRow, PayloadRow]]:
        if not request_ids:
            return {}
        asked = {"tenant": tenant, "request_ids": list(request_ids)}
        return {
            row["request_id"]: (value_of(SubmissionRow, row), value_of(PayloadRow, row))
            for row in self._connection.execute(_ANSWERS, asked).mappings()
        }

    def requests_after(self, name: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        columns = (t.submission.c.tenant, t.submission.c.request_id)
        query = (
            sa.select(*columns)
            .where(sa.tuple_(*map(sa.literal, name)) < sa.tuple_(*columns))
            .order_by(*columns)
            .limit(limit)
        )
        return [(row.tenant, row.request_id) for row in self._connection.execute(query)]

    def evidence(self, tenant: str, sha256s: Sequence[str]) -> Mapping[str, EvidenceRow]:
        if not sha256s:
            return {}
        query = _among(t.evidence, tenant, t.evidence.c.sha256, sha256s)
        return {row.sha256: row for row in self._rows(EvidenceRow, query)}

    def open_items(self, tenant: str, sha256s: Sequence[str]) -> Mapping[str, ItemRow]:
        if not sha256s:
            return {}
        query = (
            _among(t.item, tenant, t.item.c.sha256, sha256s)
            .where(sa.text(t.IS_OPEN_AND_REAL))
            .order_by(t.item.c.sha256)
        )
        query = self._locked(query)
        return {row.sha256: row for row in self._rows(ItemRow, query)}

    def item(self, tenant: str, item_id: str) -> ItemRow | None:
        query = _among(t.item, tenant, t.item.c.item_id, [item_id])
        return self._row(ItemRow, self._locked(query))

    def items(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, ItemRow]:
        if not item_ids:
            return {}
        query = _among(t.item, tenant, t.item.c.item_id, item_ids).order_by(t.item.c.item_id)
        return {row.item_id: row for row in self._rows(ItemRow, self._locked(query))}

    def items_of_bytes(self, tenant: str, sha256s: Sequence[str]) -> Sequence[ItemRow]:
        if not sha256s:
            return []
        query = _among(t.item, tenant, t.item.c.sha256, sha256s)
        query = query.order_by(t.item.c.enqueued_at, t.item.c.item_id)
        return self._rows(ItemRow, self._locked(query))

    def attached(self, tenant: str, item_id: str) -> Sequence[ItemRow]:
        query = _among(t.item, tenant, t.item.c.attached_to, [item_id])
        query = query.order_by(t.item.c.enqueued_at, t.item.c.item_id)
        return self._rows(ItemRow, self._locked(query))

    def decided_before(self, at: float, *, limit: int) -> Sequence[ItemRow]:
        item = t.item.c
        query = (
            sa.select(t.item)
            .where(item.state == _written(State.DECIDED), item.decided_at < at)
            .where(item.attached_to.is_(None), ~self.is_golden())
            .order_by(item.decided_at)
            .limit(limit)
        )
        return self._rows(ItemRow, query)

    def due_leases(self, tenant: str | None, now: float) -> Sequence[ItemRow]:
        query = sa.select(t.item).where(
            t.item.c.state == _written(State.LEASED), t.item.c.lease_until <= now
        )
        query = self._locked(query, skip_locked=True)
        return self._rows(ItemRow, _of_tenant(query, tenant))

    def open_counts(self, tenant: str | None) -> Mapping[State, int]:
        query = (
            sa.select(t.item.c.state, sa.func.count())
            .where(t.item.c.state.in_(t.OPEN_STATES))
            .group_by(t.item.c.state)
        )
        found = self._connection.execute(_of_tenant(query, tenant))
        return {State(state): count for state, count in found}

    def oldest_ready_at(self, tenant: str | None) -> float | None:
        query = sa.select(sa.func.min(t.item.c.opened_at)).where(
            t.item.c.state == State.READY.value
        )
        found: float | None = self._connection.execute(_of_tenant(query, tenant)).scalar()
        return found

    def request_ids(self, tenant: str, item_id: str) -> Sequence[str]:
        submission = t.submission.c
        query = (
            sa.select(submission.request_id)
            .where(submission.tenant == tenant, submission.item_id == item_id)
            .order_by(submission.received_at, submission.request_id)
        )
        return self._connection.execute(query).scalars().all()

    def live_claims(self, tenant: str, claim_ids: Sequence[str]) -> Mapping[str, ClaimRow]:
        query = _among(t.claim, tenant, t.claim.c.claim_id, claim_ids)
        found = self._rows(ClaimRow, query.where(t.claim.c.ended_at.is_(None)))
        return {row.claim_id: row for row in found}

    def claim(self, tenant: str, token: str) -> ClaimRow | None:
        return self._row(ClaimRow, _among(t.claim, tenant, t.claim.c.token, [token]))

    def decisions(self, tenant: str, item_ids: Sequence[str]) -> Sequence[DecisionRow]:
        if not item_ids:
            return []
        decision = t.decision.c
        query = _among(t.decision, tenant, decision.item_id, item_ids)
        return self._rows(DecisionRow, query.order_by(decision.item_id, decision.seq))

    def closed_decisions(self, tenant: str, sha256s: Sequence[str]) -> Mapping[str, DecisionRow]:
        if not sha256s:
            return {}
        item, decision = t.item.c, t.decision.c
        # One after the other: a join may be begun at the other end, with all that was ever said.
        closed = (
            sa.select(item.item_id, item.sha256)
            .where(item.tenant == tenant, item.sha256.in_(sha256s))
            .where(item.state.in_((State.DECIDED.value, State.EXPIRED.value)))
            .where(item.golden_of.is_(None))
        )
        of_item = {row.item_id: row.sha256 for row in self._connection.execute(closed)}
        if not of_item:
            return {}
        query = _among(t.decision, tenant, decision.item_id, list(of_item))
        query = query.where(decision.effective.is_(sa.true()))
        rows = sorted(self._rows(DecisionRow, query), key=lambda row: row.order)
        return {of_item[row.item_id]: row for row in rows}

    def audit(self, tenant: str, item_id: str) -> Sequence[AuditRow]:
        query = _among(t.audit, tenant, t.audit.c.item_id, [item_id])
        return self._rows(AuditRow, query.order_by(t.audit.c.version))

    def counts(self, tenant: str) -> Sequence[AuditCount]:
        key = list(t.audit_count.primary_key)
        query = sa.select(t.audit_count).where(t.audit_count.c.tenant == tenant).order_by(*key)
        return self._rows(AuditCount, query)

    def events(self, tenant: str, *, after: int, limit: int) -> Sequence[EventRow]:
        event = t.decision_event.c
        query = (
            sa.select(t.decision_event)
            .where(event.tenant == tenant, event.position > after)
            .order_by(event.position)
            .limit(limit)
        )
        return self._rows(EventRow, query)

    def tenants_with_events(self) -> Sequence[str]:
        counter = t.event_position.c
        query = sa.select(counter.tenant).where(counter.removed < counter.position)
        return self._connection.execute(query.order_by(counter.tenant)).scalars().all()

    def event_range(self, tenant: str) -> tuple[int, int]:
        counter = t.event_position.c
        query = sa.select(counter.removed, counter.position).where(counter.tenant == tenant)
        found = self._connection.execute(query).first()
        return (0, 0) if found is None else (found.removed, found.position)

    def mark(self, name: str) -> str | None:
        query = sa.select(t.secret.c.value).where(t.secret.c.name == name)
        found: str | None = self._connection.execute(query).scalar()
        return found

    def _locked(self, query: sa.Select[Any], *, skip_locked: bool = False) -> sa.Select[Any]:
        if not self._writes:
            return query
        return query.with_for_update(skip_locked=skip_locked, key_share=True, of=t.item)

    def _rows(self, row_class: type[R], query: sa.Select[Any]) -> list[R]:
        found = self._connection.execute(query).mappings()
        return [value_of(row_class, row) for row in found]

    def _row(self, row_class: type[R], query: sa.Select[Any]) -> R | None:
        found = self._connection.execute(query).mappings().first()
        return None if found is None else value_of(row_class, found)


def _among(
    table: sa.Table, tenant: str, column: sa.ColumnElement[str], values: Sequence[str]
) -> sa.Select[Any]:
    return sa.select(table).where(table.c.tenant == tenant, column.in_(values))


def _written(state: State) -> sa.BindParameter[str]:
    return sa.bindparam(None, state.value, literal_execute=True)


def _of_tenant(query: sa.Select[Any], tenant: str | None) -> sa.Select[Any]:
    return query if tenant is None else query.where(t.item.c.tenant == tenant)
