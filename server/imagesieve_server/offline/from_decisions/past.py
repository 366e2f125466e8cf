"""What the queue's database says of a policy's past: its flags, its samples, and what people
decided, as values without rows.

Knows how the tables fit together and what an answer's JSON says; estimates nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imagesieve_server.core.review import OPEN, AuditCount, Cause, Outcome
from imagesieve_server.core.verdict import ReasonCode
from imagesieve_server.review_queue.read_only import QueueReader
from imagesieve_server.review_queue.rows import DecisionRow, ItemRow, SubmissionRow

ItemKey = tuple[str, str]  # tenant, item_id

SAID_BY_PEOPLE = frozenset({Cause.DECIDE, Cause.FOLLOW, Cause.REUSE_DECISION, Cause.GROUP_CLOSE})
"""Causes of decisions that say what a picture shows. A legal deletion does not."""
_RAISED = (ReasonCode.CATEGORY_REVIEW, ReasonCode.CATEGORY_BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One upload that was flagged, or drawn as a sample."""

    tenant: str
    sha256: str
    item: ItemKey
    received_at: float  # seconds since the epoch
    policy: str
    version: str
    audit: bool
    probability: float  # of the sample; 1 for a flag
    category: str  # the worst one that flagged it
    raised: frozenset[str]  # every category that flagged it
    asked: frozenset[str] | None  # categories it was judged by; None where the answer was removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """The decision in effect on an item."""

    rejected: bool
    labels: tuple[str, ...]
    category: str  # the item's, which the reviewer was shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """All that is kept of the policies asked for."""

    uploads: tuple[Upload, ...]  # as they came
    words: Mapping[ItemKey, Word]  # without items that wait, were contested, or were erased unseen
    erased: frozenset[ItemKey]  # of the latter
    counts: tuple[AuditCount, ...]


def read_past(reader: QueueReader, *, policy: str = "") -> Past:
    """Read a database, also one that servers have in use; "" is all policies.

    Raises StoreNotUsable.
    """
    kept = sorted(_submissions(reader, policy), key=lambda each: each[0].received_at)
    wanted = {(row.tenant, row.item_id) for row, _, _ in kept}
    items = {
        (row.tenant, row.item_id): row
        for row in reader.items()
        if (row.tenant, row.item_id) in wanted
    }
    last, deleted = _decisions(reader, wanted)
    counts = tuple(reader.counts(policy=policy))
    settled = {key for key, row in items.items() if _is_settled(row)}
    return Past(
        uploads=tuple(
            _upload(row, raised, asked, items[row.tenant, row.item_id])
            for row, raised, asked in kept
            if (row.tenant, row.item_id) in items
        ),
        words={
            key: Word(
                rejected=decision.outcome is Outcome.REJECT,
                labels=decision.labels,
                category=items[key].category,
            )
            for key, decision in last.items()
            if key in settled
        },
        erased=frozenset((deleted & settled) - set(last)),
        counts=counts,
    )


def _is_settled(row: ItemRow) -> bool:
    """A contested decision is not in effect until the item is decided again."""
    return row.state not in OPEN and row.attached_to is None


def _decisions(
    reader: QueueReader, wanted: set[ItemKey]
) -> tuple[dict[ItemKey, DecisionRow], set[ItemKey]]:
    """(the last effective word of a person on each item, items deleted by law)."""
    last: dict[ItemKey, DecisionRow] = {}
    deleted: set[ItemKey] = set()
    for row in reader.decisions():
        key = (row.tenant, row.item_id)
        if key not in wanted or not row.effective:
            continue
        if row.cause is Cause.LEGAL_DELETE:
            deleted.add(key)
        elif row.cause in SAID_BY_PEOPLE and (key not in last or row.seq > last[key].seq):
            last[key] = row
    return last, deleted


_Kept = tuple[SubmissionRow, frozenset[str], frozenset[str] | None]


def _submissions(reader: QueueReader, policy: str) -> Iterator[_Kept]:
    for row, text in reader.submissions(policy=policy):
        judgement = _judgement(text)
        raised = frozenset(
            str(reason.get("category"))
            for reason in judgement.get("reasons", ())
            if reason.get("code") in _RAISED
        )
        asked = frozenset(str(score.get("category")) for score in judgement.get("scores", ()))
        yield row, raised or frozenset({row.category} - {""}), asked or None


def _judgement(text: str) -> dict[str, Any]:
    """The stored judgement; nothing where it cannot be read."""
    try:
        found = json.loads(text)["judgement"]
        return dict(found)
    except (ValueError, KeyError, TypeError):
        return {}


def _upload(
    row: SubmissionRow, raised: frozenset[str], asked: frozenset[str] | None, item: ItemRow
) -> Upload:
    return Upload(
        tenant=row.tenant,
        sha256=item.sha256,
        item=(row.tenant, row.item_id),
        received_at=row.received_at,
        policy=row.policy,
        version=row.policy_version,
        audit=row.audit,
        probability=row.inclusion_probability or 1.0,
        category=row.category,
        raised=frozenset() if row.audit else raised,
        asked=asked,
    )
