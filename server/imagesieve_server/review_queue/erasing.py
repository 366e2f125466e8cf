"""Removing what was kept: by law at once, by retention in time. The record stays.

Knows rows. The files go after the commit (``writer.py``); here it is decided which bytes
nobody refers to any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imagesieve_server.core.answer import without_details
from imagesieve_server.core.errors import InvalidRequest, ItemNotFound
from imagesieve_server.core.review import Cause, DecisionRecord, Outcome, State
from imagesieve_server.core.review_afterwards import EraseRequest, Erasure
from imagesieve_server.review_queue import (
    checks,
    closing,
    goldens,
    moves,
    reading,
    webhook_delivery,
)
from imagesieve_server.review_queue.closing import Word
from imagesieve_server.review_queue.rows import ItemRow, Transaction

Bytes = tuple[str, str]
"""(tenant, sha256)"""
UPLOADS = 500
"""Of one statement: a picture may have more uploads than a database takes values at once."""


def erase(tx: Transaction, request: EraseRequest) -> Erasure:
    """Legal deletion of some bytes: every item that has them is decided REJECT, whatever its
    state, and loses what its submissions carried. Repeated, it finds nothing more to do.

    Raises ItemNotFound where the tenant never had these bytes in the queue, InvalidRequest.
    """
    checks.text("reason", request.reason, required=True)
    checks.text("actor", request.actor)
    sha256 = bytes_of(tx, request)
    tx.hold(request.tenant, [sha256])
    now = tx.now()
    items = tx.items_of_bytes(request.tenant, [sha256])
    if not items:
        raise ItemNotFound("there is no review item with these bytes")
    word = Word(
        outcome=Outcome.REJECT,
        cause=Cause.LEGAL_DELETE,
        reviewer=request.actor,
        note=request.reason,
    )
    goldens.end(tx, request.tenant, [item.item_id for item in items], by=request.actor)
    done = _deletions(tx, request.tenant, items)
    for item in items:
        if item.item_id not in done:
            _, after = closing.say(tx, item, word, now=now)
            _empty(tx, after, now=now, actor=request.actor)
    tx.remove_evidence(request.tenant, [sha256], at=now)
    done = _deletions(tx, request.tenant, items)
    return Erasure(sha256=sha256, decisions=tuple(done[item.item_id] for item in items))


def retire(tx: Transaction, *, older_than_s: float, limit: int) -> list[Bytes]:
    """End the keeping of at most ``limit`` items decided longer ago than that, of any tenant;
    the bytes that no item needs any more. An item attached to an open one is still in use."""
    now = tx.now()
    rows = _held(tx, tx.decided_before(now - older_than_s, limit=limit))
    for row in rows:
        _empty(tx, row, now=now, actor="")
    free: list[Bytes] = []
    for tenant in sorted({row.tenant for row in rows}):
        sha256s = sorted({row.sha256 for row in rows if row.tenant == tenant})
        kept = {
            item.sha256
            for item in tx.items_of_bytes(tenant, sha256s)
            if item.state is not State.EXPIRED
        }
        gone = [sha256 for sha256 in sha256s if sha256 not in kept]
        tx.remove_evidence(tenant, gone, at=now)
        free += [(tenant, sha256) for sha256 in gone]
    return free


def _held(tx: Transaction, rows: Sequence[ItemRow]) -> list[ItemRow]:
    """Those of the items that still are as they were once their bytes are held."""
    for tenant in sorted({row.tenant for row in rows}):
        tx.hold(tenant, sorted({row.sha256 for row in rows if row.tenant == tenant}))
    same = []
    for tenant in sorted({row.tenant for row in rows}):
        mine = {row.item_id: row for row in rows if row.tenant == tenant}
        now = tx.items(tenant, sorted(mine))
        # Locked now: nobody marks one from here on, and whoever did before is seen.
        golden = tx.goldens(tenant, sorted(mine))
        same += [
            row
            for row in mine.values()
            if now.get(row.item_id) == row
            and (row.item_id not in golden or golden[row.item_id].ended_at is not None)
        ]
    return same


def unreferenced(tx: Transaction, tenant: str, sha256s: Sequence[str]) -> list[str]:
    """Those of the bytes that no row of the tenant refers to."""
    known = tx.evidence(tenant, sha256s)
    return [s for s in sha256s if s not in known or known[s].removed_at is not None]


def drop_events(tx: Transaction, *, older_than_s: float, limit: int) -> int:
    """Remove each tenant's oldest events, ``limit`` at most; how many. Only a beginning of a
    sequence is ever removed, also where the clock was set back in between. What webhooks have
    not told of them becomes dead letters."""
    before = tx.now() - older_than_s
    dropped = 0
    for tenant in tx.tenants_with_events():
        removed, _ = tx.event_range(tenant)
        upto = removed
        for event in tx.events(tenant, after=removed, limit=limit):
            if event.created_at >= before:
                break
            upto = event.position
        if upto > removed:
            webhook_delivery.bury(tx, tenant, upto=upto, unserved_since=before)
            tx.drop_events(tenant, upto=upto)
            dropped += upto - removed
    return dropped


def bytes_of(tx: Transaction, request: EraseRequest) -> str:
    """The sha256 that is to be erased. Raises ItemNotFound, InvalidRequest."""
    if bool(request.sha256) == bool(request.item_id):
        raise InvalidRequest("sha256", "give either the hash or an item")
    if request.item_id:
        return moves.require_item(tx, request.tenant, request.item_id).sha256
    checks.sha256("sha256", request.sha256)
    return request.sha256


def _deletions(tx: Transaction, tenant: str, items: Sequence[ItemRow]) -> dict[str, DecisionRecord]:
    """The legal deletion of each item that has one, by item_id. Nothing follows on one."""
    rows = tx.decisions(tenant, [item.item_id for item in items])
    return {
        row.item_id: reading.decision_of(row) for row in rows if row.cause is Cause.LEGAL_DELETE
    }


def _empty(tx: Transaction, item: ItemRow, *, now: float, actor: str) -> None:
    """Take away what the item's submissions carried; an item that is not EXPIRED becomes it."""
    request_ids = tx.request_ids(item.tenant, item.item_id)
    for begin in range(0, len(request_ids), UPLOADS):
        payloads = tx.payloads(item.tenant, request_ids[begin : begin + UPLOADS]).values()
        tx.change_payloads(
            [
                replace(
                    payload,
                    answer=without_details(payload.answer),
                    surface="",
                    content_ref="",
                    uploader_ref="",
                    labels={},
                )
                for payload in payloads
            ]
        )
    if looks := tx.hashes(item.tenant, [item.item_id]).get(item.item_id):
        tx.drop_hash(looks)
    if item.state is State.EXPIRED:
        return
    moves.move(tx, item, Cause.RETAIN_END, now=now, actor=actor, changes={"opening_note": ""})
