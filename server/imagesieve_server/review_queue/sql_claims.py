"""How the next item to review is found in SQL, whatever waits before and behind it.

READY items stand in lanes: those that nobody has spoken on yet, and for each reviewer those whose
last word is this reviewer's. An index has each lane by rank, another one each category of a lane,
so that the head of every lane and category is one probe. Without lanes a reviewer's claim would
walk over all that this reviewer has reviewed and another person is still to review.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from imagesieve_server.core.review import State
from imagesieve_server.core.review_rules import OTHERS_FIRST_S
from imagesieve_server.review_queue import schema as t
from imagesieve_server.review_queue.rows import ItemRow
from imagesieve_server.review_queue.sql_golden import is_real_or_for
from imagesieve_server.review_queue.sql_lists import SqlLists
from imagesieve_server.review_queue.sql_quality import barred

LOOK_AT = 200
"""Items of a reviewer's lane that are looked at for one that may be claimed. More than these can
be barred in the claimer's own lane only, and wait for others in any case."""
_JUDGED = (
    "tenant",
    "item_id",
    "rank",
    "decisions",
    "round",
    "tier",
    "opened_by",
    "opened_at",
    "golden_of",
)
"""Columns that ``_allowed`` and the order by rank need."""


class SqlClaims(SqlLists):
    """A part of a transaction in SQL."""

    now: Callable[[], float]

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
        wanted = sorted(set(categories))
        values: dict[str, Any] = {
            "tenant": tenant,
            "tier": tier,
            "reviewer": reviewer,
            "excluding": sorted(set(excluding)),
            "look_at": LOOK_AT + len(excluding),
            "since": self.now() - OTHERS_FIRST_S,
            **{f"category_{n}": name for n, name in enumerate(wanted)},
        }
        if item_id:
            return self._taken(
                _named(bool(wanted)), {**values, "item_id": item_id, "wanted": wanted}
            )
        # Others may have locked a head, or all that is behind it, since it was seen.
        for head in self._connection.execute(_heads(len(wanted)), values).mappings().all():
            found = self._taken(_behind(bool(wanted)), {**values, **head})
            if found is not None:
                return found
        return None

    def _taken(self, query: sa.Select[Any], values: Mapping[str, Any]) -> ItemRow | None:
        """The first row that no other transaction has locked, locked."""
        locked = query.with_for_update(skip_locked=True, key_share=True, of=t.item)
        return next(iter(self._items(locked, values)), None)


@lru_cache(maxsize=256)  # of small numbers; to write a query costs more than to run it
def _heads(categories: int) -> sa.Select[Any]:
    """The head of each lane, and of each of so many categories: rank, lane and category, the first
    by rank first."""
    lanes, head = _lanes(), t.item.alias("head")
    source: sa.FromClause = lanes
    category: sa.ColumnElement[str] | None = None
    if categories:
        names = [_given(f"category_{n}").label("name") for n in range(categories)]
        wanted = sa.union_all(*(sa.select(name) for name in names)).cte("wanted")
        source, category = lanes.join(wanted, sa.true()), wanted.c.name
    found = (
        sa.select(
            _head(source, lanes.c.name, category).label("item_id"),
            lanes.c.name.label("lane"),
            (sa.literal("") if category is None else category).label("category"),
        )
        .select_from(source)
        .where(lanes.c.name.is_not(None))
        .cte("heads")
        .prefix_with("MATERIALIZED")  # or each head is looked for again wherever it is named
    )
    # Not joined: what a planner makes of a few rows that it takes for many is a look at all.
    rank = (
        sa.select(head.c.rank)
        .where(head.c.tenant == _given("tenant"), head.c.item_id == found.c.item_id)
        .scalar_subquery()
    )
    return (
        sa.select(rank.label("rank"), found.c.lane, found.c.category)
        .where(found.c.item_id.is_not(None))
        .order_by(sa.text("rank"), found.c.item_id)
    )


