"""Rows become the values that cross the port: items with their decisions, figures.

Knows how the tables fit together; changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from imagesieve_server.core.review import (
    OPEN,
    DecisionRecord,
    Item,
    QueueStats,
    State,
)
from imagesieve_server.review_queue import chain, moves
from imagesieve_server.review_queue.rows import (
    AuditRow,
    DecisionRow,
    EvidenceRow,
    ItemRow,
    PayloadRow,
    SubmissionRow,
    Transaction,
)


def get(tx: Transaction, *, tenant: str, item_id: str) -> Item:
    """Raises ItemNotFound."""
    return item_of(tx, moves.require_item(tx, tenant, item_id))


def stats(tx: Transaction, tenant: str | None) -> QueueStats:
    counts = _as_claimed(tx.open_counts(tenant), tx.open_copies(tenant))
    return QueueStats(
        by_state={state: counts.get(state, 0) for state in State if state in OPEN},
        oldest_ready_at=tx.oldest_ready_at(tenant),
        second_reviews=tx.second_reviews(tenant),
        now=tx.now(),
    )


def _as_claimed(counts: Mapping[State, int], copies: Mapping[State, int]) -> dict[State, int]:
    """The counts as if each golden copy were the item whose place it took: who claims one sees
    one less wait, as with any other."""
    waiting, in_hand = copies.get(State.READY, 0), copies.get(State.LEASED, 0)
    ready = max(0, counts.get(State.READY, 0) - waiting - in_hand)
    return {**counts, State.READY: ready}


def chain_problems(tx: Transaction, *, tenant: str, item_id: str) -> tuple[str, ...]:
    """What is wrong with the item's decisions; empty where all is as recorded.

    Raises ItemNotFound.
    """
    row = moves.require_item(tx, tenant, item_id)
    return chain.problems(row, tx.decisions(tenant, [item_id]))


def history(tx: Transaction, *, tenant: str, item_id: str) -> tuple[AuditRow, ...]:
    """Every arrow the item took, oldest first. Raises ItemNotFound."""
    moves.require_item(tx, tenant, item_id)
    return tuple(tx.audit(tenant, item_id))


def item_of(tx: Transaction, row: ItemRow) -> Item:
    return items_of(tx, row.tenant, [row])[0]


def items_of(tx: Transaction, tenant: str, rows: Sequence[ItemRow]) -> list[Item]:
    """The items of one tenant's rows, with a fixed number of reads for all of them."""
    shown = [row.shown_request_id for row in rows]
    sha256s = sorted({row.sha256 for row in rows})
    answers = tx.answers(tenant, shown)
    evidence = tx.evidence(tenant, sha256s)
    decisions: dict[str, list[DecisionRecord]] = {}
    for decision in tx.decisions(tenant, [row.item_id for row in rows if row.decisions]):
        decisions.setdefault(decision.item_id, []).append(decision_of(decision))
    closed = tx.closed_decisions(tenant, sha256s)
    marked = tx.goldens(tenant, [row.item_id for row in rows])
    copies = tx.golden_copies(tenant, [row.item_id for row in rows if row.golden_of is not None])
    return [
        replace(
            _item(
                row,
                *answers[row.shown_request_id],
                evidence[row.sha256],
                decisions=tuple(decisions.get(row.item_id, ())),
                earlier=_earlier(row, closed),
            ),
            golden=row.item_id in marked and marked[row.item_id].ended_at is None,
            golden_for=copies[row.item_id].reviewer if row.item_id in copies else "",
        )
        for row in rows
    ]


def decision_of(row: DecisionRow) -> DecisionRecord:
    return DecisionRecord(
        decision_id=row.decision_id,
        item_id=row.item_id,
        round=row.round,
        outcome=row.outcome,
        labels=row.labels,
        note=row.note,
        reviewer=row.reviewer,
        decided_at=row.decided_at,
        effective=row.effective,
        supersedes=row.supersedes,
        cause=row.cause,
        policy_version=row.policy_version,
        model_version=row.model_version,
    )


def _earlier(row: ItemRow, closed: Mapping[str, DecisionRow]) -> DecisionRecord | None:
    if row.golden_of is not None:
        return None  # it would be the answer
    found = closed.get(row.sha256)
    return None if found is None or found.item_id == row.item_id else decision_of(found)


def _item(
    row: ItemRow,
    submission: SubmissionRow,
    payload: PayloadRow,
    evidence: EvidenceRow,
    decisions: tuple[DecisionRecord, ...],
    earlier: DecisionRecord | None,
) -> Item:
    return Item(
        item_id=row.item_id,
        tenant=row.tenant,
        sha256=row.sha256,
        state=row.state,
        verdict=row.verdict,
        policy=submission.policy,
        policy_version=submission.policy_version,
        model_version=submission.model_version,
        reasons=submission.reasons,
        category=row.category,
        severity=row.severity,
        score=submission.score,
        answer=payload.answer,
        media_type=evidence.media_type,
        size_bytes=evidence.size_bytes,
        enqueued_at=row.enqueued_at,
        due_at=row.due_at,
        rank=row.rank,
        surface=payload.surface,
        content_ref=payload.content_ref,
        uploader_ref=payload.uploader_ref,
        labels=payload.labels,
        submissions=row.submissions,
        round=row.round,
        tier=row.tier,
        reviews_needed=row.reviews_needed,
        expiries=row.expiries,
        claimed_by=row.claimed_by,
        claimed_at=row.claimed_at,
        lease_until=row.lease_until,
        opened_by=row.opened_by,
        opening_note=row.opening_note,
        attached_to=row.attached_to or "",
        blind=row.blind,
        group_id=row.group_id or "",
        decisions=decisions,
        earlier=earlier,
        golden_of=row.golden_of or "",
    )
