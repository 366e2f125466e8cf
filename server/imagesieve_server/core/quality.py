"""What people's words on an item say about how well they decide: pairs, known answers, overturns.

Pure: from an item's words to facts. Counting them is ``quality_report.py``'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagesieve_server.core.review import Cause, Outcome

_WORDS = frozenset({Cause.DECIDE, Cause.REVIEW_AGAIN, Cause.ESCALATE})
"""Causes of what a reviewer says of an item in hand."""
_SAYS = frozenset({Outcome.APPROVE, Outcome.REJECT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One word on an item."""

    decision_id: str
    reviewer: str
    round: int
    tier: int
    outcome: Outcome
    cause: Cause
    effective: bool
    supersedes: str
    decided_at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An item with all words on it, the first first."""

    category: str  # that it was flagged for, "" where none
    round: int  # the present one
    said: tuple[Said, ...]
    known: Outcome | None = None  # the right answer of a golden item


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two people's words on one item, neither knowing of the other's."""

    category: str
    first: str
    second: str
    first_rejects: bool
    second_rejects: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenAnswer:
    """A word on an item whose right answer is known."""

    category: str
    reviewer: str
    right: bool | None  # None: passed on to the next tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A decision that took effect, by the people whose words made it."""

    category: str
    reviewers: tuple[str, ...]
    contested: bool  # somebody else judged the item again
    overturned: bool  # and said otherwise


Fact = Pair | GoldenAnswer | Judged


def facts_of(case: Case, decision_id: str) -> Iterator[Fact]:
    """What one word of the case, with those before and after it, says."""
    place, word = next(
        (place, word) for place, word in enumerate(case.said) if word.decision_id == decision_id
    )
    if word.cause not in _WORDS:
        return
    before = [
        other
        for other in case.said[:place]
        if (other.round, other.tier) == (word.round, word.tier) and other.cause in _WORDS
    ]
    if case.known is not None:
        yield from _golden(case, word)
        return
    if (word.round, word.tier) == (1, 1) and len(before) == 1:
        yield from _pair(case, before[0], word)
    if word.effective:
        yield _judged(case, (*before, word), case.said[place + 1 :])


def _golden(case: Case, word: Said) -> Iterator[GoldenAnswer]:
    """The last answer given; one that was taken back is none."""
    if word.outcome is Outcome.ESCALATE:
        yield GoldenAnswer(category=case.category, reviewer=word.reviewer, right=None)
    elif word.effective and word.round == case.round:
        right = word.outcome is case.known
        yield GoldenAnswer(category=case.category, reviewer=word.reviewer, right=right)


def _pair(case: Case, first: Said, second: Said) -> Iterator[Pair]:
    """An escalation says neither yes nor no: it makes no pair. Nor do words of later rounds: both
    people were shown what was said before, and nobody drew what was contested."""
    both_say = {first.outcome, second.outcome} <= _SAYS
    if both_say and first.reviewer != second.reviewer:
        yield Pair(
            category=case.category,
            first=first.reviewer,
            second=second.reviewer,
            first_rejects=first.outcome is Outcome.REJECT,
            second_rejects=second.outcome is Outcome.REJECT,
        )


def _judged(case: Case, agreed: Sequence[Said], after: Sequence[Said]) -> Judged:
    """``agreed``: the words that made the decision, the effective one last. What its makers say
    again themselves is no overturning, nor is a legal deletion."""
    word = agreed[-1]
    makers = tuple(dict.fromkeys(other.reviewer for other in agreed))
    successor = next((other for other in after if other.supersedes == word.decision_id), None)
    contested = (
        successor is not None
        and successor.cause in (Cause.DECIDE, Cause.FOLLOW)
        and successor.reviewer not in makers
    )
    return Judged(
        category=case.category,
        reviewers=makers,
        contested=contested,
        overturned=contested and successor is not None and successor.outcome is not word.outcome,
    )
