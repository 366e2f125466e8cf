"""A reviewer's word becomes a decision, and stands for the items that wait for it.

Knows idempotence by token and which reviews count; which arrow a word takes is
``review_rules.after_review``.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagesieve_server.core.errors import DecisionConflict
from imagesieve_server.core.review import Cause, DecideRequest, DecisionRecord
from imagesieve_server.core.review_rules import Review, after_review, needed_in
from imagesieve_server.review_queue import checks, closing, moves, reading
from imagesieve_server.review_queue.closing import Word
from imagesieve_server.review_queue.rows import DecisionRow, ItemRow, Transaction


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
        needed=needed_in(item.tier, reviews_needed=item.reviews_needed),
    )
    word = _word(tx, item, request, cause)
    row, _ = closing.say(
        tx,
        item,
        word,
        now=now,
        effective=cause is Cause.DECIDE,
        changes={"tier": item.tier + 1} if cause is Cause.ESCALATE else None,
    )
    if row.effective:
        closing.follow(tx, item, word, now=now)
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


def _word(tx: Transaction, item: ItemRow, request: DecideRequest, cause: Cause) -> Word:
    shown = tx.submissions(item.tenant, [item.shown_request_id])[item.shown_request_id]
    return Word(
        outcome=request.outcome,
        cause=cause,
        reviewer=request.reviewer,
        labels=request.labels,
        note=request.note,
        token=request.token,
        policy_version=shown.policy_version,
        model_version=shown.model_version,
    )
