"""What reviewers' actions and the passing of time come to: the choices between arrows.

Pure functions of the values in ``core/review.py``. They choose a cause; the table there
says whether the item's state allows it, and the store carries it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagesieve_server.core.review import (
    LEASE_MAX_S,
    PARK_AFTER_EXPIRIES,
    Cause,
    Outcome,
    due_after_s,
    rank_allowance_s,
)


@dataclass(frozen=True, slots=True)
class Review:
    """One reviewer's word in the item's present round and tier."""

    reviewer: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """Where and when somebody spoke on an item."""

    round: int
    tier: int
    decided_at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Urgency:
    """Where an item stands in the queue; both are seconds since the epoch."""

    rank: float  # the smallest is claimed first
    due_at: float

    def improved_by(self, other: Urgency) -> Urgency:
        """The earlier of both, each on its own: a join never makes an item wait longer."""
        return Urgency(rank=min(self.rank, other.rank), due_at=min(self.due_at, other.due_at))


def urgency_of(*, now: float, severity: int, score: float) -> Urgency:
    """The urgency of a flag of this severity (1 to 4) and score that arrives at ``now``."""
    return Urgency(
        rank=now - rank_allowance_s(severity=severity, score=score),
        due_at=now + due_after_s(severity),
    )


def after_review(review: Review, *, before: Sequence[Review], needed: int) -> Cause:
    """What a review leads to, given those before it in the same round and tier.

    The item is decided when ``needed`` different reviewers agree. Where two differ, the next
    tier decides: nobody outvotes another by coming last. There one word is enough, so ``needed``
    is for the first tier (``needed_in``).
    """
    if any(other.outcome is not review.outcome for other in before):
        return Cause.ESCALATE
    if review.outcome is Outcome.ESCALATE:
        return Cause.ESCALATE
    agreeing = {r.reviewer for r in (*before, review)}
    return Cause.DECIDE if len(agreeing) >= needed else Cause.REVIEW_AGAIN


def needed_in(tier: int, *, reviews_needed: int) -> int:
    """Reviewers who must agree in a tier: whoever settles a difference does so alone."""
    return reviews_needed if tier == 1 else 1


OTHERS_FIRST_S = 24 * 3600.0
"""So long, seconds, an item that is to be judged anew waits for people who have not judged it.
After that anybody may have it, or a lead who works alone would never be done."""


def is_barred(
    word: Spoken, *, round: int, tier: int, opened_by: Cause, opened_at: float, now: float
) -> bool:
    """Whether the reviewer of ``word`` may not have the item now: nobody speaks twice in one
    round and tier; a difference or an escalation is settled, and an appeal or overturning
    decided, by somebody else first. Whoever undoes a word of theirs may speak at once.

    Round, tier and opening are the item's present ones; times are seconds since the epoch.
    """
    if word.round == round:
        return word.tier == tier or word.decided_at > now - OTHERS_FIRST_S
    contested = opened_by in (Cause.APPEAL, Cause.OVERTURN) and word.round == round - 1
    return contested and opened_at > now - OTHERS_FIRST_S


def after_expiry(expiries: int) -> Cause:
    """What a lease's expiry leads to; ``expiries`` of the round, this one included."""
    return Cause.PARK if expiries >= PARK_AFTER_EXPIRIES else Cause.LEASE_EXPIRED


def extended_until(*, now: float, claimed_at: float, lease_until: float, lease_s: float) -> float:
    """When an extended lease ends: now + lease_s, within the limit, and never earlier than
    before."""
    return max(lease_until, min(now + lease_s, claimed_at + LEASE_MAX_S))
