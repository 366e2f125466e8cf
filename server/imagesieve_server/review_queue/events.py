"""Decision events: written with the decision, read in order from a cursor on.

Positions are given inside the deciding transaction, from a counter whose row stays locked
until the commit, so a reader that has seen position n has seen everything before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagesieve_server.core.errors import CursorExpired
from imagesieve_server.core.review_events import DecisionEvent, EventPage
from imagesieve_server.review_queue import checks, cursors, reading
from imagesieve_server.review_queue.rows import CURSOR_MARK, DecisionRow, EventRow, Transaction

PAGE_MAX = 100
"""Events of one page at most: what one watcher holds in memory."""


def tell(tx: Transaction, row: DecisionRow) -> None:
    """One event per submission: each upload service hears of its own request."""
    request_ids = tx.request_ids(row.tenant, row.item_id)
    first = tx.next_positions(row.tenant, len(request_ids))
    tx.add_events(
        [
            EventRow(
                tenant=row.tenant,
                position=position,
                item_id=row.item_id,
                decision_id=row.decision_id,
                request_id=request_id,
                created_at=row.decided_at,
            )
            for position, request_id in enumerate(request_ids, start=first)
        ]
    )


def page(
    tx: Transaction, *, tenant: str, cursor: str, from_oldest: bool, limit: int = PAGE_MAX
) -> EventPage:
    """The events behind ``cursor``. Without one: none, and the present place; or, with
    ``from_oldest``, from the oldest event kept.

    Raises CursorExpired where events behind the cursor have been removed, where the cursor
    is ahead of the sequence (an older copy of the database was put back), or is not ours.
    """
    checks.text("cursor", cursor)
    removed, last = tx.event_range(tenant)
    key = _key(tx)
    if cursor:
        after = cursors.unseal(key, tenant, cursor)
        if after < removed:
            raise CursorExpired("events behind the cursor are not kept any more")
        if after > last:
            raise CursorExpired("the cursor is ahead of the events: an older state was restored")
    else:
        after = removed if from_oldest else last
    rows = tx.events(tenant, after=after, limit=min(limit, PAGE_MAX))
    return EventPage(
        events=tuple(events_of(tx, tenant, rows)),
        cursor=cursors.seal(key, tenant, rows[-1].position if rows else after),
    )


def events_of(tx: Transaction, tenant: str, rows: Sequence[EventRow]) -> list[DecisionEvent]:
    """The rows' events, with a fixed number of reads for all of them."""
    if not rows:
        return []
    key = _key(tx)
    item_ids = sorted({row.item_id for row in rows})
    items = tx.items(tenant, item_ids)
    payloads = tx.payloads(tenant, sorted({row.request_id for row in rows}))
    decisions = {
        decision.decision_id: reading.decision_of(decision)
        for decision in tx.decisions(tenant, item_ids)
    }
    return [
        DecisionEvent(
            cursor=cursors.seal(key, tenant, row.position),
            decision=decisions[row.decision_id],
            request_id=row.request_id,
            sha256=items[row.item_id].sha256,
            content_ref=payloads[row.request_id].content_ref,
            uploader_ref=payloads[row.request_id].uploader_ref,
            surface=payloads[row.request_id].surface,
            labels=payloads[row.request_id].labels,
        )
        for row in rows
    ]


def _key(tx: Transaction) -> bytes:
    return bytes.fromhex(tx.mark(CURSOR_MARK) or "")
