"""Dead letters of webhooks: which there are, trying them again in order per item, giving them up
for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from imagesieve_server.core.webhook_port import DeadLetter, Endpoint
from imagesieve_server.core.webhooks import event_id
from imagesieve_server.review_queue.rows import Transaction
from imagesieve_server.review_queue.webhook_delivery import promote
from imagesieve_server.review_queue.webhook_rows import DeliveryRow, WebhookReads

PAGE = 200
"""Dead letters of one transaction: deliveries and reviewers' calls come in between."""


def letters(tx: WebhookReads, endpoint: Endpoint, *, after: int = 0) -> list[DeadLetter]:
    """The endpoint's dead letters behind a position, a page of them, in order."""
    rows = tx.dead_deliveries(endpoint.tenant, endpoint.name, after=after, limit=PAGE)
    return [_letter(row) for row in rows]


def all_letters(
    read: Callable[[Callable[[WebhookReads], list[DeadLetter]]], list[DeadLetter]],
    endpoint: Endpoint,
) -> Iterator[DeadLetter]:
    """All of an endpoint's, page by page; ``read`` runs a reading transaction."""
    after = 0
    while page := read(partial(letters, endpoint=endpoint, after=after)):
        yield from page
        after = page[-1].position


def replay(tx: Transaction, endpoint: Endpoint, item_ids: Sequence[str]) -> int:
    """Let the dead letters of these items be tried again, each item's in order, as if they had
    never failed; how many."""
    tx.webhook_endpoint(endpoint.tenant, endpoint.name)  # held until the end
    revived = tx.revive_deliveries(endpoint.tenant, endpoint.name, item_ids)
    promote(tx, endpoint, item_ids, now=tx.now())
    return revived


def discard(tx: Transaction, endpoint: Endpoint, positions: Sequence[int]) -> int:
    """Drop those of these that are dead letters: they are never told. How many went. Dead letters
    behind them stay, and later events of an item that has none left are told again."""
    tx.webhook_endpoint(endpoint.tenant, endpoint.name)  # held until the end
    rows = tx.deliveries(endpoint.tenant, endpoint.name, positions)
    dead = [row.position for row in rows if row.dead_at is not None]
    tx.drop_deliveries(endpoint.tenant, endpoint.name, dead)
    return len(dead)


def replay_all(tx: Transaction, endpoint: Endpoint, *, dead_before: float) -> int:
    """Let those be tried again that died before then, with what is behind them, a page of them;
    how many. Repeated until none is left; one that dies again has died later."""
    after = 0
    while rows := tx.dead_deliveries(endpoint.tenant, endpoint.name, after=after, limit=PAGE):
        died = {row.item_id: row.dead_at or 0.0 for row in rows}
        items = sorted(item_id for item_id, at in died.items() if at < dead_before)
        if items:
            return replay(tx, endpoint, items)
        after = rows[-1].position
    return 0


def _letter(row: DeliveryRow) -> DeadLetter:
    return DeadLetter(
        tenant=row.tenant,
        endpoint=row.endpoint,
        position=row.position,
        item_id=row.item_id,
        decision_id=row.decision_id,
        request_id=row.request_id,
        event_id=event_id(row.tenant, row.decision_id, row.request_id),
        created_at=row.created_at,
        dead_at=row.dead_at or 0.0,
        attempts=row.attempts,
        result=row.result,
    )
