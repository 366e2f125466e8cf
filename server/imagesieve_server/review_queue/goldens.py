"""Golden items: marked, given out as copies, taken back. The rules, over a transaction.

A copy is an item of its own without submissions, so nobody is told of its decision, and apart
from the real items of its bytes: it joins none, and none joins it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from imagesieve_server.core import golden
from imagesieve_server.core.errors import ArrowNotAllowed
from imagesieve_server.core.golden import Golden, GoldenPlan, GoldenRequest
from imagesieve_server.core.review import Cause, ClaimRequest, Outcome, State
from imagesieve_server.core.review_rules import urgency_of
from imagesieve_server.review_queue import checks, closing, drawing, moves
from imagesieve_server.review_queue.golden_rows import GoldenCopyRow, GoldenRow
from imagesieve_server.review_queue.reuse import REUSABLE
from imagesieve_server.review_queue.rows import ItemRow, Transaction

CHOICES = 500
"""Golden items among which a claim chooses, at most."""
LISTED = 1000
"""Golden items of one list, at most."""


def mark(tx: Transaction, request: GoldenRequest) -> Golden:
    """Mark a decided item: the decision in effect is the right answer. Repeated, the same.

    Raises ItemNotFound; ArrowNotAllowed where the item is not decided by people, is contested,
    or its picture was removed.
    """
    checks.text("note", request.note)
    checks.text("actor", request.actor)
    item = moves.require_item(tx, request.tenant, request.item_id)
    known = tx.goldens(request.tenant, [item.item_id]).get(item.item_id)
    if known is not None and known.ended_at is None:
        return _golden(tx, known, item)
    decisions = tx.decisions(request.tenant, [item.item_id])
    in_effect = closing.in_effect(decisions)
    decision = next((row for row in decisions if row.decision_id == in_effect), None)
    settled = item.state is State.DECIDED and item.attached_to is None and item.golden_of is None
    if not settled or decision is None or decision.cause not in REUSABLE:
        raise ArrowNotAllowed("only an item that people decided can be golden")
    row = GoldenRow(
        tenant=request.tenant,
        item_id=item.item_id,
        outcome=decision.outcome,
        labels=decision.labels,
        note=request.note,
        marked_by=request.actor,
        marked_at=tx.now(),
    )
    (tx.add_golden if known is None else tx.change_golden)(row)
    return _golden(tx, row, item)


def unmark(tx: Transaction, request: GoldenRequest) -> None:
    """Give no more copies of it. What was answered still counts. Repeated, nothing changes.

    Raises ItemNotFound.
    """
    moves.require_item(tx, request.tenant, request.item_id)
    end(tx, request.tenant, [request.item_id], by=request.actor)


def end(tx: Transaction, tenant: str, item_ids: Sequence[str], *, by: str) -> None:
    """End those of the items that are golden: their answer is contested, or they are erased."""
    for row in tx.goldens(tenant, item_ids).values():
        if row.ended_at is None:
            tx.change_golden(replace(row, ended_at=tx.now(), closed_by=by))


def listed(tx: Transaction, tenant: str) -> list[Golden]:
    """The golden items, the first marked first; a thousand at most."""
    rows = tx.golden_list(tenant, limit=LISTED)
    items = tx.items(tenant, [row.item_id for row in rows])
    return [_golden(tx, row, items[row.item_id]) for row in rows]


def instead_of(tx: Transaction, ready: ItemRow, request: ClaimRequest, plan: GoldenPlan) -> ItemRow:
    """The item whose turn it is, or now and then a fresh copy of a golden one in its place."""
    plain = request.tier == 1 and not request.item_id and ready.golden_of is None
    if not plain or plan.share <= 0.0:
        return ready
    key = drawing.key_for(tx, golden.PURPOSE)
    drawn = golden.is_drawn(
        key=key,
        tenant=request.tenant,
        reviewer=request.reviewer,
        claim_id=request.claim_id,
        item_id=ready.item_id,
        share=plan.share,
    )
    if not drawn:
        return ready
    found = tx.goldens_for(
        request.tenant,
        reviewer=request.reviewer,
        categories=request.categories,
        since=tx.now() - plan.again_after_s,
        limit=CHOICES,
    )
    if not found:
        return ready
    items = {item.item_id: item for item in found}
    chosen = golden.choice(key=key, claim_id=request.claim_id, item_ids=sorted(items))
    return _copy(tx, items[chosen], ready, request.reviewer)


def withdraw(tx: Transaction, tenant: str | None) -> int:
    """Take back the copies that were given back and not taken again; how many."""
    now = tx.now()
    waiting = tx.golden_waiting(tenant, before=now - golden.WAIT_S)
    for row in waiting:
        moves.move(tx, row, Cause.WITHDRAW, now=now, actor="")
    return len(waiting)


def _copy(tx: Transaction, source: ItemRow, ready: ItemRow, reviewer: str) -> ItemRow:
    """A fresh READY item that stands where ``ready`` does: id, arrival, rank, due time."""
    urgency = urgency_of(
        now=ready.enqueued_at, severity=1 if source.audit else source.severity, score=0.0
    )
    item_id = moves.new_id(ready.enqueued_at)
    copy = replace(
        source,
        item_id=item_id,
        state=State.READY,
        rank=math.nextafter(ready.rank, -math.inf),  # before it, also when it is given back
        enqueued_at=ready.enqueued_at,
        due_at=urgency.due_at,
        round=1,
        tier=1,
        reviews_needed=1,
        expiries=0,
        group_id=item_id if source.group_id else None,  # a group of its own
        opened_by=Cause.ENQUEUE,
        opening_note="",
        opened_at=ready.opened_at,
        decided_at=None,
        decisions=0,
        chain_head="",
        spoken_by="",
        version=1,
        golden_of=source.item_id,
        **moves.NO_LEASE,
    )
    tx.add_items([copy])
    tx.add_audit([moves.created(copy, Cause.ENQUEUE, actor="")])
    tx.add_golden_copy(
        GoldenCopyRow(
            tenant=copy.tenant,
            item_id=copy.item_id,
            golden_id=source.item_id,
            reviewer=reviewer,
            given_at=tx.now(),
        )
    )
    return copy


def _golden(tx: Transaction, row: GoldenRow, item: ItemRow) -> Golden:
    return Golden(
        item_id=row.item_id,
        sha256=item.sha256,
        category=item.category,
        outcome=Outcome(row.outcome),
        labels=row.labels,
        note=row.note,
        marked_by=row.marked_by,
        marked_at=row.marked_at,
        given=tx.golden_given(row.tenant, [row.item_id]).get(row.item_id, 0),
    )
