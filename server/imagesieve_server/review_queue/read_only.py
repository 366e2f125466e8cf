"""A look at a queue's database beside the servers that write it: reads only, a page at a time.

Every page is a statement of its own, so that a commit in SQLite waits for milliseconds at most;
the pages together are therefore not one moment's state. Knows tables and pages, no rule.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from imagesieve_server.core.errors import StoreNotUsable
from imagesieve_server.core.review import AuditCount
from imagesieve_server.review_queue import schema as t
from imagesieve_server.review_queue.migrations import require_usable
from imagesieve_server.review_queue.rows import DecisionRow, ItemRow, SubmissionRow
from imagesieve_server.review_queue.sql_rows import value_of


class QueueReader:
    """Rows of one database. Every method raises StoreNotUsable where it cannot be read.

    ``engine`` is closed with the reader; ``place`` names it to people. ``page`` rows are read at
    once; ``tenant`` "" is all of them.
    """

    def __init__(
        self, *, engine: sa.Engine, place: str, tenant: str = "", page: int = 2000
    ) -> None:
        self._place = place
        self._tenant = tenant
        self._page = page
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        try:
            with self._engine.connect() as connection:
                require_usable(connection)
        except SQLAlchemyError as problem:
            raise self._unusable(problem) from problem

    def submissions(self, *, policy: str = "") -> Iterator[tuple[SubmissionRow, str]]:
        """Each with its stored answer (JSON)."""
        s, p = t.submission, t.submission_payload
        same = sa.and_(s.c.tenant == p.c.tenant, s.c.request_id == p.c.request_id)
        query = sa.select(s, p.c.answer).select_from(s.join(p, same))
        if policy:
            query = query.where(s.c.policy == policy)
        for row in self._rows(s, query):
            yield value_of(SubmissionRow, row), row["answer"]

    def items(self) -> Iterator[ItemRow]:
        for row in self._rows(t.item, sa.select(t.item)):
            yield value_of(ItemRow, row)

    def decisions(self) -> Iterator[DecisionRow]:
        """By item, in the order they were made."""
        for row in self._rows(t.decision, sa.select(t.decision)):
            yield value_of(DecisionRow, row)

    def counts(self, *, policy: str = "") -> Iterator[AuditCount]:
        query = sa.select(t.audit_count)
        if policy:
            query = query.where(t.audit_count.c.policy == policy)
        for row in self._rows(t.audit_count, query):
            yield value_of(AuditCount, row)

    def close(self) -> None:
        self._engine.dispose()

    def _rows(self, table: sa.Table, query: sa.Select[Any]) -> Iterator[sa.RowMapping]:
        key = list(table.primary_key)
        if self._tenant:
            query = query.where(table.c.tenant == self._tenant)
        query = query.order_by(*key).limit(self._page)
        rows = self._fetch(query)
        while rows:
            yield from rows
            after = [rows[-1][column.name] for column in key]
            rows = self._fetch(query.where(sa.tuple_(*key) > sa.tuple_(*after)))

    def _fetch(self, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        try:
            with self._engine.connect() as connection:
                return connection.execute(query).mappings().all()
        except SQLAlchemyError as problem:
            raise self._unusable(problem) from problem

    def _unusable(self, problem: SQLAlchemyError) -> StoreNotUsable:
        said = getattr(problem, "orig", None) or problem
        return StoreNotUsable(f"the database {self._place} cannot be read: {str(said).strip()}")


def sqlite_reader(*, path: Path, tenant: str = "", page: int = 2000) -> QueueReader:
    """A reader of a file, which is not made where it is missing. Raises StoreNotUsable."""
    engine = read_only_engine(path)
    return QueueReader(engine=engine, place=str(path), tenant=tenant, page=page)


def read_only_engine(path: Path) -> sa.Engine:
    """Connections that cannot write to the file, nor make it."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    return sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, timeout=5.0)
    )
