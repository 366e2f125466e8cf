"""Figures over the memory store's dictionaries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from imagesieve_server.core.review import Outcome, State
from imagesieve_server.core.review_figures import (
    DUE_SOON_S,
    DecidedCount,
    JudgedCount,
    TakenCount,
    WaitingCount,
)
from imagesieve_server.review_queue.memory_tables import Tables, place_of
from imagesieve_server.review_queue.rows import DecisionRow, ItemRow


class MemoryFigures:
    """A part of the memory store's transaction."""

    _t: Tables

    def waiting_counts(self, tenant: str, *, now: float, look_at: int) -> Sequence[WaitingCount]:
        ready = [
            row
            for row in self._t.items.values()
            if row.tenant == tenant and row.state is State.READY
        ]
        groups: dict[str, list[ItemRow]] = defaultdict(list)
        for row in sorted(ready, key=place_of)[:look_at]:
            groups[row.category].append(row)
        return [_waiting(category, groups[category], now) for category in sorted(groups)]

    def decided_counts(self, tenant: str, *, since: float, until: float) -> Sequence[DecidedCount]:
        found = Counter(
            (row.reviewer, row.outcome) for row in self._with_token(tenant, since, until)
        )
        return [
            DecidedCount(reviewer=reviewer, outcome=outcome, decisions=many)
            for (reviewer, outcome), many in sorted(found.items())
        ]

    def judged_counts(
        self, tenant: str, *, since: float, until: float, look_at: int
    ) -> tuple[Sequence[JudgedCount], int]:
        rows = sorted(
            self._with_token(tenant, since, until), key=lambda row: row.decided_at, reverse=True
        )[:look_at]
        found: Counter[tuple[str, Outcome, tuple[str, ...]]] = Counter()
        for row in rows:
            item = self._t.items[tenant, row.item_id]
            settled = item.state in (State.DECIDED, State.EXPIRED)
            in_effect = row.effective and settled and item.decided_at == row.decided_at
            real = not item.audit and item.golden_of is None
            if in_effect and real and item.category:
                found[item.category, row.outcome, tuple(sorted(row.labels))] += 1
        return [
            JudgedCount(category=category, outcome=outcome, labels=labels, items=items)
            for (category, outcome, labels), items in sorted(found.items())
        ], len(rows)

    def takers(self, tenant: str, *, since: float) -> Sequence[str]:
        claims = self._t.claims.values()
        return sorted({c.reviewer for c in claims if c.tenant == tenant and c.claimed_at >= since})

    def taken_counts(self, tenant: str, *, since: float, reviewer: str) -> Sequence[TakenCount]:
        taken = {
            row.item_id
            for row in self._t.claims.values()
            if (row.tenant, row.reviewer) == (tenant, reviewer) and row.claimed_at >= since
        }
        found = Counter(self._t.items[tenant, item_id].severity for item_id in taken)
        return [
            TakenCount(reviewer=reviewer, severity=severity, items=items)
            for severity, items in sorted(found.items())
        ]

    def _with_token(self, tenant: str, since: float, until: float) -> Iterator[DecisionRow]:
        for (owner, _), rows in self._t.decisions.items():
            for row in rows:
                if owner == tenant and row.token is not None and since <= row.decided_at < until:
                    yield row


def _waiting(category: str, rows: Sequence[ItemRow], now: float) -> WaitingCount:
    told = [row for row in rows if not row.blind]
    return WaitingCount(
        category=category,
        items=len(rows),
        told=len(told),
        overdue=sum(row.due_at < now for row in told),
        due_soon=sum(now <= row.due_at < now + DUE_SOON_S for row in told),
        oldest_at=min((row.opened_at for row in told), default=None),
    )
