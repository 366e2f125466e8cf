"""What a page of items asks of a store, and what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesieve_server.core.review import State

if TYPE_CHECKING:
    from imagesieve_server.review_queue.rows import ItemRow

Place = tuple[float, str]
"""(enqueued_at, item_id): where an item stands in every list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Items of one tenant and state, by place."""

    tenant: str
    state: State
    category: str = ""  # "": any
    reason_bit: int = 0  # 0: any
    told_only: bool = False  # without blind items
    since: float | None = None  # arrived then or later
    until: float | None = None  # arrived then or before
    after: Place | None = None  # behind this place
    limit: int
    look_at: int  # items whose category and reasons are looked at, at most

    @property
    def picks(self) -> bool:
        """Whether some of the items that are looked at may be left out."""
        return bool(self.category or self.reason_bit or self.told_only)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found. ``reached``: the place of the last item looked at, where not all were."""

    rows: Sequence[ItemRow]
    reached: Place | None = None
