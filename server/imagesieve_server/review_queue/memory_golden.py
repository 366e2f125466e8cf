"""Golden items in memory; a part of ``memory.py``'s transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from imagesieve_server.core.review import OPEN, State
from imagesieve_server.review_queue.golden_rows import GoldenCopyRow, GoldenRow
from imagesieve_server.review_queue.memory_tables import Tables, known_of
from imagesieve_server.review_queue.memory_writes import MemoryWrites
from imagesieve_server.review_queue.rows import ItemRow


class MemoryGolden(MemoryWrites):
    """One open transaction, its golden items."""

    _t: Tables

    def goldens(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, GoldenRow]:
        return {
            name: self._t.goldens[tenant, name]
            for name in item_ids
            if (tenant, name) in self._t.goldens
        }

    def golden_list(self, tenant: str, *, limit: int) -> Sequence[GoldenRow]:
        rows = [
            row for row in self._t.goldens.values() if row.tenant == tenant and row.ended_at is None
        ]
        return sorted(rows, key=lambda row: (row.marked_at, row.item_id))[:limit]

    def golden_given(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, int]:
        wanted = set(item_ids)
        return Counter(
            row.golden_id
            for row in self._t.golden_copies.values()
            if row.tenant == tenant and row.golden_id in wanted
        )

    def golden_copies(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, GoldenCopyRow]:
        return known_of(self._t.golden_copies, tenant, item_ids)

    def open_copies(self, tenant: str | None) -> Mapping[State, int]:
        copies = (self._t.items[key] for key in self._t.golden_copies)
        return Counter(
            row.state for row in copies if tenant in (None, row.tenant) and row.state in OPEN
        )

    def goldens_for(
        self, tenant: str, *, reviewer: str, categories: Sequence[str], since: float, limit: int
    ) -> Sequence[ItemRow]:
        had = {
            row.golden_id
            for row in self._t.golden_copies.values()
            if (row.tenant, row.reviewer) == (tenant, reviewer) and row.given_at > since
        }
        found = [
            self._t.items[tenant, row.item_id]
            for row in self.golden_list(tenant, limit=len(self._t.goldens))
            if row.marked_by != reviewer and row.item_id not in had
        ]
        return sorted(
            (
                item
                for item in found
                if item.state is State.DECIDED
                and (not categories or item.category in categories)
                and not any(
                    word.reviewer == reviewer
                    for word in self._t.decisions.get((tenant, item.item_id), ())
                )
            ),
            key=lambda item: item.item_id,
        )[:limit]

    def golden_waiting(self, tenant: str | None, *, before: float) -> Sequence[ItemRow]:
        return [
            item
            for (owner, item_id), row in self._t.golden_copies.items()
            if tenant in (None, owner)
            and row.given_at < before
            and (item := self._t.items[owner, item_id]).state is State.READY
        ]

    def is_anothers_copy(self, item: ItemRow, reviewer: str) -> bool:
        """Whether the item is a copy that was made for somebody else."""
        copy = self._t.golden_copies.get((item.tenant, item.item_id))
        return copy is not None and copy.reviewer != reviewer

    def is_golden(self, item: ItemRow) -> bool:
        row = self._t.goldens.get((item.tenant, item.item_id))
        return row is not None and row.ended_at is None

    def add_golden(self, row: GoldenRow) -> None:
        self._put(self._t.goldens, (row.tenant, row.item_id), row)

    def change_golden(self, row: GoldenRow) -> None:
        self._put(self._t.goldens, (row.tenant, row.item_id), row)

    def add_golden_copy(self, row: GoldenCopyRow) -> None:
        self._put(self._t.golden_copies, (row.tenant, row.item_id), row)
