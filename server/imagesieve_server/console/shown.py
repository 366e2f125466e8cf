"""What a reviewer is shown of an item, in words and numbers ready for a template.

Knows what must not be shown: of a policy that audits nothing that tells a sample from a flag,
and of a second review not the first one's word. Pure: values in, values out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from imagesieve_server.console.frames import Frame, judged_frames
from imagesieve_server.console.words import (
    OTHER,
    OTHER_TITLE,
    OUTCOMES,
    UNDONE_BY_REVIEWER,
    ago,
    labels_in_words,
    within,
)
from imagesieve_server.core import answer as answers
from imagesieve_server.core.answer import Answer
from imagesieve_server.core.blindness import words_shown
from imagesieve_server.core.policy import Policy, Threshold
from imagesieve_server.core.review import OPEN, Cause, DecisionRecord, Item, Outcome, State
from imagesieve_server.core.verdict import Band, CategoryScore, Reason, ReasonCode

_SEVERITY = {1: "mild", 2: "moderate", 3: "severe", 4: "urgent"}
_OPENED = {
    Cause.APPEAL: "Somebody appealed against the decision.",
    Cause.UNDO: "A decision was undone.",
    Cause.OVERTURN: "A decision is to be looked at again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One category's score on a line from 0 to 100."""

    title: str
    score: float  # 0 to 100
    review_at: float | None  # 0 to 100
    block_at: float | None
    short: str  # the score alone
    text: str  # for example "0.83, review from 0.60"
    over: bool
    acts: bool  # False for a category that is only observed
    worst: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One item as its page needs it."""

    item_id: str
    title: str
    severity: str
    reasons: tuple[str, ...]
    bars: tuple[Bar, ...]
    neutral: str
    frames: tuple[Frame, ...]
    labels: tuple[tuple[str, str, bool], ...]  # id, title, chosen at first
    earlier: tuple[str, ...]  # decisions that may be known, in words
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    due: str  # "" where it must not be known
    overdue: bool
    withheld: bool  # the model's opinion is kept back


def is_withheld(item: Item, *, reader: str = "") -> bool:
    """Whether ``audit.WITHHELD`` is kept from the account ``reader``: of a blind item until it
    is settled, and then from whoever decided it, who can take that back and decide again."""
    settled = item.state in (State.DECIDED, State.EXPIRED)
    theirs = not reader or any(record.reviewer == reader for record in item.decisions)
    return item.blind and (theirs or not settled)


def shown(
    item: Item, *, policy: Policy | None, now: float, whole: bool = False, reader: str = ""
) -> Shown:
    """What is shown of ``item`` to the account ``reader``; ``now`` is Unix time. ``whole``: with
    every decision and who made it."""
    withheld = is_withheld(item, reader=reader)
    titles = {c.id: c.title for c in policy.categories} if policy else {}
    stored = None if withheld else _answer(item)
    return Shown(
        item_id=item.item_id,
        title=titles.get(item.category, item.category) or "Unsorted",
        severity=_SEVERITY.get(item.severity, str(item.severity)),
        reasons=() if withheld else _reasons(item, stored, titles),
        bars=_bars(stored, titles),
        neutral=_neutral(stored),
        frames=judged_frames(stored, titles),
        labels=_labels(item, policy),
        earlier=_earlier(item, titles, now=now, whole=whole),
        notes=(*_to_settle(item), *_notes(item)),
        facts=_facts(item, stored, withheld=withheld),
        due="" if withheld else within(item.due_at - now),
        overdue=not withheld and item.due_at < now,
        withheld=withheld,
    )


def _answer(item: Item) -> Answer | None:
    """None where it cannot be read: the item must stay reviewable."""
    try:
        return answers.from_json(item.answer) if item.answer else None
    except (ValueError, KeyError, TypeError):
        return None


def _reasons(item: Item, stored: Answer | None, titles: Mapping[str, str]) -> tuple[str, ...]:
    if stored is None:
        given = [Reason(code=code, category=item.category) for code in item.reasons]
    else:
        given = list(stored.judgement.reasons)
    return tuple(dict.fromkeys(_reason(reason, titles) for reason in given))


def _reason(reason: Reason, titles: Mapping[str, str]) -> str:
    title = titles.get(reason.category, reason.category) or "A category"
    return {
        ReasonCode.CATEGORY_REVIEW: f"{title}: the score is high enough for a person to look.",
        ReasonCode.CATEGORY_BLOCK: f"{title}: the score is high enough to block.",
        ReasonCode.UNDECODABLE: "No picture could be made of the file.",
        ReasonCode.VIEWS_TRUNCATED: "Parts of the picture were not looked at.",
        ReasonCode.SCORE_INVALID: "The model's numbers made no sense.",
        ReasonCode.UNSCORED: "The model was down; nothing was scored.",
        ReasonCode.POLICY_FAIL_OPEN: "The model was down, and the policy let it through.",
        ReasonCode.AUDIT_SAMPLE: "Drawn for a check of what is allowed.",
    }[reason.code]


def _bars(stored: Answer | None, titles: Mapping[str, str]) -> tuple[Bar, ...]:
    if stored is None:
        return ()
    worst = stored.judgement.worst
    ranked = sorted(stored.judgement.scores, key=lambda s: s.margin, reverse=True)
    return tuple(_bar(score, titles, worst=score is worst) for score in ranked)


def _bar(score: CategoryScore, titles: Mapping[str, str], *, worst: bool) -> Bar:
    review, block = _at(score.threshold), _at(score.block_threshold)
    text = f"{score.score:.2f}"
    if review is not None:
        text += f", review from {review / 100:.2f}"
    if block is not None:
        text += f", block from {block / 100:.2f}"
    return Bar(
        title=titles.get(score.category, score.category),
        score=_percent(score.score),
        review_at=review,
        block_at=block,
        short=f"{score.score:.2f}",
        text=text,
        over=score.band is not Band.CLEAR,
        acts=score.acts or score.band is Band.CLEAR,
        worst=worst,
    )


def _at(threshold: Threshold | None) -> float | None:
    """Where on the line a threshold stands."""
    if threshold is None:
        return None
    if threshold.scale == "score":
        return _percent(threshold.value)
    return _percent(0.5 * (1 + math.tanh(threshold.value / 2)))  # the logistic function


def _percent(score: float) -> float:
    return round(100 * min(max(score, 0.0), 1.0), 1) if score == score else 100.0


def _neutral(stored: Answer | None) -> str:
    worst = stored.judgement.worst if stored else None
    return f"{worst.neutral_score:.2f}" if worst and worst.neutral_score else ""


def _labels(item: Item, policy: Policy | None) -> tuple[tuple[str, str, bool], ...]:
    known = [(c.id, c.title, c.id == item.category) for c in policy.categories] if policy else []
    if item.category and item.category not in [label for label, _, _ in known]:
        known.append((item.category, item.category, True))
    return (*known, (OTHER, OTHER_TITLE, not known))


def _earlier(item: Item, titles: Mapping[str, str], *, now: float, whole: bool) -> tuple[str, ...]:
    """Decisions of earlier rounds and other items of the bytes; of the present round only what
    a higher tier settles: a second review must not know the first one's word."""
    words = item.decisions if whole else words_shown(item, settles=True)
    lines = [
        _decision(record, titles, now, by=record.reviewer if whole else "") for record in words
    ]
    if item.earlier is not None:
        lines.insert(0, "The same file was " + _decision(item.earlier, titles, now))
    return tuple(lines)


