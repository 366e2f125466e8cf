"""Figures in SQL: counted by the database, along an index, over a span or so many rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from imagesieve_server.core.review import Outcome, State
from imagesieve_server.core.review_figures import (
    DUE_SOON_S,
    DecidedCount,
    JudgedCount,
    TakenCount,
    WaitingCount,
)
from imagesieve_server.review_queue import schema as t


class SqlFigures:
    """A part of a transaction in SQL."""

    _connection: sa.Connection

    def waiting_counts(self, tenant: str, *, now: float, look_at: int) -> Sequence[WaitingCount]:
        item = t.item.c
        ready = (
            sa.select(item.category, item.blind, item.opened_at, item.due_at)
            .where(item.tenant == tenant, item.state == State.READY.value)
            .order_by(item.enqueued_at, item.item_id)
            .limit(look_at)
            .subquery()
        )
        told = ready.c.blind.is_(sa.false())
        soon = sa.and_(told, ready.c.due_at >= now, ready.c.due_at < now + DUE_SOON_S)
        query = sa.select(
            ready.c.category,
            sa.func.count().label("items"),
            _many(told).label("told"),
            _many(sa.and_(told, ready.c.due_at < now)).label("overdue"),
            _many(soon).label("due_soon"),
            sa.func.min(sa.case((told, ready.c.opened_at))).label("oldest_at"),
        )
        query = query.group_by(ready.c.category).order_by(ready.c.category)
        return [WaitingCount(**row) for row in self._connection.execute(query).mappings()]

    def decided_counts(self, tenant: str, *, since: float, until: float) -> Sequence[DecidedCount]:
        decision = t.decision.c
        query = (
            sa.select(decision.reviewer, decision.outcome, sa.func.count().label("many"))
            .where(*_with_token(tenant, since, until))
            .group_by(decision.reviewer, decision.outcome)
            .order_by(decision.reviewer, decision.outcome)
        )
        return [
            DecidedCount(reviewer=row.reviewer, outcome=Outcome(row.outcome), decisions=row.many)
            for row in self._connection.execute(query)
        ]

    def judged_counts(
        self, tenant: str, *, since: float, until: float, look_at: int
    ) -> tuple[Sequence[JudgedCount], int]:
        item, decision = t.item.c, t.decision.c
        # The state and time of the item tell which of its decisions is in effect, if any is.
        in_effect = sa.and_(
            decision.effective.is_(sa.true()),
            item.state.in_((State.DECIDED.value, State.EXPIRED.value)),
            item.decided_at == decision.decided_at,
        )
        real = sa.and_(item.audit.is_(sa.false()), item.golden_of.is_(None))
        counts = sa.and_(in_effect, real, item.category != "")
        same = sa.and_(decision.tenant == item.tenant, decision.item_id == item.item_id)
        seen = (
            sa.select(
                item.category,
                decision.outcome,
                sa.cast(decision.labels, sa.Text).label("labels"),
                counts.label("counts"),
            )
            .select_from(t.decision.join(t.item, same))
            .where(*_with_token(tenant, since, until))
            .order_by(decision.decided_at.desc())
            .limit(look_at)
            .subquery()
        )
        key = (seen.c.category, seen.c.outcome, seen.c.labels, seen.c.counts)
        query = sa.select(*key, sa.func.count().label("items")).group_by(*key)
        found: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
        looked_at = 0
        for row in self._connection.execute(query):
            looked_at += row.items
            if row.counts:
                labels = tuple(sorted(json.loads(row.labels)))
                found[row.category, row.outcome, labels] += row.items
        return [
            JudgedCount(category=category, outcome=Outcome(outcome), labels=labels, items=items)
            for (category, outcome, labels), items in sorted(found.items())
        ], looked_at

    def takers(self, tenant: str, *, since: float) -> Sequence[str]:
        claim = t.claim.c
        query = (
            sa.select(claim.reviewer)
            .distinct()
            .where(claim.tenant == tenant, claim.claimed_at >= since)
        )
        return self._connection.execute(query.order_by(claim.reviewer)).scalars().all()

    def taken_counts(self, tenant: str, *, since: float, reviewer: str) -> Sequence[TakenCount]:
        item, claim = t.item.c, t.claim.c
        same = sa.and_(claim.tenant == item.tenant, claim.item_id == item.item_id)
        query = (
            sa.select(item.severity, sa.func.count(claim.item_id.distinct()).label("items"))
            .select_from(t.claim.join(t.item, same))
            .where(claim.tenant == tenant, claim.reviewer == reviewer, claim.claimed_at >= since)
            .group_by(item.severity)
            .order_by(item.severity)
        )
        found = self._connection.execute(query)
        return [TakenCount(reviewer=reviewer, severity=s, items=items) for s, items in found]


def _many(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.count(sa.case((condition, 1)))


def _with_token(tenant: str, since: float, until: float) -> tuple[sa.ColumnElement[bool], ...]:
    decision = t.decision.c
    return (
        decision.tenant == tenant,
        decision.token.is_not(None),
        decision.decided_at >= since,
        decision.decided_at < until,
    )
