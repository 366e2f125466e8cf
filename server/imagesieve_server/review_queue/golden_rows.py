"""Rows of golden items and what they ask of a store's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from imagesieve_server.core.review import Outcome, State

if TYPE_CHECKING:
    from imagesieve_server.review_queue.rows import ItemRow


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRow:
    """Columns as in ``schema_golden.golden``."""

    tenant: str
    item_id: str
    outcome: Outcome
    labels: tuple[str, ...]
    note: str
    marked_by: str
    marked_at: float
    ended_at: float | None = None
    closed_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCopyRow:
    """Columns as in ``schema_golden.golden_copy``."""

    tenant: str
    item_id: str
    golden_id: str
    reviewer: str
    given_at: float


class GoldenReads(Protocol):
    """The reading part of what golden items need of ``rows.Transaction``."""

    def goldens(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, GoldenRow]:
        """By item, those that ended included."""
        ...


class GoldenRows(GoldenReads, Protocol):
    """All that golden items need of ``rows.Transaction``."""

    def golden_list(self, tenant: str, *, limit: int) -> Sequence[GoldenRow]:
        """Those that did not end, by (marked_at, item_id)."""
        ...

    def golden_given(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, int]:
        """How many copies were made of each."""
        ...

    def golden_copies(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, GoldenCopyRow]:
        """Of those items that are copies, by item."""
        ...

    def open_copies(self, tenant: str | None) -> Mapping[State, int]:
        """How many copies are open, by state."""
        ...

    def goldens_for(
        self, tenant: str, *, reviewer: str, categories: Sequence[str], since: float, limit: int
    ) -> Sequence[ItemRow]:
        """The DECIDED items, by item_id, that are golden and that the reviewer neither marked
        nor spoke on nor got since then. No category named: any."""
        ...

    def golden_waiting(self, tenant: str | None, *, before: float) -> Sequence[ItemRow]:
        """READY copies made before then."""
        ...

    def add_golden(self, row: GoldenRow) -> None: ...

    def change_golden(self, row: GoldenRow) -> None: ...

    def add_golden_copy(self, row: GoldenCopyRow) -> None: ...
