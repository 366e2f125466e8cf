"""A look at an SQLite queue beside the server that writes it: reads only, a page at a time.

Every page is a statement of its own, so that a commit waits for milliseconds at most; the pages
together are therefore not one moment's state. Knows tables and pages, no rule.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from imagesieve_server.core.errors import StoreNotUsable
from imagesieve_server.core.review import AuditCount
from imagesieve_server.review_queue import schema as t
from imagesieve_server.review_queue.migrations import require_current
from imagesieve_server.review_queue.rows import DecisionRow, ItemRow, SubmissionRow
from imagesieve_server.review_queue.sql_rows import value_of

R = TypeVar("R")
_ROW = "at_row"


class QueueReader:
    """Rows of one database. Every method raises StoreNotUsable where it cannot be read.

    ``page`` rows are read at once; ``tenant`` "" is all of them.
    """

    def __init__(self, *, path: Path, tenant: str = "", page: int = 2000) -> None:
        self._path = path
        self._tenant = tenant
        self._page = page
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        self._engine = sa.create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, timeout=5.0)
        )
        try:
            with self._engine.connect() as connection:
                require_current(connection)
        except SQLAlchemyError as problem:
            raise self._unusable(problem) from problem

    def submissions(self, *, policy: str = "") -> Iterator[tuple[SubmissionRow, str]]:
        """Each with its stored answer (JSON), in the order they were kept."""
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
        """By item in the order they were made; of different items in any order."""
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
        place: sa.Label[int] = sa.literal_column(f"{table.name}.rowid", sa.Integer).label(_ROW)
        if self._tenant:
            query = query.where(table.c.tenant == self._tenant)
        query = query.add_columns(place).order_by(place).limit(self._page)
        after = -1
        while rows := self._fetch(query.where(place > after)):
            yield from rows
            after = rows[-1][_ROW]

    def _fetch(self, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        try:
            with self._engine.connect() as connection:
                return connection.execute(query).mappings().all()
        except SQLAlchemyError as problem:
            raise self._unusable(problem) from problem

    def _unusable(self, problem: SQLAlchemyError) -> StoreNotUsable:
        said = getattr(problem, "orig", None) or problem
        return StoreNotUsable(f"the database {self._path} cannot be read: {said}")
