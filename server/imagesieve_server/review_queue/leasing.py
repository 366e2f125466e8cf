"""Extend, release, expire, requeue: who may work on an item, and until when.

Knows the rules of leases. A token is fresh for each claim and is compared, never
interpreted; that a lease has ended is judged by the store's clock alone.
"""

from __future__ import annotations

from dataclasses import replace

from imagesieve_server.core.errors import LeaseLost
from imagesieve_server.core.review import LEASE_MAX_S, OPEN, Cause, Item, Lease, State
from imagesieve_server.core.review_rules import after_expiry, extended_until
from imagesieve_server.review_queue import checks, goldens, moves, reading
from imagesieve_server.review_queue.rows import ItemRow, Transaction

LEASE_MIN_S = 1.0
KEEP_CLAIMS_S = 24 * 3600.0
"""How long an ended claim is remembered, seconds, so that a repeated release is recognised."""


def extend(tx: Transaction, *, tenant: str, item_id: str, token: str, lease_s: float) -> Lease:
    """Prolong a living lease to now + lease_s, within the limit."""
    checks.within("lease_s", lease_s, low=LEASE_MIN_S, high=LEASE_MAX_S)
    now = tx.now()
    row = moves.require_item(tx, tenant, item_id)
    moves.require_lease(row, token, now)
    assert row.claimed_at is not None  # it is leased
    assert row.lease_until is not None
    until = extended_until(
        now=now, claimed_at=row.claimed_at, lease_until=row.lease_until, lease_s=lease_s
    )
    after = replace(row, lease_until=until, version=row.version + 1)
    moves.save(tx, row, after)
    return lease_of(after, reading.item_of(tx, after))


def release(tx: Transaction, *, tenant: str, item_id: str, token: str) -> Item:
    """Give an item back. Repeated, or after the lease's expiry, the present state.

    Raises ItemNotFound; LeaseLost where the token never was the item's, was used up by a
    decision, or expired and somebody else holds the item by now.
    """
    now = tx.now()
    expire(tx, tenant)
    row = moves.require_item(tx, tenant, item_id)
    if moves.holds(row, token, now):
        actor = row.claimed_by
        row = moves.move(tx, row, Cause.RELEASE, now=now, actor=actor, token=token)
    elif not _given_back(tx, row, token):
        raise LeaseLost("the token is not the item's present lease")
    return reading.item_of(tx, row)


def requeue(tx: Transaction, *, tenant: str, item_id: str, actor: str) -> Item:
    """Put a parked item back with its expiry count reset; an open one stays as it is.

    Raises ItemNotFound; ArrowNotAllowed where the item is decided.
    """
    row = moves.require_item(tx, tenant, item_id)
    if row.state not in OPEN or row.state is State.PARKED:
        row = moves.move(tx, row, Cause.REQUEUE, now=tx.now(), actor=actor, changes={"expiries": 0})
    return reading.item_of(tx, row)


def expire(tx: Transaction, tenant: str | None) -> int:
    """End every lease that is over; returns how many. None: of all tenants."""
    now = tx.now()
    due = tx.due_leases(tenant, now)
    for row in due:
        if row.golden_of is not None:  # made for one person, who has gone
            moves.move(tx, row, Cause.WITHDRAW, now=now, actor="")
            continue
        expiries = row.expiries + 1
        moves.move(
            tx, row, after_expiry(expiries), now=now, actor="", changes={"expiries": expiries}
        )
    return len(due)


def upkeep(tx: Transaction) -> int:
    """End every lease that is over, withdraw what golden copies nobody wants any more, and forget
    claims that ended long ago; how many leases."""
    ended = expire(tx, None)
    goldens.withdraw(tx, None)
    tx.drop_claims(ended_before=tx.now() - KEEP_CLAIMS_S)
    return ended


def _given_back(tx: Transaction, row: ItemRow, token: str) -> bool:
    """Whether the token's lease ended without a decision and nobody else needs to know."""
    claimed = tx.claim(row.tenant, token)
    if claimed is None or claimed.item_id != row.item_id:
        return False
    if claimed.ended_by is Cause.RELEASE:
        return True
    expired = claimed.ended_by in (Cause.LEASE_EXPIRED, Cause.PARK)
    return expired and row.state is not State.LEASED


def lease_of(row: ItemRow, item: Item) -> Lease:
    assert row.token is not None  # it is leased
    assert row.lease_until is not None
    return Lease(item=item, token=row.token, lease_until=row.lease_until)
