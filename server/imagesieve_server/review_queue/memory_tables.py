"""The memory store's tables: dictionaries by key, and how their rows are named and ordered."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from imagesieve_server.core.review import AuditCount
from imagesieve_server.review_queue.golden_rows import GoldenCopyRow, GoldenRow
from imagesieve_server.review_queue.group_rows import (
    GroupCloseItemRow,
    GroupCloseRow,
    PictureHashRow,
)
from imagesieve_server.review_queue.rows import (
    CURSOR_MARK,
    AuditRow,
    ClaimRow,
    DecisionRow,
    EventRow,
    EvidenceRow,
    ItemRow,
    PayloadRow,
    SubmissionRow,
)
from imagesieve_server.review_queue.webhook_rows import DeliveryRow, EndpointRow

Key = tuple[str, str]  # (tenant, id)
V = TypeVar("V")


@dataclass(slots=True)
class Tables:
    items: dict[Key, ItemRow] = field(default_factory=dict)
    submissions: dict[Key, SubmissionRow] = field(default_factory=dict)
    payloads: dict[Key, PayloadRow] = field(default_factory=dict)
    evidence: dict[Key, EvidenceRow] = field(default_factory=dict)
    claims: dict[Key, ClaimRow] = field(default_factory=dict)
    decisions: dict[Key, tuple[DecisionRow, ...]] = field(default_factory=dict)
    audit: dict[Key, tuple[AuditRow, ...]] = field(default_factory=dict)
    hashes: dict[Key, PictureHashRow] = field(default_factory=dict)
    bands: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)  # item_ids
    closes: dict[Key, GroupCloseRow] = field(default_factory=dict)
    close_items: dict[tuple[str, str, str], GroupCloseItemRow] = field(default_factory=dict)
    counts: dict[tuple[object, ...], AuditCount] = field(default_factory=dict)
    events: dict[str, tuple[EventRow, ...]] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)  # events up to here are not kept
    webhook_endpoints: dict[Key, EndpointRow] = field(default_factory=dict)
    webhook_deliveries: dict[tuple[str, str, int], DeliveryRow] = field(default_factory=dict)
    goldens: dict[Key, GoldenRow] = field(default_factory=dict)
    golden_copies: dict[Key, GoldenCopyRow] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=lambda: {CURSOR_MARK: secrets.token_hex(32)})


def key_of(c: AuditCount) -> tuple[str | float, ...]:
    return c.tenant, c.policy, c.policy_version, c.day, c.band, c.sha256, c.probability


def place_of(row: ItemRow) -> tuple[float, str]:
    return row.enqueued_at, row.item_id


def known_of(table: Mapping[Key, V], tenant: str, ids: Sequence[str]) -> dict[str, V]:
    return {name: table[tenant, name] for name in ids if (tenant, name) in table}
