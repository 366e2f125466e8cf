"""The rows in SQL: SQLAlchemy Core, every dialect alike.

Knows statements. What differs between databases — how a connection is set up, how a
transaction begins, whose clock counts, what an error means — is a ``Dialect``'s business and
is handed in (``sqlite.py``, ``postgres.py``). Every error of the database becomes
StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.review import AuditCount, Cause
from imagesieve_server.review_queue import schema as t
from imagesieve_server.review_queue.backend import Overtaken
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
from imagesieve_server.review_queue.sql_reads import SqlReads
from imagesieve_server.review_queue.sql_rows import changed_columns, columns_of
from imagesieve_server.review_queue.sql_webhooks import SqlWebhooks

DROP_CLAIMS_MAX = 1000
"""Ended claims that are removed at once: nobody shall wait for a busy week."""

Hold = Callable[[sa.Connection, str, Sequence[str]], None]
"""Waits for a tenant's names and holds them until the transaction's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one kind of database does in its own way."""

    reading: Mapping[str, Any]  # execution options of a transaction that does not write
    writing: Mapping[str, Any]  # and of one that does
    hold: Hold = lambda *_: None  # nothing where writers take turns
    # Says, with the commit, that there are new decisions of the tenant.
    tell: Callable[[sa.Connection, str], None] = lambda *_: None
    overtaken: Callable[[SQLAlchemyError], bool] = lambda _: False  # worth while to repeat
    # After an I/O error a connection's cache may hold what the disk does not.
    fresh_after_error: bool = True


class SqlBackend:
    """Transactions on an engine.

    ``clock`` is the store's: given the open connection, seconds since the epoch.
    """

    def __init__(
        self,
        *,
        engine: sa.Engine,
        dialect: Dialect,
        clock: Callable[[sa.Connection], float],
        on_forget: Callable[[sa.Engine], None] = lambda _: None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._reading = engine.execution_options(**dialect.reading)
        self._writing = engine.execution_options(**dialect.writing)
        self._engine = engine
        self._dialect = dialect
        self._clock = clock
        self._on_forget = on_forget
        self._on_close = on_close

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        with self._transaction(self._writing, writes=True) as transaction:
            yield transaction

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        with self._transaction(self._reading, writes=False) as transaction:
            yield transaction

    def forget(self) -> None:
        self._on_forget(self._engine)

    def close(self) -> None:
        self._engine.dispose()
        self._on_close()

    @contextmanager
    def _transaction(self, engine: sa.Engine, *, writes: bool) -> Iterator[Transaction]:
        try:
            with engine.begin() as connection:
                transaction = SqlTransaction(
                    connection=connection,
                    clock=self._clock,
                    writes=writes,
                    dialect=self._dialect,
                )
                yield transaction
                transaction.finish()
        except SQLAlchemyError as problem:
            if self._dialect.overtaken(problem):
                raise Overtaken("another transaction was faster; try again") from problem
            if self._dialect.fresh_after_error:
                self._engine.dispose()
            raise StoreUnavailable("the review queue cannot be read or written") from problem


class SqlTransaction(SqlReads, SqlWebhooks):
    """One open transaction, reads and writes."""

    def __init__(
        self,
        *,
        connection: sa.Connection,
        clock: Callable[[sa.Connection], float],
        writes: bool,
        dialect: Dialect,
    ) -> None:
        super().__init__(connection=connection, clock=clock, writes=writes)
        self._dialect = dialect
        self._audit: list[AuditRow] = []
        self._decided: set[str] = set()  # tenants with new events

    def finish(self) -> None:
        """Write what was put off until the end."""
        self._write_audit()
        for tenant in sorted(self._decided):
            self._dialect.tell(self._connection, tenant)

    def audit(self, tenant: str, item_id: str) -> Sequence[AuditRow]:
        self._write_audit()
        return super().audit(tenant, item_id)

    def _write_audit(self) -> None:
        rows, self._audit = self._audit, []
        self._insert(t.audit, rows)

    def hold(self, tenant: str, names: Sequence[str]) -> None:
        if names:
            self._dialect.hold(self._connection, tenant, names)

    def add_items(self, rows: Sequence[ItemRow]) -> None:
        self._insert(t.item, rows)

    def add_submissions(self, rows: Sequence[SubmissionRow]) -> None:
        self._insert(t.submission, rows)

    def add_payloads(self, rows: Sequence[PayloadRow]) -> None:
        self._insert(t.submission_payload, rows)

    def change_payloads(self, rows: Sequence[PayloadRow]) -> None:
        payload = t.submission_payload.c
        for row in rows:
            self._connection.execute(
                sa.update(t.submission_payload)
                .where(payload.tenant == row.tenant, payload.request_id == row.request_id)
                .values(**columns_of(row))
            )

    def remove_evidence(self, tenant: str, sha256s: Sequence[str], *, at: float) -> None:
        evidence = t.evidence.c
        if sha256s:
            self._connection.execute(
                sa.update(t.evidence)
                .where(evidence.tenant == tenant, evidence.sha256.in_(sha256s))
                .where(evidence.removed_at.is_(None))
                .values(removed_at=at)
            )

    def drop_events(self, tenant: str, *, upto: int) -> None:
        event, counter = t.decision_event.c, t.event_position.c
        self._connection.execute(
            sa.delete(t.decision_event).where(event.tenant == tenant, event.position <= upto)
        )
        self._connection.execute(
            sa.update(t.event_position)
            .where(counter.tenant == tenant, counter.removed < upto)
            .values(removed=upto)
        )

    def put_evidence(self, rows: Sequence[EvidenceRow]) -> None:
        known: dict[tuple[str, str], EvidenceRow] = {}
        for tenant in {row.tenant for row in rows}:
            sha256s = [row.sha256 for row in rows if row.tenant == tenant]
            for found in self.evidence(tenant, sha256s).values():
                known[found.tenant, found.sha256] = found
        self._insert(t.evidence, [row for row in rows if (row.tenant, row.sha256) not in known])
        for row in rows:
            before = known.get((row.tenant, row.sha256))
            if before is not None and before.removed_at is not None:
                self._connection.execute(
                    sa.update(t.evidence)
                    .where(t.evidence.c.tenant == row.tenant, t.evidence.c.sha256 == row.sha256)
                    .values(stored_at=row.stored_at, removed_at=None)
                )

    def add_audit(self, rows: Sequence[AuditRow]) -> None:
        self._audit += rows

    def add_counts(self, counts: Sequence[AuditCount]) -> None:
        columns = t.audit_count.c
        for count in sorted(counts, key=_counted):
            key = [column == getattr(count, column.name) for column in t.audit_count.primary_key]
            added = self._connection.execute(
                sa.update(t.audit_count)
                .where(*key)
                .values(
                    uploads=columns.uploads + count.uploads, dropped=columns.dropped + count.dropped
                )
            )
            if not added.rowcount:
                self._insert(t.audit_count, [count])

    def add_decision(self, row: DecisionRow) -> None:
        self._insert(t.decision, [row])

    def add_claims(self, rows: Sequence[ClaimRow]) -> None:
        self._insert(t.claim, rows)

    def end_claim(self, tenant: str, token: str, *, at: float, cause: Cause) -> None:
        self._connection.execute(
            sa.update(t.claim)
            .where(t.claim.c.tenant == tenant, t.claim.c.token == token)
            .values(ended_at=at, ended_by=cause.value)
        )

    def drop_claims(self, *, ended_before: float) -> None:
        claim = t.claim.c
        old = (
            sa.select(claim.tenant, claim.token)
            .where(claim.ended_at < ended_before)
            .limit(DROP_CLAIMS_MAX)
            .with_for_update(skip_locked=True)
        )
        self._connection.execute(
            sa.delete(t.claim).where(sa.tuple_(claim.tenant, claim.token).in_(old))
        )

    def next_positions(self, tenant: str, count: int) -> int:
        # The counter's row stays locked until the commit, so that positions become visible
        # in their order; a sequence of the database would not promise that.
        counter = t.event_position.c
        moved = self._connection.execute(
            sa.update(t.event_position)
            .where(counter.tenant == tenant)
            .values(position=counter.position + count)
        )
        if not moved.rowcount:
            self._connection.execute(
                sa.insert(t.event_position).values(tenant=tenant, position=count, removed=0)
            )
            return 1
        query = sa.select(counter.position).where(counter.tenant == tenant)
        last: int = self._connection.execute(query).scalar_one()
        return last - count + 1

    def add_events(self, rows: Sequence[EventRow]) -> None:
        self._insert(t.decision_event, rows)
        self._decided |= {row.tenant for row in rows}

    def add_mark(self, name: str, value: str) -> None:
        self._connection.execute(sa.insert(t.secret).values(name=name, value=value))

    def change_item(self, before: ItemRow, after: ItemRow) -> bool:
        item = t.item.c
        changed = self._connection.execute(
            sa.update(t.item)
            .where(item.tenant == before.tenant, item.item_id == before.item_id)
            .where(item.state == before.state.value, item.version == before.version)
            .where(item.token.is_not_distinct_from(before.token))
            .values(**changed_columns(before, after))
        )
        return changed.rowcount == 1

    def _insert(self, table: sa.Table, rows: Iterable[Any]) -> None:
        values = [columns_of(row) for row in rows]
        if values:
            self._connection.execute(sa.insert(table), values)


def _counted(count: AuditCount) -> tuple[Any, ...]:
    """The key of what is counted: everybody takes the rows in its order."""
    return tuple(getattr(count, column.name) for column in t.audit_count.primary_key)
