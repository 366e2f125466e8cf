"""What figures ask of a store's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from imagesieve_server.core.review_figures import (
    DecidedCount,
    JudgedCount,
    TakenCount,
    WaitingCount,
)


class FigureReads(Protocol):
    """A part of ``rows.Transaction``; spans are [since, until)."""

    def waiting_counts(self, tenant: str, *, now: float, look_at: int) -> Sequence[WaitingCount]:
        """Of the first ``look_at`` READY items by (enqueued_at, item_id); by category."""
        ...

    def decided_counts(self, tenant: str, *, since: float, until: float) -> Sequence[DecidedCount]:
        """Decisions with a lease's token, by reviewer and outcome."""
        ...

    def judged_counts(
        self, tenant: str, *, since: float, until: float, look_at: int
    ) -> tuple[Sequence[JudgedCount], int]:
        """Of the last ``look_at`` decisions with a token those that are in effect on a flag
        (no audit sample) of some category; by category, outcome and labels. And how many were
        looked at."""
        ...

    def takers(self, tenant: str, *, since: float) -> Sequence[str]:
        """Who claimed something, by name."""
        ...

    def taken_counts(self, tenant: str, *, since: float, reviewer: str) -> Sequence[TakenCount]:
        """Different items that the reviewer claimed, by severity."""
        ...
