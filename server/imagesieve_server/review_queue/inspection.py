"""A look at the whole queue beside the servers that work on it, for checks and exports.

Items come in pages with all that belongs to them, each page in a transaction of its own that sees
one moment; nothing is locked and nothing written. Knows tables, no rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from imagesieve_server.core.errors import StoreNotUsable
from imagesieve_server.review_queue import schema as t
from imagesieve_server.review_queue.migrations import require_usable
from imagesieve_server.review_queue.rows import (
    DecisionRow,
    EvidenceRow,
    ItemRow,
    PayloadRow,
    SubmissionRow,
)
from imagesieve_server.review_queue.sql_reads import SqlReads
from imagesieve_server.review_queue.sql_rows import value_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One submission of an item, with what came with it."""

    submission: SubmissionRow
    payload: PayloadRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An item and all that belongs to it, as of one moment."""

    item: ItemRow
    decisions: tuple[DecisionRow, ...]
    evidence: EvidenceRow | None
    uploads: tuple[Upload, ...]  # by time


class Inspection:
    """Reads one database. ``place`` names it in messages; ``tenant`` "" is all of them.

    Raises StoreNotUsable, as every method does, where it is not of this release or not readable.
    """

    def __init__(self, *, engine: sa.Engine, place: str, tenant: str = "", page: int = 500) -> None:
        self._engine = engine
        self._place = place
        self._tenant = tenant
        self._page = page
        try:
            with engine.connect() as connection:
                require_usable(connection)
        except SQLAlchemyError as problem:
            raise self._unusable(problem) from problem

    def items(self) -> Iterator[Whole]:
        """Every item, by tenant and item_id."""
        after = ("", "")
        while page := self._read(after):
            yield from page
            after = (page[-1].item.tenant, page[-1].item.item_id)

    def read(self, work: Callable[[SqlReads], T]) -> T:
        """Do some reads that see one moment."""
        try:
            with self._engine.connect() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN")  # else each statement sees its own moment
                return work(SqlReads(connection=connection, clock=lambda _: 0.0, writes=False))
        except SQLAlchemyError as problem:
            raise self._unusable(problem) from problem

    def close(self) -> None:
        self._engine.dispose()

    def _read(self, after: tuple[str, str]) -> list[Whole]:
        item = t.item.c
        query = sa.select(t.item).where(sa.tuple_(item.tenant, item.item_id) > sa.tuple_(*after))
        if self._tenant:
            query = query.where(item.tenant == self._tenant)
        query = query.order_by(item.tenant, item.item_id).limit(self._page)
        try:
            with self._engine.connect() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN")  # else each statement sees its own moment
                found = connection.execute(query).mappings().all()
                rows = [value_of(ItemRow, row) for row in found]
                whole: list[Whole] = []
                for tenant in sorted({row.tenant for row in rows}):
                    whole += _whole(connection, tenant, [r for r in rows if r.tenant == tenant])
                return whole
        except SQLAlchemyError as problem:
            raise self._unusable(problem) from problem

    def _unusable(self, problem: SQLAlchemyError) -> StoreNotUsable:
        said = getattr(problem, "orig", None) or problem
        return StoreNotUsable(f"the database {self._place} cannot be read: {said}")


def _whole(connection: sa.Connection, tenant: str, rows: Sequence[ItemRow]) -> list[Whole]:
    tx = SqlReads(connection=connection, clock=lambda _: 0.0, writes=False)
    ids = [row.item_id for row in rows]
    decisions: dict[str, list[DecisionRow]] = {item_id: [] for item_id in ids}
    for decision in tx.decisions(tenant, ids):
        decisions[decision.item_id].append(decision)
    evidence = tx.evidence(tenant, sorted({row.sha256 for row in rows}))
    uploads = _uploads(connection, tenant, ids)
    return [
        Whole(
            item=row,
            decisions=tuple(decisions[row.item_id]),
            evidence=evidence.get(row.sha256),
            uploads=tuple(uploads.get(row.item_id, ())),
        )
        for row in rows
    ]


def _uploads(
    connection: sa.Connection, tenant: str, item_ids: Sequence[str]
) -> Mapping[str, Sequence[Upload]]:
    s, p = t.submission, t.submission_payload
    same = sa.and_(s.c.tenant == p.c.tenant, s.c.request_id == p.c.request_id)
    further = [column.label(f"payload_{column.name}") for column in p.c]
    query = (
        sa.select(s, *further)
        .select_from(s.join(p, same))
        .where(s.c.tenant == tenant, s.c.item_id.in_(item_ids))
        .order_by(s.c.received_at, s.c.request_id)
    )
    found: dict[str, list[Upload]] = {}
    for row in connection.execute(query).mappings():
        payload: Any = {column.name: row[f"payload_{column.name}"] for column in p.c}
        upload = Upload(
            submission=value_of(SubmissionRow, row), payload=value_of(PayloadRow, payload)
        )
        found.setdefault(upload.submission.item_id, []).append(upload)
    return found
