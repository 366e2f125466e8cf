"""How look-alikes are found and the closing of groups is kept, in SQL.

Everything runs along an index: a band's entries, a group's members by state, a close's items by
fate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from imagesieve_server.core.groups import OPEN_STATES, Fate
from imagesieve_server.core.near_duplicates import bands as bands_of
from imagesieve_server.core.review import State
from imagesieve_server.review_queue import schema as t
from imagesieve_server.review_queue import schema_groups as g
from imagesieve_server.review_queue.group_rows import (
    Counted,
    GroupCloseItemRow,
    GroupCloseRow,
    Member,
    PictureHashRow,
)
from imagesieve_server.review_queue.list_rows import Place
from imagesieve_server.review_queue.rows import ItemRow
from imagesieve_server.review_queue.sql_rows import columns_of, value_of


class SqlGroups:
    """A part of a transaction in SQL."""

    _connection: sa.Connection
    _writes: bool

    # --- look-alikes ---

    def hashes(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, PictureHashRow]:
        if not item_ids:
            return {}
        column = g.picture_hash.c
        query = sa.select(g.picture_hash).where(
            column.tenant == tenant, column.item_id.in_(item_ids)
        )
        found = self._connection.execute(query).mappings()
        return {row["item_id"]: value_of(PictureHashRow, row) for row in found}

    def filed_under(
        self, tenant: str, bands: Collection[int], *, limit: int
    ) -> Mapping[str, PictureHashRow]:
        if not bands:
            return {}
        entry, looks = g.hash_band.c, g.picture_hash.c
        # There are thousands: more than some databases take as parameters of their own.
        keys = entry.band.in_(
            sa.bindparam(None, sorted(bands), expanding=True, literal_execute=True)
        )
        filed = sa.select(entry.item_id).where(entry.tenant == tenant, keys).limit(limit).subquery()
        query = sa.select(g.picture_hash).where(
            looks.tenant == tenant, looks.item_id.in_(sa.select(filed.c.item_id))
        )
        found = self._connection.execute(query).mappings()
        return {row["item_id"]: value_of(PictureHashRow, row) for row in found}

    def latest_decided(self, tenant: str, group_id: str, *, limit: int) -> Sequence[str]:
        item = t.item.c
        query = (
            sa.select(item.item_id)
            .where(item.tenant == tenant, item.group_id == group_id)
            .where(item.state == State.DECIDED.value)
            .order_by(item.enqueued_at.desc(), item.item_id.desc())
            .limit(limit)
        )
        return self._connection.execute(query).scalars().all()

    def add_hashes(self, rows: Sequence[PictureHashRow]) -> None:
        if not rows:
            return
        self._connection.execute(sa.insert(g.picture_hash), [columns_of(row) for row in rows])
        entries = [
            {"tenant": row.tenant, "band": band, "item_id": row.item_id}
            for row in rows
            if row.filed
            for band in bands_of(row.bits)
        ]
        if entries:
            self._connection.execute(sa.insert(g.hash_band), entries)

    def change_hash(self, row: PictureHashRow) -> None:
        column = g.picture_hash.c
        self._connection.execute(
            sa.update(g.picture_hash)
            .where(column.tenant == row.tenant, column.item_id == row.item_id)
            .values(**columns_of(row))
        )

    def drop_hash(self, row: PictureHashRow) -> None:
        entry, looks = g.hash_band.c, g.picture_hash.c
        same = sa.and_(entry.tenant == row.tenant, entry.item_id == row.item_id)
        filed = entry.band.in_(bands_of(row.bits))
        self._connection.execute(sa.delete(g.hash_band).where(same, filed))
        self._connection.execute(
            sa.delete(g.picture_hash).where(
                looks.tenant == row.tenant, looks.item_id == row.item_id
            )
        )

    # --- groups ---

    def open_groups(self, tenant: str, *, look_at: int, limit: int) -> Sequence[str]:
        item = t.item.c
        counts: Counter[str] = Counter()
        for state in OPEN_STATES:
            seen = (
                sa.select(item.group_id)
                .where(item.tenant == tenant, item.state == state.value)
                .order_by(item.enqueued_at.desc(), item.item_id.desc())
                .limit(look_at)
                .subquery()
            )
            query = (
                sa.select(seen.c.group_id, sa.func.count())
                .where(seen.c.group_id.is_not(None))
                .group_by(seen.c.group_id)
            )
            for group_id, count in self._connection.execute(query):
                counts[group_id] += count
        large = [(-count, group_id) for group_id, count in counts.items() if count > 1]
        return [group_id for _, group_id in sorted(large)[:limit]]

    def counted(
        self, tenant: str, group_id: str, *, upto: Place | None = None
    ) -> Mapping[State, Counted]:
        item = t.item.c
        query = (
            sa.select(
                item.state,
                sa.func.count().label("count"),
                sa.cast(sa.func.sum(item.round), sa.BigInteger).label("rounds"),
                sa.func.min(item.enqueued_at).label("first_at"),
                sa.func.max(item.enqueued_at).label("last_at"),
            )
            .where(item.tenant == tenant, item.group_id == group_id)
            .group_by(item.state)
        )
        if upto is not None:
            query = query.where(sa.tuple_(item.enqueued_at, item.item_id) <= sa.tuple_(*upto))
        found = self._connection.execute(query).mappings()
        return {State(row["state"]): value_of(Counted, row) for row in found}

    def open_members(self, tenant: str, group_id: str, *, limit: int) -> Sequence[Member]:
        item = t.item.c
        names = (item.item_id, item.enqueued_at, item.round, item.tier)
        rows: list[Member] = []
        for state in OPEN_STATES:  # each a range of the index
            query = (
                sa.select(*names, item.reviews_needed, item.opened_by, item.category, item.verdict)
                .where(item.tenant == tenant, item.group_id == group_id)
                .where(item.state == state.value)
                .order_by(item.enqueued_at, item.item_id)
                .limit(limit)
            )
            found = self._connection.execute(query).mappings()
            rows += [value_of(Member, row) for row in found]
        return sorted(rows, key=lambda row: (row.enqueued_at, row.item_id))[:limit]

    def members(
        self, tenant: str, group_id: str, *, after: Place | None, limit: int
    ) -> Sequence[ItemRow]:
        item = t.item.c
        rows: list[ItemRow] = []
        for state in State:
            query = (
                sa.select(t.item)
                .where(item.tenant == tenant, item.group_id == group_id)
                .where(item.state == state.value)
                .order_by(item.enqueued_at, item.item_id)
                .limit(limit)
            )
            if after is not None:
                query = query.where(sa.tuple_(item.enqueued_at, item.item_id) > sa.tuple_(*after))
            found = self._connection.execute(query).mappings()
            rows += [value_of(ItemRow, row) for row in found]
        return sorted(rows, key=lambda row: (row.enqueued_at, row.item_id))[:limit]

    # --- closes ---

    def add_close(self, row: GroupCloseRow, items: Sequence[GroupCloseItemRow]) -> None:
        self._connection.execute(sa.insert(g.group_close).values(**columns_of(row)))
        if items:
            self._connection.execute(
                sa.insert(g.group_close_item), [columns_of(item) for item in items]
            )

    def close(self, tenant: str, close_id: str) -> GroupCloseRow | None:
        column = g.group_close.c
        query = sa.select(g.group_close).where(column.tenant == tenant, column.close_id == close_id)
        if self._writes:
            query = query.with_for_update()
        found = self._connection.execute(query).mappings().first()
        return None if found is None else value_of(GroupCloseRow, found)

    def closes_of(self, tenant: str, group_id: str, *, limit: int) -> Sequence[GroupCloseRow]:
        column = g.group_close.c
        query = (
            sa.select(g.group_close)
            .where(column.tenant == tenant, column.group_id == group_id)
            .order_by(column.ordered_at.desc(), column.close_id.desc())
            .limit(limit)
        )
        found = self._connection.execute(query).mappings()
        return [value_of(GroupCloseRow, row) for row in found]

    def unfinished_closes(self) -> Sequence[tuple[str, str]]:
        column = g.group_close.c
        query = (
            sa.select(column.tenant, column.close_id)
            .where(sa.text("progress IN ('CLOSING', 'UNDOING')"))
            .order_by(column.tenant, column.close_id)
        )
        return [(row.tenant, row.close_id) for row in self._connection.execute(query)]

    def close_items(
        self, tenant: str, close_id: str, fate: Fate, *, limit: int
    ) -> Sequence[GroupCloseItemRow]:
        column = g.group_close_item.c
        query = (
            sa.select(g.group_close_item)
            .where(column.tenant == tenant, column.close_id == close_id)
            .where(column.fate == fate.value)
            .order_by(column.item_id)
            .limit(limit)
        )
        found = self._connection.execute(query).mappings()
        return [value_of(GroupCloseItemRow, row) for row in found]

    def fates(self, tenant: str, close_id: str) -> Mapping[Fate, int]:
        column = g.group_close_item.c
        query = (
            sa.select(column.fate, sa.func.count())
            .where(column.tenant == tenant, column.close_id == close_id)
            .group_by(column.fate)
        )
        return {Fate(fate): count for fate, count in self._connection.execute(query)}

    def change_close(self, row: GroupCloseRow) -> None:
        column = g.group_close.c
        self._change(g.group_close, row, column.close_id == row.close_id)

    def change_close_item(self, row: GroupCloseItemRow) -> None:
        column = g.group_close_item.c
        same = sa.and_(column.close_id == row.close_id, column.item_id == row.item_id)
        self._change(g.group_close_item, row, same)

    def _change(self, table: sa.Table, row: Any, same: sa.ColumnElement[bool]) -> None:
        self._connection.execute(
            sa.update(table).where(table.c.tenant == row.tenant, same).values(**columns_of(row))
        )
