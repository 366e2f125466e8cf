"""The rows of webhooks in SQL; a part of ``sql.py``'s transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from imagesieve_server.review_queue.schema_webhooks import webhook_delivery, webhook_endpoint
from imagesieve_server.review_queue.sql_rows import columns_of, value_of
from imagesieve_server.review_queue.webhook_rows import DeliveryCounts, DeliveryRow, EndpointRow

_E, _D = webhook_endpoint.c, webhook_delivery.c
_KEY = frozenset({"tenant", "endpoint"})


class SqlWebhookReads:
    """One open transaction, how its webhooks are found."""

    _connection: sa.Connection
    _writes: bool

    def webhook_endpoint(self, tenant: str, endpoint: str) -> EndpointRow | None:
        query = sa.select(webhook_endpoint).where(_E.tenant == tenant, _E.endpoint == endpoint)
        return next(iter(self._endpoints(query)), None)

    def webhook_endpoints(self, tenant: str | None) -> Sequence[EndpointRow]:
        query = sa.select(webhook_endpoint).order_by(_E.tenant, _E.endpoint)
        return self._endpoints(query if tenant is None else query.where(_E.tenant == tenant))

    def deliveries(
        self, tenant: str, endpoint: str, positions: Sequence[int]
    ) -> Sequence[DeliveryRow]:
        if not positions:
            return []
        query = _of(tenant, endpoint).where(_D.position.in_(positions))
        return self._deliveries(query.order_by(_D.position))

    def first_deliveries(
        self, tenant: str, endpoint: str, item_ids: Sequence[str]
    ) -> Sequence[DeliveryRow]:
        live = _of(tenant, endpoint).where(_D.dead_at.is_(None)).order_by(_D.position).limit(1)
        found = (self._deliveries(live.where(_D.item_id == item_id)) for item_id in item_ids)
        return [row for rows in found for row in rows]

    def items_with_deliveries(
        self, tenant: str, endpoint: str, item_ids: Sequence[str]
    ) -> frozenset[str]:
        if not item_ids:
            return frozenset()
        query = sa.select(_D.item_id).distinct().where(*_is(tenant, endpoint))
        found = self._connection.execute(query.where(_D.item_id.in_(item_ids)))
        return frozenset(found.scalars())

    def due_deliveries(
        self, tenant: str, endpoint: str, *, until: float, limit: int
    ) -> Sequence[DeliveryRow]:
        query = _of(tenant, endpoint).where(_D.next_at <= until)
        return self._deliveries(query.order_by(_D.next_at, _D.position).limit(limit))

    def next_delivery_at(self, tenant: str, endpoint: str) -> float | None:
        query = sa.select(sa.func.min(_D.next_at)).where(*_is(tenant, endpoint))
        found: float | None = self._connection.execute(
            query.where(_D.next_at.is_not(None))
        ).scalar()
        return found

    def dead_deliveries(
        self, tenant: str, endpoint: str, *, after: int, limit: int
    ) -> Sequence[DeliveryRow]:
        query = _of(tenant, endpoint).where(_D.dead_at.is_not(None), _D.position > after)
        return self._deliveries(query.order_by(_D.position).limit(limit))

    def delivery_counts(self, tenant: str, endpoint: str) -> DeliveryCounts:
        query = sa.select(sa.func.count(), sa.func.min(_D.created_at)).where(*_is(tenant, endpoint))
        retrying, oldest = self._connection.execute(query.where(_D.dead_at.is_(None))).one()
        dead, _ = self._connection.execute(query.where(_D.dead_at.is_not(None))).one()
        return DeliveryCounts(retrying=retrying, dead=dead, oldest_at=oldest)

    def _endpoints(self, query: sa.Select[Any]) -> list[EndpointRow]:
        if self._writes:
            query = query.with_for_update()
        return [value_of(EndpointRow, row) for row in self._connection.execute(query).mappings()]

    def _deliveries(self, query: sa.Select[Any]) -> list[DeliveryRow]:
        return [value_of(DeliveryRow, row) for row in self._connection.execute(query).mappings()]


class SqlWebhooks(SqlWebhookReads):
    """One open transaction, its webhooks."""

    def put_webhook_endpoint(self, row: EndpointRow) -> None:
        # Not the key: SQLite would look for it in every delivery of the endpoint.
        values = {name: value for name, value in columns_of(row).items() if name not in _KEY}
        changed = self._connection.execute(
            sa.update(webhook_endpoint)
            .where(_E.tenant == row.tenant, _E.endpoint == row.endpoint)
            .values(**values)
        )
        if not changed.rowcount:
            self._connection.execute(sa.insert(webhook_endpoint).values(**columns_of(row)))

    def put_deliveries(self, rows: Sequence[DeliveryRow]) -> None:
        for tenant, endpoint in {(row.tenant, row.endpoint) for row in rows}:
            mine = [row for row in rows if (row.tenant, row.endpoint) == (tenant, endpoint)]
            self.drop_deliveries(tenant, endpoint, [row.position for row in mine])
            values = [columns_of(row) for row in mine]
            self._connection.execute(sa.insert(webhook_delivery), values)

    def drop_deliveries(self, tenant: str, endpoint: str, positions: Sequence[int]) -> None:
        if positions:
            self._connection.execute(
                sa.delete(webhook_delivery).where(
                    *_is(tenant, endpoint), _D.position.in_(positions)
                )
            )

    def kill_deliveries(
        self, tenant: str, endpoint: str, item_ids: Sequence[str], *, at: float, result: str
    ) -> None:
        if item_ids:
            said = sa.case((_D.result == "", result), else_=_D.result)
            self._connection.execute(
                sa.update(webhook_delivery)
                .where(*_is(tenant, endpoint), _D.item_id.in_(item_ids), _D.dead_at.is_(None))
                .values(next_at=None, dead_at=at, result=said)
            )

    def revive_deliveries(self, tenant: str, endpoint: str, item_ids: Sequence[str]) -> int:
        if not item_ids:
            return 0
        revived = self._connection.execute(
            sa.update(webhook_delivery)
            .where(*_is(tenant, endpoint), _D.item_id.in_(item_ids), _D.dead_at.is_not(None))
            .values(attempts=0, failed_at=None, dead_at=None)
        )
        return int(revived.rowcount)

    def hurry_deliveries(self, tenant: str, endpoint: str, *, at: float) -> None:
        self._connection.execute(
            sa.update(webhook_delivery)
            .where(*_is(tenant, endpoint), _D.next_at > at)
            .values(next_at=at)
        )


def _is(tenant: str, endpoint: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (_D.tenant == tenant, _D.endpoint == endpoint)


def _of(tenant: str, endpoint: str) -> sa.Select[Any]:
    return sa.select(webhook_delivery).where(*_is(tenant, endpoint))
