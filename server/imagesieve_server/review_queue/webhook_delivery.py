"""How far each endpoint was told of decisions, what is tried again, and what is given up.

The tenant's sequence of decision events is the outbox: an endpoint has a position in it, and a
delivery for each event that it could not be told. Of one item and endpoint only the first
delivery has a time to come; the further ones wait behind it. When it is given up, they become
dead letters with it, so that what is replayed is in order, too.

Whoever delivers holds the endpoint for a while, by the store's clock. Nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from imagesieve_server.core.review_events import DecisionEvent
from imagesieve_server.core.webhook_port import (
    Endpoint,
    Failed,
    Figures,
    Held,
    Holding,
    Page,
    Settlement,
    Work,
)
from imagesieve_server.review_queue import events
from imagesieve_server.review_queue.rows import EventRow, Transaction
from imagesieve_server.review_queue.webhook_rows import DeliveryRow, EndpointRow

BEHIND = "behind a dead letter"
"""Why what was never tried is one: for people."""


def hold(tx: Transaction, endpoint: Endpoint, holding: Holding) -> Held | None:
    """Take the endpoint, or keep it; None where another process has it."""
    now = tx.now()
    removed, last = tx.event_range(endpoint.tenant)
    row = tx.webhook_endpoint(endpoint.tenant, endpoint.name) or EndpointRow(
        tenant=endpoint.tenant,
        endpoint=endpoint.name,
        position=removed if holding.from_oldest else last,
    )
    if row.holder != holding.holder and row.held_until > now:
        return None
    held = replace(
        row,
        holder=holding.holder,
        held_until=now + holding.ttl_s,
        position=max(row.position, removed),
    )
    tx.put_webhook_endpoint(held)
    return Held(position=held.position, gone=row.gone, skipped=held.position - row.position)


def release(tx: Transaction, endpoint: Endpoint, holding: Holding) -> None:
    """Let go of the endpoint, where it is held."""
    row = _held(tx, endpoint, holding)
    if row is not None:
        tx.put_webhook_endpoint(replace(row, held_until=tx.now()))


def work(tx: Transaction, endpoint: Endpoint, *, after: int, fresh: int, due: int) -> Page:
    """What there is to do behind ``after``, and of deliveries."""
    now, tenant, name = tx.now(), endpoint.tenant, endpoint.name
    rows = tx.events(tenant, after=after, limit=fresh) if fresh else ()
    waiting = tx.due_deliveries(tenant, name, until=now, limit=due)
    told = events.events_of(tx, tenant, [*rows, *map(_event_of, waiting)])
    items = sorted({row.item_id for row in rows})
    next_at = tx.next_delivery_at(tenant, name)
    return Page(
        fresh=tuple(
            Work(
                position=row.position,
                item_id=row.item_id,
                event=event,
                created_at=row.created_at,
                kept=False,
            )
            for row, event in zip(rows, told[: len(rows)], strict=True)
        ),
        blocked=tx.items_with_deliveries(tenant, name, items),
        due=tuple(
            Work(
                position=row.position,
                item_id=row.item_id,
                event=event,
                created_at=row.created_at,
                kept=True,
                attempts=row.attempts,
            )
            for row, event in zip(waiting, told[len(rows) :], strict=True)
        ),
        next_due_in_s=None if next_at is None else max(0.0, next_at - now),
    )


def as_now(
    tx: Transaction, endpoint: Endpoint, works: Sequence[Work]
) -> Mapping[int, DecisionEvent]:
    """The events of what was read before, as they are told now."""
    rows = [_event_of(_delivery(endpoint, work)) for work in works]
    told = events.events_of(tx, endpoint.tenant, rows)
    return {row.position: event for row, event in zip(rows, told, strict=True)}


def settle(tx: Transaction, endpoint: Endpoint, holding: Holding, done: Settlement) -> bool:
    """Write what became of events and hold on; False, and nothing, where the hold is lost."""
    row = _held(tx, endpoint, holding)
    if row is None:
        return False
    now = tx.now()
    for failed in done.failed:
        _fail(tx, endpoint, holding, failed, now=now)
    _wait_behind(tx, endpoint, [_delivery(endpoint, work) for work in done.behind], now=now)
    _told(tx, endpoint, done.told, now=now)
    if done.recovered:
        tx.hurry_deliveries(endpoint.tenant, endpoint.name, at=now)
    tx.put_webhook_endpoint(
        replace(
            row,
            position=max(row.position, done.position),
            held_until=now + holding.ttl_s,
            gone=done.gone,
        )
    )
    return True


def figures(tx: Transaction, endpoint: Endpoint) -> Figures:
    """How far the endpoint is; all zero before it was first held."""
    row = tx.webhook_endpoint(endpoint.tenant, endpoint.name)
    counts = tx.delivery_counts(endpoint.tenant, endpoint.name)
    fresh = tx.events(endpoint.tenant, after=row.position, limit=1) if row else ()
    oldest = [event.created_at for event in fresh]
    if counts.oldest_at is not None:
        oldest.append(counts.oldest_at)
    return Figures(
        oldest_at=min(oldest, default=None),
        retrying=counts.retrying,
        dead=counts.dead,
        now=tx.now(),
    )


def bury(tx: Transaction, tenant: str, *, upto: int, unserved_since: float) -> None:
    """Events up to there go: what an endpoint was not told of them becomes dead letters. One
    that no server has served since then misses them: it may never come back."""
    now = tx.now()
    for row in tx.webhook_endpoints(tenant):
        if row.position >= upto or row.held_until < unserved_since:
            continue
        endpoint = Endpoint(tenant=tenant, name=row.endpoint)
        rows = tx.events(tenant, after=row.position, limit=upto - row.position)
        tx.put_deliveries(
            [
                replace(_of_event(endpoint, event), dead_at=now, result="not told in time")
                for event in rows
                if event.position <= upto
            ]
        )
        # What waits of the same items must not overtake them when they are replayed.
        item_ids = sorted({event.item_id for event in rows})
        tx.kill_deliveries(tenant, row.endpoint, item_ids, at=now, result=BEHIND)
        tx.put_webhook_endpoint(replace(row, position=upto))


def _held(tx: Transaction, endpoint: Endpoint, holding: Holding) -> EndpointRow | None:
    row = tx.webhook_endpoint(endpoint.tenant, endpoint.name)
    mine = row is not None and row.holder == holding.holder and row.held_until > tx.now()
    return row if mine else None


def _fail(
    tx: Transaction, endpoint: Endpoint, holding: Holding, failed: Failed, *, now: float
) -> None:
    position = failed.work.position
    known = tx.deliveries(endpoint.tenant, endpoint.name, [position])
    row = known[0] if known else _delivery(endpoint, failed.work)
    if row.dead_at is not None:
        return
    first = now if row.failed_at is None else row.failed_at
    row = replace(
        row,
        attempts=row.attempts + 1,
        failed_at=first,
        next_at=now + failed.retry_in_s,
        result=failed.result,
    )
    tx.put_deliveries([row])
    if now - first >= holding.give_up_s:
        tx.kill_deliveries(endpoint.tenant, endpoint.name, [row.item_id], at=now, result=BEHIND)


def _wait_behind(
    tx: Transaction, endpoint: Endpoint, rows: Sequence[DeliveryRow], *, now: float
) -> None:
    """Keep events that wait for an earlier one of their item; behind dead ones they are dead."""
    tenant, name, items = endpoint.tenant, endpoint.name, sorted({row.item_id for row in rows})
    live = {row.item_id for row in tx.first_deliveries(tenant, name, items)}
    dead = tx.items_with_deliveries(tenant, name, items) - live
    at = {row.position for row in tx.deliveries(tenant, name, [row.position for row in rows])}
    fresh = []
    for row in rows:
        if row.position in at:
            continue
        if row.item_id in dead:
            row = replace(row, dead_at=now, result=BEHIND)
        elif row.item_id not in live:  # what it waited for is gone
            row = replace(row, next_at=now)
            live.add(row.item_id)
        fresh.append(row)
    tx.put_deliveries(fresh)


def _told(tx: Transaction, endpoint: Endpoint, done: Sequence[Work], *, now: float) -> None:
    """Drop deliveries that are done; the next one of each item is due."""
    tx.drop_deliveries(endpoint.tenant, endpoint.name, [work.position for work in done])
    promote(tx, endpoint, sorted({work.item_id for work in done}), now=now)


def promote(tx: Transaction, endpoint: Endpoint, item_ids: Sequence[str], *, now: float) -> None:
    """Let the first delivery of each item that is not dead be due, where it has no time yet."""
    first = tx.first_deliveries(endpoint.tenant, endpoint.name, item_ids)
    tx.put_deliveries([replace(row, next_at=now) for row in first if row.next_at is None])


def _delivery(endpoint: Endpoint, work: Work) -> DeliveryRow:
    return DeliveryRow(
        tenant=endpoint.tenant,
        endpoint=endpoint.name,
        position=work.position,
        item_id=work.item_id,
        decision_id=work.event.decision.decision_id,
        request_id=work.event.request_id,
        created_at=work.created_at,
    )


def _of_event(endpoint: Endpoint, event: EventRow) -> DeliveryRow:
    return DeliveryRow(
        tenant=endpoint.tenant,
        endpoint=endpoint.name,
        position=event.position,
        item_id=event.item_id,
        decision_id=event.decision_id,
        request_id=event.request_id,
        created_at=event.created_at,
    )


def _event_of(row: DeliveryRow) -> EventRow:
    return EventRow(
        tenant=row.tenant,
        position=row.position,
        item_id=row.item_id,
        decision_id=row.decision_id,
        request_id=row.request_id,
        created_at=row.created_at,
    )
