"""How a page of items is found in SQL: along one index, with a bound on what is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from imagesieve_server.review_queue import schema as t
from imagesieve_server.review_queue.list_rows import Found, Wanted
from imagesieve_server.review_queue.rows import ItemRow
from imagesieve_server.review_queue.sql_rows import value_of


class SqlLists:
    """A part of a transaction in SQL."""

    _connection: sa.Connection

    def page(self, wanted: Wanted) -> Found:
        item = t.item.c
        among = _in_range(sa.select(t.item), wanted).order_by(item.enqueued_at, item.item_id)
        if not wanted.picks:
            return Found(rows=self._items(among.limit(wanted.limit)))
        # What is looked at is cut before it is picked from: a rare kind costs no more than that.
        seen = among.limit(wanted.look_at).subquery()
        query = _picked(seen, wanted).order_by(seen.c.enqueued_at, seen.c.item_id)
        rows = self._items(query.limit(wanted.limit))
        if len(rows) == wanted.limit:
            return Found(rows=rows)
        place = sa.select(item.enqueued_at, item.item_id)
        place = _in_range(place, wanted).order_by(item.enqueued_at, item.item_id)
        last = self._connection.execute(place.limit(1).offset(wanted.look_at - 1)).first()
        return Found(rows=rows, reached=None if last is None else (last.enqueued_at, last.item_id))

    def _items(
        self, query: sa.Select[Any], values: Mapping[str, Any] | None = None
    ) -> list[ItemRow]:
        return [
            value_of(ItemRow, row) for row in self._connection.execute(query, values).mappings()
        ]


def _in_range(query: sa.Select[Any], wanted: Wanted) -> sa.Select[Any]:
    item = t.item.c
    query = query.where(item.tenant == wanted.tenant, item.state == wanted.state.value)
    if wanted.since is not None:
        query = query.where(item.enqueued_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(item.enqueued_at <= wanted.until)
    if wanted.after is not None:
        place = sa.tuple_(item.enqueued_at, item.item_id)
        query = query.where(place > sa.tuple_(*wanted.after))
    return query


def _picked(seen: sa.Subquery, wanted: Wanted) -> sa.Select[Any]:
    query = sa.select(seen)
    if wanted.category:
        query = query.where(seen.c.category == wanted.category)
    if wanted.reason_bit:
        query = query.where(seen.c.reason_bits.bitwise_and(wanted.reason_bit) != 0)
    if wanted.told_only:
        query = query.where(seen.c.blind.is_(sa.false()))
    return query
