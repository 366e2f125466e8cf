"""Golden items in SQL; a part of a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from imagesieve_server.core.review import State
from imagesieve_server.review_queue import schema as t
from imagesieve_server.review_queue.golden_rows import GoldenCopyRow, GoldenRow
from imagesieve_server.review_queue.rows import ItemRow
from imagesieve_server.review_queue.schema_golden import golden, golden_copy
from imagesieve_server.review_queue.sql_rows import columns_of, value_of


class SqlGolden:
    """One open transaction, its golden items."""

    _connection: sa.Connection

    def goldens(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, GoldenRow]:
        if not item_ids:
            return {}
        query = sa.select(golden).where(golden.c.tenant == tenant, golden.c.item_id.in_(item_ids))
        return {row.item_id: row for row in self._goldens(query)}

    def golden_list(self, tenant: str, *, limit: int) -> Sequence[GoldenRow]:
        query = sa.select(golden).where(golden.c.tenant == tenant, golden.c.ended_at.is_(None))
        return self._goldens(query.order_by(golden.c.marked_at, golden.c.item_id).limit(limit))

    def golden_given(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, int]:
        if not item_ids:
            return {}
        copy = golden_copy.c
        query = (
            sa.select(copy.golden_id, sa.func.count().label("copies"))
            .where(copy.tenant == tenant, copy.golden_id.in_(item_ids))
            .group_by(copy.golden_id)
        )
        return {row.golden_id: row.copies for row in self._connection.execute(query)}

    def golden_copies(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, GoldenCopyRow]:
        if not item_ids:
            return {}
        copy = golden_copy.c
        query = sa.select(golden_copy).where(copy.tenant == tenant, copy.item_id.in_(item_ids))
        found = self._connection.execute(query).mappings()
        return {row["item_id"]: value_of(GoldenCopyRow, row) for row in found}

    def open_copies(self, tenant: str | None) -> Mapping[State, int]:
        counts: dict[State, int] = {}
        for state in (State.READY, State.LEASED):  # few rows each, along an index; none is parked
            query = sa.select(sa.func.count()).where(
                sa.text(f"item.golden_of IS NOT NULL AND item.state = '{state.value}'")
            )
            query = query.select_from(t.item)
            if tenant is not None:
                query = query.where(t.item.c.tenant == tenant)
            counts[state] = self._connection.execute(query).scalar_one()
        return counts

    def goldens_for(
        self, tenant: str, *, reviewer: str, categories: Sequence[str], since: float, limit: int
    ) -> Sequence[ItemRow]:
        item, decision, copy = t.item.c, t.decision.c, golden_copy.c
        spoke = sa.exists().where(
            decision.tenant == item.tenant,
            decision.item_id == item.item_id,
            decision.reviewer == reviewer,
        )
        had = sa.exists().where(
            copy.tenant == tenant,
            copy.golden_id == item.item_id,
            copy.reviewer == reviewer,
            copy.given_at > since,
        )
        same = sa.and_(golden.c.tenant == item.tenant, golden.c.item_id == item.item_id)
        query = (
            sa.select(t.item)
            .select_from(golden.join(t.item, same))
            .where(golden.c.tenant == tenant, golden.c.ended_at.is_(None))
            .where(golden.c.marked_by != reviewer, item.state == State.DECIDED.value)
            .where(~spoke, ~had)
            .order_by(item.item_id)
            .limit(limit)
        )
        if categories:
            query = query.where(item.category.in_(categories))
        return self._items(query)

    def golden_waiting(self, tenant: str | None, *, before: float) -> Sequence[ItemRow]:
        item, copy = t.item.c, golden_copy.c
        same = sa.and_(copy.tenant == item.tenant, copy.item_id == item.item_id)
        query = (
            sa.select(t.item)
            .select_from(t.item.join(golden_copy, same))
            .where(sa.text("item.golden_of IS NOT NULL AND item.state = 'READY'"))
            .where(copy.given_at < before)
            .with_for_update(skip_locked=True, of=t.item)
        )
        if tenant is not None:
            query = query.where(item.tenant == tenant)
        return self._items(query)

    def add_golden(self, row: GoldenRow) -> None:
        self._connection.execute(sa.insert(golden).values(**columns_of(row)))

    def change_golden(self, row: GoldenRow) -> None:
        self._connection.execute(
            sa.update(golden)
            .where(golden.c.tenant == row.tenant, golden.c.item_id == row.item_id)
            .values(**columns_of(row))
        )

    def add_golden_copy(self, row: GoldenCopyRow) -> None:
        self._connection.execute(sa.insert(golden_copy).values(**columns_of(row)))

    def is_golden(self) -> sa.Exists:
        """Of ``item``: it is marked, so that its picture is needed."""
        return sa.exists().where(
            golden.c.tenant == t.item.c.tenant,
            golden.c.item_id == t.item.c.item_id,
            golden.c.ended_at.is_(None),
        )

    def _goldens(self, query: sa.Select[tuple[object, ...]]) -> list[GoldenRow]:
        found = self._connection.execute(query).mappings()
        return [value_of(GoldenRow, row) for row in found]

    def _items(self, query: sa.Select[tuple[object, ...]]) -> list[ItemRow]:
        found = self._connection.execute(query).mappings()
        return [value_of(ItemRow, row) for row in found]


def is_real_or_for(item: Any, *, reviewer: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """No copy, or one that was made for this person. ``item`` has the columns tenant, item_id and
    golden_of."""
    copy = golden_copy.c
    made_for = sa.exists().where(
        copy.tenant == item.tenant, copy.item_id == item.item_id, copy.reviewer == reviewer
    )
    return sa.or_(item.golden_of.is_(None), made_for)
