"""Appeal, undo, overturn: a decided item is reviewed again, in a new round with a reason.

The decision stays in the chain; the next one supersedes it. Where another item with the same
bytes is open already, the contested item attaches to that one, whose decision then counts for
both.
"""

from __future__ import annotations

from dataclasses import replace

from imagesieve_server.core.errors import InvalidRequest
from imagesieve_server.core.review import OPEN, Cause, Item
from imagesieve_server.core.review_afterwards import REOPENING, ReopenRequest
from imagesieve_server.core.review_rules import urgency_of
from imagesieve_server.review_queue import checks, closing, goldens, moves, reading
from imagesieve_server.review_queue.rows import ItemRow, Transaction


def reopen(tx: Transaction, request: ReopenRequest) -> Item:
    """Open the item again, or attach it. Where the contested decision is not in effect any
    more, or the item is open or attached already, nothing changes: repeats are safe.

    Raises ItemNotFound, InvalidRequest, ArrowNotAllowed (its picture was removed).
    """
    checks.text("note", request.note)
    checks.text("actor", request.actor)
    if request.cause not in REOPENING:
        raise InvalidRequest("cause", f"must be one of {', '.join(REOPENING)}")
    item = moves.require_item(tx, request.tenant, request.item_id)
    if item.state not in OPEN and item.attached_to is None and _in_effect(tx, item, request):
        item = contest(tx, item, request)
    return reading.item_of(tx, item)


def _in_effect(tx: Transaction, item: ItemRow, request: ReopenRequest) -> bool:
    """Whether the contested decision is the one in effect; it always is where none is named."""
    if not request.decision_id:
        return True
    decisions = tx.decisions(item.tenant, [item.item_id])
    if request.decision_id not in [row.decision_id for row in decisions]:
        raise InvalidRequest("decision_id", "is no decision of this item")
    return closing.in_effect(decisions) == request.decision_id


def contest(tx: Transaction, item: ItemRow, request: ReopenRequest) -> ItemRow:
    """Open a decided item that is attached to none, or attach it."""
    now = tx.now()
    detail = {"note": request.note, "because": request.cause.value}
    goldens.end(tx, item.tenant, [item.item_id], by=request.actor)  # its answer is in doubt
    other = tx.open_items(item.tenant, [item.sha256]).get(item.sha256)
    if other is not None and item.golden_of is None:
        detail["attached_to"] = other.item_id
        attached = moves.move(
            tx,
            item,
            Cause.ATTACH,
            now=now,
            actor=request.actor,
            detail=detail,
            changes={"attached_to": other.item_id},
        )
        told = replace(
            other,
            opened_by=request.cause,
            opening_note=request.note,
            version=other.version + 1,
        )
        moves.save(tx, other, told)
        return attached
    shown = tx.submissions(item.tenant, [item.shown_request_id])[item.shown_request_id]
    urgency = urgency_of(now=now, severity=item.severity, score=shown.score)
    changes = {
        "opened_by": request.cause,
        "opening_note": request.note,
        "opened_at": now,
        "rank": urgency.rank,
        "due_at": urgency.due_at,
        "tier": 1,
    }
    return moves.move(
        tx, item, request.cause, now=now, actor=request.actor, detail=detail, changes=changes
    )
