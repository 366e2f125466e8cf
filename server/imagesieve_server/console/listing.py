"""One line about an item, and what pages of several kinds need of one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from imagesieve_server.console.frames import plain_frames
from imagesieve_server.console.pictures import Picture
from imagesieve_server.console.shown import Shown, is_withheld
from imagesieve_server.console.words import OUTCOMES, STATES, ago, within
from imagesieve_server.core.errors import UnknownPolicy
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.ports import PolicySource
from imagesieve_server.core.review import OPEN, Item
from imagesieve_server.core.verdict import ReasonCode

REASONS = {
    ReasonCode.CATEGORY_REVIEW: "score",
    ReasonCode.CATEGORY_BLOCK: "high score",
    ReasonCode.UNDECODABLE: "no picture",
    ReasonCode.VIEWS_TRUNCATED: "seen in part",
    ReasonCode.SCORE_INVALID: "invalid score",
    ReasonCode.UNSCORED: "not scored",
    ReasonCode.POLICY_FAIL_OPEN: "let through",
    ReasonCode.AUDIT_SAMPLE: "audit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One item in a list."""

    item_id: str
    title: str
    state: str
    why: str
    arrived: str
    due: str
    overdue: bool
    tier: int
    decision: str


def listed(item: Item, *, policy: Policy | None, now: float, reader: str) -> Row:
    """The line of an item for the account ``reader``; ``now`` is Unix time.

    What its page withholds, is withheld here.
    """
    titles = {c.id: c.title for c in policy.categories} if policy else {}
    is_open = item.state in OPEN
    told = not is_withheld(item, reader=reader)
    effective = [record for record in item.decisions if record.effective]
    return Row(
        item_id=item.item_id,
        title=titles.get(item.category, item.category) or "Unsorted",
        state=STATES[item.state],
        why=", ".join(dict.fromkeys(REASONS[code] for code in item.reasons)) if told else "",
        arrived=ago(now - item.enqueued_at) if told else "",
        due=within(item.due_at - now) if told and is_open else "",
        overdue=told and is_open and item.due_at < now,
        tier=item.tier,
        decision=OUTCOMES[effective[-1].outcome].capitalize() if effective and not is_open else "",
    )


def policy_of(policies: PolicySource, item: Item) -> Policy | None:
    """The policy in force under the name that judged the item."""
    try:
        return policies.get(item.policy)
    except UnknownPolicy:
        return None


def categories_of(policies: PolicySource) -> list[tuple[str, str]]:
    """Of all policies in force: id and title, by title."""
    found = {c.id: c.title for policy in policies.all() for c in policy.categories}
    return sorted(found.items(), key=lambda pair: pair[1])


def with_frames(item: Shown, picture: Picture | str) -> Shown:
    """Views to step through where the judged ones are withheld or not known."""
    if item.frames or isinstance(picture, str):
        return item
    frames = plain_frames(picture.frames, has_alpha=picture.has_alpha)
    return dataclasses.replace(item, frames=frames)
