"""A decision joins its item's chain, moves the item, and is told to every uploader.

The one place where decisions are written, whoever speaks them: a reviewer, the law, an
earlier decision that is used again, or the decision of the item that this one attached to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imagesieve_server.core.review import Cause, Outcome, arrow
from imagesieve_server.review_queue import chain, events, moves
from imagesieve_server.review_queue.rows import DecisionRow, ItemRow, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What is said about an item, by whom and why."""

    outcome: Outcome
    cause: Cause
    reviewer: str
    labels: tuple[str, ...] = ()
    note: str = ""
    token: str | None = None  # None where no lease was needed
    policy_version: str = ""  # of the answer that was shown, as is the next
    model_version: str = ""


def say(
    tx: Transaction,
    item: ItemRow,
    word: Word,
    *,
    now: float,
    effective: bool = True,
    changes: Mapping[str, Any] | None = None,
) -> tuple[DecisionRow, ItemRow]:
    """Record ``word`` and take its arrow; the decision and the item as it is afterwards.

    ``changes`` are further columns of the item. Raises ArrowNotAllowed, LeaseLost.
    """
    step = arrow(item.state, word.cause)
    row = written(
        tx,
        item,
        word,
        now=now,
        effective=effective,
        round=item.round + (1 if step is not None and step.new_round else 0),
    )
    fields: dict[str, Any] = {
        "decisions": row.seq,
        "chain_head": row.hash,
        "spoken_by": row.reviewer,
        **(changes or {}),
    }
    if effective:
        fields |= {"decided_at": now, "attached_to": None}
    after = moves.move(
        tx,
        item,
        word.cause,
        now=now,
        actor=word.reviewer,
        token=word.token or "",
        detail={"decision_id": row.decision_id},
        changes=fields,
    )
    if effective and item.golden_of is None:
        events.tell(tx, row)
    return row, after


def follow(tx: Transaction, item: ItemRow, word: Word, *, now: float) -> None:
    """The items that were contested while this one was open get the same decision, each in
    its own chain, where it supersedes the contested one."""
    follower = replace(word, cause=Cause.FOLLOW, token=None)
    for attached in tx.attached(item.tenant, item.item_id):
        say(tx, attached, follower, now=now)


def written(
    tx: Transaction, item: ItemRow, word: Word, *, now: float, effective: bool, round: int
) -> DecisionRow:
    """Append ``word`` to the item's chain. The item's own row is the caller's to change."""
    before = tx.decisions(item.tenant, [item.item_id])
    row = sealed(item, word, before, now=now, effective=effective, round=round)
    tx.add_decision(row)
    return row


def sealed(
    item: ItemRow,
    word: Word,
    before: Sequence[DecisionRow],
    *,
    now: float,
    effective: bool,
    round: int,
) -> DecisionRow:
    """``word`` as the next decision behind those ``before`` of the item."""
    return chain.sealed(
        DecisionRow(
            tenant=item.tenant,
            item_id=item.item_id,
            seq=item.decisions + 1,
            decision_id=moves.new_id(now),
            round=round,
            tier=item.tier,
            outcome=word.outcome,
            labels=word.labels,
            note=word.note,
            reviewer=word.reviewer,
            token=word.token,
            decided_at=now,
            effective=effective,
            supersedes=in_effect(before) if effective else "",
            cause=word.cause,
            policy_version=word.policy_version,
            model_version=word.model_version,
            prev_hash=item.chain_head,
        )
    )


def in_effect(decisions: Sequence[DecisionRow]) -> str:
    """The decision_id of the last effective one, "" where there is none."""
    return next((row.decision_id for row in reversed(decisions) if row.effective), "")
