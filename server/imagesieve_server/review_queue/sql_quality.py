"""In SQL: who has spoken on which item, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from imagesieve_server.core.review import Cause
from imagesieve_server.review_queue import schema as t
from imagesieve_server.review_queue.quality_rows import SaidAfter
from imagesieve_server.review_queue.rows import DecisionRow
from imagesieve_server.review_queue.sql_golden import SqlGolden
from imagesieve_server.review_queue.sql_rows import value_of


class SqlQuality(SqlGolden):
    """A part of a transaction in SQL."""

    _connection: sa.Connection

    def second_reviews(self, tenant: str | None) -> int:
        item, decision = t.item.c, t.decision.c
        spoken = sa.exists().where(
            decision.tenant == item.tenant,
            decision.item_id == item.item_id,
            decision.round == item.round,
            decision.tier == item.tier,
        )
        in_index = sa.text("item.state = 'READY' AND item.decisions > 0")
        query = sa.select(sa.func.count()).select_from(t.item).where(in_index, spoken)
        if tenant is not None:
            query = query.where(item.tenant == tenant)
        count: int = self._connection.execute(query).scalar_one()
        return count

    def said_between(
        self, tenant: str, *, since: float, until: float, after: SaidAfter | None, limit: int
    ) -> Sequence[DecisionRow]:
        decision = t.decision.c
        place = (decision.decided_at, decision.decision_id)
        query = (
            sa.select(t.decision)
            .where(decision.tenant == tenant, decision.token.is_not(None))
            .where(decision.decided_at >= since, decision.decided_at < until)
            .order_by(*place)
            .limit(limit)
        )
        if after is not None:
            query = query.where(decision.decided_at >= after[0])
            query = query.where(sa.tuple_(*place) > sa.tuple_(*after))
        found = self._connection.execute(query).mappings()
        return [value_of(DecisionRow, row) for row in found]


def barred(
    item: Any, *, reviewer: sa.BindParameter[str], since: sa.BindParameter[float]
) -> sa.Exists:
    """``review_rules.is_barred`` by one of the reviewer's words on the item of these columns.
    ``since``: ``OTHERS_FIRST_S`` ago."""
    decision = t.decision.c
    present = sa.and_(
        decision.round == item.round,
        sa.or_(decision.tier == item.tier, decision.decided_at > since),
    )
    contested = sa.and_(
        decision.round == item.round - 1,
        item.opened_by.in_((Cause.APPEAL.value, Cause.OVERTURN.value)),
        item.opened_at > since,
    )
    return sa.exists().where(
        decision.tenant == item.tenant,
        decision.item_id == item.item_id,
        decision.reviewer == reviewer,
        sa.or_(present, contested),
    )
