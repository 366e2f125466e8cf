"""Which items a second person reviews, blind, so that agreement can be measured.

An item is drawn by HMAC(key, tenant ‖ sha256) below its category's share: nobody without the
key can foresee it, and the same bytes are drawn however often they come. A drawn item needs two
reviewers who agree; where they differ, the next tier decides (``review_rules.after_review``).
"""

from __future__ import annotations

from dataclasses import dataclass

from imagesieve_server.core import draws

REVIEWS = 2
"""Reviewers of an item that was drawn."""
PURPOSE = "second review"
"""Names the draw's own key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondReview:
    """How many items of a policy get a second review."""

    share: float  # probability of each item, 0 to 1
    categories: tuple[tuple[str, float], ...] = ()  # (category's id, its own share)

    def of(self, category: str) -> float:
        """The share of items that were flagged for ``category``; "" is no category."""
        return dict(self.categories).get(category, self.share)


def reviews_needed(*, key: bytes, tenant: str, sha256: str, share: float, needed: int) -> int:
    """Reviewers who must agree on these bytes: ``needed``, or two where they are drawn."""
    drawn = share > 0.0 and draws.place(key, tenant, sha256) < share
    return max(needed, REVIEWS) if drawn else needed