def _lanes() -> sa.CTE:
    """The names of the lanes, each found by one step along the index: that of what nobody has
    spoken on, whether or not there is any, and those of reviewers. NULL ends them."""
    lanes = sa.select(sa.literal("", sa.Text).label("name")).cte("lanes", recursive=True)
    item = t.item.alias("step").c
    following = (
        sa.select(sa.func.min(item.spoken_by))
        .where(_ready(item), item.spoken_by > lanes.c.name)
        .scalar_subquery()
        .correlate(lanes)
    )
    return lanes.union_all(sa.select(following).where(lanes.c.name.is_not(None)))


def _head(
    source: sa.FromClause, lane: sa.ColumnElement[str], category: sa.ColumnElement[str] | None
) -> sa.ColumnElement[str]:
    """The item_id of the first item of a lane that this reviewer may claim."""
    outer = _parts(source)  # stand outside, although the lane and category are named inside
    item, seen = t.item.alias("fresh").c, t.item.alias("seen").c
    fresh = _allowed(_in_lane(sa.select(item.item_id), item, lane, category), item)
    looked_at = _in_lane(sa.select(*(seen[name] for name in _JUDGED)), seen, lane, category)
    looked_at = looked_at.limit(sa.bindparam("look_at", type_=sa.Integer))
    some = looked_at.correlate(*outer).subquery("some").c
    spoken = _allowed(sa.select(some.item_id), some).order_by(some.rank, some.item_id)
    return sa.case(
        (lane == "", fresh.limit(1).correlate(*outer).scalar_subquery()),
        else_=spoken.limit(1).scalar_subquery(),
    )


def _parts(source: sa.FromClause) -> tuple[sa.FromClause, ...]:
    return (source.left, source.right) if isinstance(source, sa.Join) else (source,)


@lru_cache(maxsize=2)
def _behind(categories: bool) -> sa.Select[Any]:
    """A lane's items from its head on, which is where dead entries of the index end."""
    item = t.item.c
    query = _in_lane(
        sa.select(t.item), item, _given("lane"), _given("category") if categories else None
    )
    query = query.where(item.rank >= sa.bindparam("rank", type_=sa.Double))
    return _allowed(query, item).limit(1)


@lru_cache(maxsize=2)
def _named(categories: bool) -> sa.Select[Any]:
    """The item of that id, if it may be claimed."""
    item = t.item.c
    query = _allowed(sa.select(t.item).where(_ready(item)), item)
    if categories:
        query = query.where(item.category.in_(sa.bindparam("wanted", expanding=True)))
    return query.where(item.item_id == _given("item_id"))


def _in_lane(
    query: sa.Select[Any],
    item: Any,
    lane: sa.ColumnElement[str],
    category: sa.ColumnElement[str] | None,
) -> sa.Select[Any]:
    query = query.where(_ready(item), item.spoken_by == lane)
    if category is not None:
        query = query.where(item.category == category)
    return query.order_by(item.rank, item.item_id)


def _ready(item: Any) -> sa.ColumnElement[bool]:
    # The state stands in the text: only then is it known that a partial index serves.
    return sa.and_(
        item.tenant == _given("tenant"),
        item.state == sa.literal_column(f"'{State.READY.value}'", sa.Text),
        item.tier == sa.bindparam("tier", type_=sa.Integer),
    )


def _allowed(query: sa.Select[Any], item: Any) -> sa.Select[Any]:
    """Without what this reviewer skips or is barred from, and without golden copies for others."""
    skipped = item.item_id.in_(sa.bindparam("excluding", expanding=True))
    since = sa.bindparam("since", type_=sa.Double)
    judged = barred(item, reviewer=_given("reviewer"), since=since)
    mine = is_real_or_for(item, reviewer=_given("reviewer"))
    return query.where(~skipped, mine, sa.or_(item.decisions == 0, ~judged))


def _given(name: str) -> sa.BindParameter[str]:
    return sa.bindparam(name, type_=sa.Text)
