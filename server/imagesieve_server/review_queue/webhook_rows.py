"""Rows of webhooks: who is told, how far, and what is tried again; and the part of a transaction
that keeps and finds them. Knows no rule (``webhook_delivery.py`` does)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRow:
    """One receiver of a tenant's decision events."""

    tenant: str
    endpoint: str
    position: int  # events up to here are told, or are deliveries
    holder: str = ""  # the process that delivers
    held_until: float = 0.0
    gone: str = ""  # mark of the configuration under which it answered 410


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One event that an endpoint could not be told, or not yet because of an earlier one of the
    same item. Its time to come is known of the first of an item only; dead ones have none."""

    tenant: str
    endpoint: str
    position: int
    item_id: str
    decision_id: str
    request_id: str
    created_at: float  # of the event
    attempts: int = 0
    failed_at: float | None = None  # the first time
    next_at: float | None = None
    dead_at: float | None = None
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryCounts:
    """Of one endpoint."""

    retrying: int
    dead: int
    oldest_at: float | None  # created_at of the oldest that is not dead


class WebhookReads(Protocol):
    """How the rows are found. In a transaction that writes, an endpoint that was read stays as
    it is until the end; its deliveries change only with it."""

    def webhook_endpoint(self, tenant: str, endpoint: str) -> EndpointRow | None: ...

    def webhook_endpoints(self, tenant: str | None) -> Sequence[EndpointRow]:
        """By tenant and name; of all tenants where none is named."""
        ...

    def deliveries(
        self, tenant: str, endpoint: str, positions: Sequence[int]
    ) -> Sequence[DeliveryRow]:
        """By position."""
        ...

    def first_deliveries(
        self, tenant: str, endpoint: str, item_ids: Sequence[str]
    ) -> Sequence[DeliveryRow]:
        """The first of each item that is not dead. Costs the same whatever is behind it: of one
        picture there may be many thousand uploads."""
        ...

    def items_with_deliveries(
        self, tenant: str, endpoint: str, item_ids: Sequence[str]
    ) -> frozenset[str]: ...

    def due_deliveries(
        self, tenant: str, endpoint: str, *, until: float, limit: int
    ) -> Sequence[DeliveryRow]:
        """Those whose time comes by then, by (next_at, position)."""
        ...

    def next_delivery_at(self, tenant: str, endpoint: str) -> float | None: ...

    def dead_deliveries(
        self, tenant: str, endpoint: str, *, after: int, limit: int
    ) -> Sequence[DeliveryRow]:
        """By position."""
        ...

    def delivery_counts(self, tenant: str, endpoint: str) -> DeliveryCounts: ...


class WebhookRows(WebhookReads, Protocol):
    """The part of a ``Transaction`` that is about webhooks."""

    def put_webhook_endpoint(self, row: EndpointRow) -> None: ...

    def put_deliveries(self, rows: Sequence[DeliveryRow]) -> None:
        """Insert, or replace what has the same position."""
        ...

    def drop_deliveries(self, tenant: str, endpoint: str, positions: Sequence[int]) -> None: ...

    def kill_deliveries(
        self, tenant: str, endpoint: str, item_ids: Sequence[str], *, at: float, result: str
    ) -> None:
        """Make dead letters of all of these items; ``result`` is for those never tried."""
        ...

    def revive_deliveries(self, tenant: str, endpoint: str, item_ids: Sequence[str]) -> int:
        """Let dead letters of these items be as if they had never failed; how many."""
        ...

    def hurry_deliveries(self, tenant: str, endpoint: str, *, at: float) -> None:
        """Let those whose time comes later come then."""
        ...