def _decision(
    record: DecisionRecord, titles: Mapping[str, str], now: float, *, by: str = ""
) -> str:
    text = f"{OUTCOMES[record.outcome]} {ago(now - record.decided_at)}"
    if by:
        text += f" by {by}"
    if record.labels:
        text += f" ({labels_in_words(record.labels, titles)})"
    return text + (f": “{record.note}”" if record.note else "")


def _to_settle(item: Item) -> tuple[str, ...]:
    """Why an item waits in a higher tier, for whoever decides there."""
    words = [record for record in item.decisions if record.round == item.round]
    if item.tier < 2 or item.state not in OPEN or not words:
        return ()
    last = words[-1]
    if last.outcome is not Outcome.ESCALATE:
        return ("The reviewers do not agree. Your word settles it.",)
    return ("Escalated to you." + (f" “{last.note}”" if last.note else ""),)


def _notes(item: Item) -> tuple[str, ...]:
    opened = _OPENED.get(item.opened_by)
    if opened is None:
        return ()
    said = "" if item.opening_note == UNDONE_BY_REVIEWER else item.opening_note
    return (opened + (f" “{said}”" if said else ""),)


def _facts(item: Item, stored: Answer | None, *, withheld: bool) -> tuple[tuple[str, str], ...]:
    info = stored.decode_info if stored else None
    uploads = 1 if withheld else item.submissions
    facts = [
        ("Policy", item.policy),
        ("Surface", item.surface),
        ("Content", item.content_ref),
        ("Uploads of it", str(uploads) if uploads > 1 else ""),
        ("File", f"{item.media_type}, {_bytes(item.size_bytes)}"),
        ("Size", f"{info.width} × {info.height} px" if info else ""),
        ("Round", str(item.round) if item.round > 1 else ""),
        ("Tier", str(item.tier) if item.tier > 1 else ""),
        *sorted(item.labels.items()),
    ]
    return tuple((name, value) for name, value in facts if value)


def _bytes(size: int) -> str:
    return f"{size / 1024:.0f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB"
