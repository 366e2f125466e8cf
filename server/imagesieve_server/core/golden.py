"""Golden items: pictures whose right answer is known, mixed in among the others.

A lead marks a decided item; from then on a share of claims gets a copy of it in place of the item
whose turn it is. A copy looks as others do, and its decision goes nowhere but into the figures.
Values and the draw; where copies come from is the store's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagesieve_server.core import draws
from imagesieve_server.core.review import Outcome

PURPOSE = "golden items"
"""Names the draw's own key."""
WAIT_S = 3600.0
"""A copy that was given back waits so long, seconds, for the person it was made for."""
DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPlan:
    """How often golden items are given out."""

    share: float = 0.0  # probability of each claim, 0 to 1
    again_after_s: float = 90 * DAY_S  # before a person gets the same one again, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRequest:
    """Mark an item, or end its being marked."""

    tenant: str
    item_id: str
    actor: str = ""  # who asks
    note: str = ""  # for other leads


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A marked item with its right answer: the decision in effect when it was marked."""

    item_id: str
    sha256: str
    category: str
    outcome: Outcome
    labels: tuple[str, ...]
    note: str
    marked_by: str
    marked_at: float  # seconds since the epoch
    given: int  # times that somebody got it


def is_drawn(
    *, key: bytes, tenant: str, reviewer: str, claim_id: str, item_id: str, share: float
) -> bool:
    """Whether this claim gets a golden item in place of ``item_id``. A claim that is repeated is
    drawn alike; a claim_id that is used again for the next item is not, or a caller who knows
    one that draws nothing would use no other."""
    return share > 0.0 and draws.place(key, tenant, reviewer, claim_id, item_id) < share


def choice(*, key: bytes, claim_id: str, item_ids: Sequence[str]) -> str:
    """Which of these golden items it gets; each has the same chance. At least one is given."""
    return min(item_ids, key=lambda item_id: draws.place(key, claim_id, item_id))
