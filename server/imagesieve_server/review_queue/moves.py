"""The one place where an item changes its state.

Every change follows an arrow of ``core/review.ARROWS``, leaves an audit row, and ends the
lease it leaves behind. The store repeats the guard: it changes the row only if state, token
and version are still those the rule saw.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imagesieve_server.core.errors import (
    ArrowNotAllowed,
    ItemNotFound,
    LeaseLost,
)
from imagesieve_server.core.review import Cause, State, arrow
from imagesieve_server.review_queue import checks
from imagesieve_server.review_queue.backend import Overtaken
from imagesieve_server.review_queue.rows import AuditRow, ItemRow, Transaction

NO_LEASE: Mapping[str, Any] = {
    "token": None,
    "claimed_by": "",
    "claimed_at": None,
    "lease_until": None,
}


def new_id(now: float) -> str:
    """32 hex digits that sort by time: 12 of milliseconds, 20 random."""
    return f"{int(now * 1000):012x}{secrets.token_hex(10)}"


def require_item(tx: Transaction, tenant: str, item_id: str) -> ItemRow:
    """The tenant's item. Raises ItemNotFound."""
    checks.text("item_id", item_id)
    row = tx.item(tenant, item_id)
    if row is None:
        raise ItemNotFound("there is no review item of that id")
    return row


def holds(item: ItemRow, token: str, now: float) -> bool:
    """Whether ``token`` is the item's present, living lease."""
    alive = item.lease_until is not None and item.lease_until > now
    return item.state is State.LEASED and alive and item.token == token


def require_lease(item: ItemRow, token: str, now: float) -> None:
    """Raises LeaseLost where ``token`` is not the item's present, living lease."""
    if not holds(item, token, now):
        raise LeaseLost("the token is not the item's present lease; claim it again")


def created(item: ItemRow, cause: Cause, *, actor: str) -> AuditRow:
    """The audit row of a new item. Raises ArrowNotAllowed where it may not begin so."""
    step = arrow(None, cause)
    if step is None or step.target is not item.state:
        raise ArrowNotAllowed(f"a new item cannot become {item.state} by {cause}")
    return AuditRow(
        tenant=item.tenant,
        item_id=item.item_id,
        version=item.version,
        at=item.enqueued_at,
        actor=actor,
        cause=cause,
        source=None,
        target=item.state,
    )


def move(
    tx: Transaction,
    item: ItemRow,
    cause: Cause,
    *,
    now: float,
    actor: str,
    token: str = "",
    detail: Mapping[str, str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> ItemRow:
    """Take ``item`` along the arrow of ``cause`` and return the row as it is afterwards.

    ``token`` is what the caller presents where the arrow needs one; ``changes`` are further
    columns. Raises ArrowNotAllowed and LeaseLost.
    """
    step = arrow(item.state, cause)
    if step is None:
        raise ArrowNotAllowed(f"an item that is {item.state} does not allow {cause}")
    if step.needs_token:
        require_lease(item, token, now)
    fields = dict(changes or {})
    if step.target is not State.LEASED:
        fields = {**NO_LEASE, **fields}
    if step.new_round:
        fields = {**fields, "round": item.round + 1, "expiries": 0}
    after = replace(item, state=step.target, version=item.version + 1, **fields)
    save(tx, item, after)
    if item.token is not None:
        tx.end_claim(item.tenant, item.token, at=now, cause=cause)
    audit = AuditRow(
        tenant=item.tenant,
        item_id=item.item_id,
        version=after.version,
        at=now,
        actor=actor,
        cause=cause,
        source=item.state,
        target=after.state,
        detail=detail or {},
    )
    tx.add_audit([audit])
    return after


def save(tx: Transaction, before: ItemRow, after: ItemRow) -> None:
    """Write a changed row. Raises Overtaken where another transaction was faster."""
    if not tx.change_item(before, after):
        raise Overtaken("the item was changed at the same moment; try again")
