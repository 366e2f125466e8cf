"""What the quality of decisions asks of a store's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from imagesieve_server.review_queue.golden_rows import GoldenRows

if TYPE_CHECKING:
    from imagesieve_server.review_queue.rows import DecisionRow, ItemRow

SaidAfter = tuple[float, str]
"""(decided_at, decision_id) of the last word that was read."""


class QualityReads(GoldenRows, Protocol):
    """A part of ``rows.Transaction``."""

    def second_reviews(self, tenant: str | None) -> int:
        """READY items with a word of their present round and tier: another person must speak."""
        ...

    def said_between(
        self, tenant: str, *, since: float, until: float, after: SaidAfter | None, limit: int
    ) -> Sequence[DecisionRow]:
        """Decisions with a lease's token of [since, until) behind the key ``after``, by
        (decided_at, decision_id)."""
        ...


class CaseReads(QualityReads, Protocol):
    """What it takes to put words and items together; any look at the tables has it."""

    def items(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, ItemRow]: ...

    def decisions(self, tenant: str, item_ids: Sequence[str]) -> Sequence[DecisionRow]: ...
