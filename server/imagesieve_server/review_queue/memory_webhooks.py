"""The rows of webhooks in memory; a part of ``memory.py``'s transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from imagesieve_server.review_queue.memory_writes import MemoryWrites
from imagesieve_server.review_queue.webhook_rows import DeliveryCounts, DeliveryRow, EndpointRow


class MemoryWebhooks(MemoryWrites):
    """One open transaction, its webhooks."""

    def webhook_endpoint(self, tenant: str, endpoint: str) -> EndpointRow | None:
        return self._t.webhook_endpoints.get((tenant, endpoint))

    def webhook_endpoints(self, tenant: str | None) -> Sequence[EndpointRow]:
        rows = self._t.webhook_endpoints.values()
        mine = (row for row in rows if tenant is None or row.tenant == tenant)
        return sorted(mine, key=lambda row: (row.tenant, row.endpoint))

    def put_webhook_endpoint(self, row: EndpointRow) -> None:
        self._put(self._t.webhook_endpoints, (row.tenant, row.endpoint), row)

    def deliveries(
        self, tenant: str, endpoint: str, positions: Sequence[int]
    ) -> Sequence[DeliveryRow]:
        table = self._t.webhook_deliveries
        keys = [(tenant, endpoint, position) for position in sorted(positions)]
        return [table[key] for key in keys if key in table]

    def first_deliveries(
        self, tenant: str, endpoint: str, item_ids: Sequence[str]
    ) -> Sequence[DeliveryRow]:
        first: dict[str, DeliveryRow] = {}
        for row in self._of_items(tenant, endpoint, item_ids):
            if row.dead_at is None:
                first.setdefault(row.item_id, row)
        return list(first.values())

    def items_with_deliveries(
        self, tenant: str, endpoint: str, item_ids: Sequence[str]
    ) -> frozenset[str]:
        return frozenset(row.item_id for row in self._of_items(tenant, endpoint, item_ids))

    def due_deliveries(
        self, tenant: str, endpoint: str, *, until: float, limit: int
    ) -> Sequence[DeliveryRow]:
        due = [
            (row.next_at, row.position, row)
            for row in self._deliveries(tenant, endpoint)
            if row.next_at is not None and row.next_at <= until
        ]
        return [row for _, _, row in sorted(due, key=lambda each: each[:2])[:limit]]

    def next_delivery_at(self, tenant: str, endpoint: str) -> float | None:
        times = (row.next_at for row in self._deliveries(tenant, endpoint))
        return min((at for at in times if at is not None), default=None)

    def dead_deliveries(
        self, tenant: str, endpoint: str, *, after: int, limit: int
    ) -> Sequence[DeliveryRow]:
        rows = self._deliveries(tenant, endpoint)
        return [row for row in rows if row.dead_at is not None and row.position > after][:limit]

    def delivery_counts(self, tenant: str, endpoint: str) -> DeliveryCounts:
        rows = list(self._deliveries(tenant, endpoint))
        live = [row.created_at for row in rows if row.dead_at is None]
        return DeliveryCounts(
            retrying=len(live), dead=len(rows) - len(live), oldest_at=min(live, default=None)
        )

    def put_deliveries(self, rows: Sequence[DeliveryRow]) -> None:
        for row in rows:
            self._put(self._t.webhook_deliveries, (row.tenant, row.endpoint, row.position), row)

    def drop_deliveries(self, tenant: str, endpoint: str, positions: Sequence[int]) -> None:
        table = self._t.webhook_deliveries
        for position in positions:
            key = (tenant, endpoint, position)
            if key in table:
                self._undo.append(partial(table.__setitem__, key, table.pop(key)))

    def kill_deliveries(
        self, tenant: str, endpoint: str, item_ids: Sequence[str], *, at: float, result: str
    ) -> None:
        live = [r for r in self._of_items(tenant, endpoint, item_ids) if r.dead_at is None]
        self.put_deliveries(
            [replace(row, next_at=None, dead_at=at, result=row.result or result) for row in live]
        )

    def revive_deliveries(self, tenant: str, endpoint: str, item_ids: Sequence[str]) -> int:
        dead = [r for r in self._of_items(tenant, endpoint, item_ids) if r.dead_at is not None]
        self.put_deliveries(
            [replace(row, attempts=0, failed_at=None, dead_at=None) for row in dead]
        )
        return len(dead)

    def hurry_deliveries(self, tenant: str, endpoint: str, *, at: float) -> None:
        later = [
            replace(row, next_at=at)
            for row in self._deliveries(tenant, endpoint)
            if row.next_at is not None and row.next_at > at
        ]
        self.put_deliveries(later)

    def _of_items(self, tenant: str, endpoint: str, item_ids: Sequence[str]) -> list[DeliveryRow]:
        """By position."""
        chosen = set(item_ids)
        return [row for row in self._deliveries(tenant, endpoint) if row.item_id in chosen]

    def _deliveries(self, tenant: str, endpoint: str) -> Iterator[DeliveryRow]:
        """By position."""
        table = self._t.webhook_deliveries
        keys = sorted(key for key in table if key[:2] == (tenant, endpoint))
        return (table[key] for key in keys)
