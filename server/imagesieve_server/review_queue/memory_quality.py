"""What the memory store's transactions answer about who has spoken on which item."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imagesieve_server.core.review import State
from imagesieve_server.core.review_rules import Spoken, is_barred
from imagesieve_server.review_queue.memory_golden import MemoryGolden
from imagesieve_server.review_queue.memory_tables import Tables
from imagesieve_server.review_queue.quality_rows import SaidAfter
from imagesieve_server.review_queue.rows import DecisionRow, ItemRow


class MemoryQuality(MemoryGolden):
    """The part of a ``Transaction`` that the quality of decisions needs."""

    _t: Tables
    _clock: Callable[[], float]

    def second_reviews(self, tenant: str | None) -> int:
        return sum(
            any(
                (word.round, word.tier) == (row.round, row.tier)
                for word in self._t.decisions.get((row.tenant, row.item_id), ())
            )
            for row in self._t.items.values()
            if row.state is State.READY and tenant in (None, row.tenant)
        )

    def said_between(
        self, tenant: str, *, since: float, until: float, after: SaidAfter | None, limit: int
    ) -> Sequence[DecisionRow]:
        said = [
            row
            for (owner, _), rows in self._t.decisions.items()
            for row in rows
            if owner == tenant and row.token is not None and since <= row.decided_at < until
        ]
        said.sort(key=_said)
        return [row for row in said if after is None or _said(row) > after][:limit]

    def is_barred(self, item: ItemRow, reviewer: str) -> bool:
        return any(
            row.reviewer == reviewer
            and is_barred(
                Spoken(round=row.round, tier=row.tier, decided_at=row.decided_at),
                round=item.round,
                tier=item.tier,
                opened_by=item.opened_by,
                opened_at=item.opened_at,
                now=self._clock(),
            )
            for row in self._t.decisions.get((item.tenant, item.item_id), ())
        )


def _said(row: DecisionRow) -> SaidAfter:
    return row.decided_at, row.decision_id
