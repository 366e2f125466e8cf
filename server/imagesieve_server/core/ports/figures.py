"""What leads, and caps on exposure, ask of the review queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from imagesieve_server.core.review_figures import DecidedCount, Judged, TakenCount, Waiting


class ReviewFigures(Protocol):
    """Reads whose cost does not grow with the queue's history, but with the span asked for.

    Every method raises StoreUnavailable. Spans are [since, until), seconds since the epoch.
    """

    async def waiting(self, *, tenant: str) -> Waiting:
        """What waits, by category."""
        ...

    async def decided(self, *, tenant: str, since: float, until: float) -> Sequence[DecidedCount]:
        """What people said, hour by hour from ``since`` on, by everybody and every way in."""
        ...

    async def judged(self, *, tenant: str, since: float, until: float) -> Judged:
        """The flags decided in the span, where that decision is in effect. No audit samples,
        and nothing that was decided without a look at the item itself."""
        ...

    async def taken(self, *, tenant: str, since: float, reviewer: str = "") -> Sequence[TakenCount]:
        """How many different items each reviewer, or the one named, took in hand since then,
        which is at most 24 hours ago: claims are not remembered for longer."""
        ...
