"""A reviewer's word becomes a decision: append-only, chained, and told to every uploader.

Knows what a decision does to its item; which arrow it takes is ``review_rules.after_review``.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagesieve_server.core.errors import DecisionConflict
from imagesieve_server.core.review import Cause, DecideRequest, DecisionRecord
from imagesieve_server.core.review_rules import Review, after_review
from imagesieve_server.review_queue import chain, checks, events, moves, reading
from imagesieve_server.review_queue.recording import new_id
from imagesieve_server.review_queue.rows import (
    DecisionRow,
    ItemRow,
    SubmissionRow,
    Transaction,
)


def decide(tx: Transaction, request: DecideRequest) -> DecisionRecord:
    """Record a decision by token. Repeated with the same content: the same record.

    Raises ItemNotFound, DecisionConflict, LeaseLost.
    """
    checks.text("reviewer", request.reviewer, required=True)
    checks.text("note", request.note)
    checks.texts("labels", request.labels)
    now = tx.now()
    item = moves.require_item(tx, request.tenant, request.item_id)
    before = tx.decisions(item.tenant, [item.item_id])
    for row in before:
        if row.token == request.token:
            return _repeated(row, request)
    moves.require_lease(item, request.token, now)
    cause = after_review(
        Review(request.reviewer, request.outcome),
        before=_reviews(item, before),
        needed=item.reviews_needed,
    )
    shown = tx.submissions(item.tenant, [item.shown_request_id])[item.shown_request_id]
    row = chain.sealed(_row(request, item, shown, before, cause=cause, now=now))
    tx.add_decision(row)
    _move(tx, item, row, token=request.token)
    if row.effective:
        events.tell(tx, row)
    return reading.decision_of(row)


def _repeated(row: DecisionRow, request: DecideRequest) -> DecisionRecord:
    recorded = (row.outcome, row.labels, row.note, row.reviewer)
    if recorded != (request.outcome, request.labels, request.note, request.reviewer):
        raise DecisionConflict("another decision was recorded with this token")
    return reading.decision_of(row)


def _reviews(item: ItemRow, decisions: Sequence[DecisionRow]) -> list[Review]:
    """The words spoken in the item's present round and tier."""
    return [
        Review(row.reviewer, row.outcome)
        for row in decisions
        if (row.round, row.tier) == (item.round, item.tier)
    ]


def _row(
    request: DecideRequest,
    item: ItemRow,
    shown: SubmissionRow,
    before: Sequence[DecisionRow],
    *,
    cause: Cause,
    now: float,
) -> DecisionRow:
    effective = cause is Cause.DECIDE
    in_force = [row.decision_id for row in before if row.effective]
    return DecisionRow(
        tenant=item.tenant,
        item_id=item.item_id,
        seq=item.decisions + 1,
        decision_id=new_id(now),
        round=item.round,
        tier=item.tier,
        outcome=request.outcome,
        labels=request.labels,
        note=request.note,
        reviewer=request.reviewer,
        token=request.token,
        decided_at=now,
        effective=effective,
        supersedes=in_force[-1] if effective and in_force else "",
        cause=cause,
        policy_version=shown.policy_version,
        model_version=shown.model_version,
        prev_hash=item.chain_head,
    )


def _move(tx: Transaction, item: ItemRow, row: DecisionRow, *, token: str) -> None:
    changes: dict[str, object] = {"decisions": row.seq, "chain_head": row.hash}
    if row.cause is Cause.ESCALATE:
        changes["tier"] = item.tier + 1
    if row.effective:
        changes["decided_at"] = row.decided_at
    moves.move(
        tx,
        item,
        row.cause,
        now=row.decided_at,
        actor=row.reviewer,
        token=token,
        detail={"decision_id": row.decision_id},
        changes=changes,
    )
