"""How the memory store finds look-alikes and keeps the closing of groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from imagesieve_server.core.groups import OPEN_STATES, Fate, Progress
from imagesieve_server.core.near_duplicates import bands as bands_of
from imagesieve_server.core.review import State
from imagesieve_server.review_queue.group_rows import (
    Counted,
    GroupCloseItemRow,
    GroupCloseRow,
    Member,
    PictureHashRow,
)
from imagesieve_server.review_queue.list_rows import Place
from imagesieve_server.review_queue.memory_tables import known_of, place_of
from imagesieve_server.review_queue.memory_writes import MemoryWrites
from imagesieve_server.review_queue.rows import ItemRow


class MemoryGroups(MemoryWrites):
    """A part of the memory store's transaction."""

    def hashes(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, PictureHashRow]:
        return known_of(self._t.hashes, tenant, item_ids)

    def filed_under(
        self, tenant: str, bands: Collection[int], *, limit: int
    ) -> Mapping[str, PictureHashRow]:
        filed = [i for band in sorted(bands) for i in self._t.bands.get((tenant, band), ())]
        return {item_id: self._t.hashes[tenant, item_id] for item_id in filed[:limit]}

    def latest_decided(self, tenant: str, group_id: str, *, limit: int) -> Sequence[str]:
        decided = [r for r in self._members(tenant, group_id) if r.state is State.DECIDED]
        decided.sort(key=place_of, reverse=True)
        return [row.item_id for row in decided[:limit]]

    def add_hashes(self, rows: Sequence[PictureHashRow]) -> None:
        for row in rows:
            self._insert(self._t.hashes, (row.tenant, row.item_id), row)
            for band in bands_of(row.bits) if row.filed else ():
                known = self._t.bands.get((row.tenant, band), ())
                self._put(self._t.bands, (row.tenant, band), (*known, row.item_id))

    def change_hash(self, row: PictureHashRow) -> None:
        self._put(self._t.hashes, (row.tenant, row.item_id), row)

    def drop_hash(self, row: PictureHashRow) -> None:
        self._drop(self._t.hashes, (row.tenant, row.item_id))
        for band in bands_of(row.bits):
            left = (i for i in self._t.bands.get((row.tenant, band), ()) if i != row.item_id)
            self._put(self._t.bands, (row.tenant, band), tuple(left))

    def open_groups(self, tenant: str, *, look_at: int, limit: int) -> Sequence[str]:
        counts: Counter[str] = Counter()
        for state in OPEN_STATES:
            rows = [
                row for row in self._t.items.values() if row.tenant == tenant and row.state is state
            ]
            rows.sort(key=place_of, reverse=True)
            counts.update(row.group_id for row in rows[:look_at] if row.group_id is not None)
        large = [(-count, group_id) for group_id, count in counts.items() if count > 1]
        return [group_id for _, group_id in sorted(large)[:limit]]

    def counted(
        self, tenant: str, group_id: str, *, upto: Place | None = None
    ) -> Mapping[State, Counted]:
        found: dict[State, list[ItemRow]] = {}
        for row in self._members(tenant, group_id):
            if upto is None or place_of(row) <= upto:
                found.setdefault(row.state, []).append(row)
        return {
            state: Counted(
                count=len(rows),
                rounds=sum(row.round for row in rows),
                first_at=min(row.enqueued_at for row in rows),
                last_at=max(row.enqueued_at for row in rows),
            )
            for state, rows in found.items()
        }

    def open_members(self, tenant: str, group_id: str, *, limit: int) -> Sequence[Member]:
        rows = [r for r in self._members(tenant, group_id) if r.state in OPEN_STATES]
        return [_member(row) for row in sorted(rows, key=place_of)[:limit]]

    def members(
        self, tenant: str, group_id: str, *, after: Place | None, limit: int
    ) -> Sequence[ItemRow]:
        rows = sorted(self._members(tenant, group_id), key=place_of)
        return [row for row in rows if after is None or place_of(row) > after][:limit]

    def add_close(self, row: GroupCloseRow, items: Sequence[GroupCloseItemRow]) -> None:
        self._insert(self._t.closes, (row.tenant, row.close_id), row)
        for item in items:
            key = (item.tenant, item.close_id, item.item_id)
            self._insert(self._t.close_items, key, item)

    def close(self, tenant: str, close_id: str) -> GroupCloseRow | None:
        return self._t.closes.get((tenant, close_id))

    def closes_of(self, tenant: str, group_id: str, *, limit: int) -> Sequence[GroupCloseRow]:
        rows = [
            row
            for row in self._t.closes.values()
            if (row.tenant, row.group_id) == (tenant, group_id)
        ]
        rows.sort(key=lambda row: (row.ordered_at, row.close_id), reverse=True)
        return rows[:limit]

    def unfinished_closes(self) -> Sequence[tuple[str, str]]:
        at_work = (Progress.CLOSING, Progress.UNDOING)
        return sorted(key for key, row in self._t.closes.items() if row.progress in at_work)

    def close_items(
        self, tenant: str, close_id: str, fate: Fate, *, limit: int
    ) -> Sequence[GroupCloseItemRow]:
        rows = [row for row in self._items_of(tenant, close_id) if row.fate is fate]
        return sorted(rows, key=lambda row: row.item_id)[:limit]

    def fates(self, tenant: str, close_id: str) -> Mapping[Fate, int]:
        return Counter(row.fate for row in self._items_of(tenant, close_id))

    def change_close(self, row: GroupCloseRow) -> None:
        self._put(self._t.closes, (row.tenant, row.close_id), row)

    def change_close_item(self, row: GroupCloseItemRow) -> None:
        self._put(self._t.close_items, (row.tenant, row.close_id, row.item_id), row)

    def _members(self, tenant: str, group_id: str) -> list[ItemRow]:
        rows = self._t.items.values()
        return [row for row in rows if (row.tenant, row.group_id) == (tenant, group_id)]

    def _items_of(self, tenant: str, close_id: str) -> list[GroupCloseItemRow]:
        rows = self._t.close_items.values()
        return [row for row in rows if (row.tenant, row.close_id) == (tenant, close_id)]


def _member(row: ItemRow) -> Member:
    return Member(
        item_id=row.item_id,
        enqueued_at=row.enqueued_at,
        round=row.round,
        tier=row.tier,
        reviews_needed=row.reviews_needed,
        opened_by=row.opened_by,
        category=row.category,
        verdict=row.verdict,
    )
