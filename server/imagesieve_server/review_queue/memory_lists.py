"""How the memory store finds a page of items."""

from __future__ import annotations

from imagesieve_server.review_queue.list_rows import Found, Wanted
from imagesieve_server.review_queue.memory_tables import Tables, place_of
from imagesieve_server.review_queue.rows import ItemRow


class MemoryLists:
    """A part of the memory store's transaction."""

    _t: Tables

    def page(self, wanted: Wanted) -> Found:
        rows = [row for row in self._t.items.values() if _in_range(row, wanted)]
        rows.sort(key=place_of)
        if not wanted.picks:
            return Found(rows=rows[: wanted.limit])
        seen = rows[: wanted.look_at]
        picked = [row for row in seen if _is_picked(row, wanted)][: wanted.limit]
        cut = len(rows) >= wanted.look_at and len(picked) < wanted.limit
        return Found(rows=picked, reached=place_of(seen[-1]) if cut else None)


def _in_range(row: ItemRow, wanted: Wanted) -> bool:
    return (
        row.tenant == wanted.tenant
        and row.state is wanted.state
        and (wanted.since is None or row.enqueued_at >= wanted.since)
        and (wanted.until is None or row.enqueued_at <= wanted.until)
        and (wanted.after is None or place_of(row) > wanted.after)
    )


def _is_picked(row: ItemRow, wanted: Wanted) -> bool:
    return (
        wanted.category in ("", row.category)
        and (not wanted.reason_bit or bool(row.reason_bits & wanted.reason_bit))
        and not (wanted.told_only and row.blind)
    )
