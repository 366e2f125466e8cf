"""What leads ask of the review queue about how well people decide."""

from __future__ import annotations

from typing import Protocol

from imagesieve_server.core.quality_report import QualityReport


class ReviewQuality(Protocol):
    """Figures of reviewers are for leads alone; who asks is the caller's matter."""

    async def quality(self, *, tenant: str, since: float, until: float) -> QualityReport:
        """How well people decided in [since, until), seconds since the epoch. Reads as much as
        was said in the span, a page at a time. Raises StoreUnavailable."""
        ...
