"""What leads ask of the review queue about how well people decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from imagesieve_server.core.golden import Golden, GoldenRequest
from imagesieve_server.core.quality_report import QualityReport


class ReviewQuality(Protocol):
    """Figures of reviewers are for leads alone; who asks is the caller's matter."""

    async def quality(self, *, tenant: str, since: float, until: float) -> QualityReport:
        """How well people decided in [since, until), seconds since the epoch. Reads as much as
        was said in the span, a page at a time. Raises StoreUnavailable."""
        ...

    async def mark_golden(self, request: GoldenRequest) -> Golden:
        """Give out copies of a decided item, whose decision is the right answer. Repeated, the
        same. Raises ItemNotFound, InvalidRequest, ArrowNotAllowed, StoreUnavailable."""
        ...

    async def unmark_golden(self, request: GoldenRequest) -> None:
        """Give out no more. Raises ItemNotFound, InvalidRequest, StoreUnavailable."""
        ...

    async def goldens(self, *, tenant: str) -> Sequence[Golden]:
        """Those that are given out, a thousand at most. Raises StoreUnavailable."""
        ...
