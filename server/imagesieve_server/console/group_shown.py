"""What leads are shown of groups of look-alikes, in words. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from imagesieve_server.console.listing import Row, listed
from imagesieve_server.console.words import OUTCOMES, STATES, ago, labels_in_words
from imagesieve_server.core.groups import (
    CLOSE_MAX,
    Fate,
    Group,
    GroupClose,
    GroupSummary,
    Held,
    Progress,
)
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.review import Item, Outcome, State

VERBS: Final[Mapping[Outcome, str]] = {Outcome.APPROVE: "Approve", Outcome.REJECT: "Reject"}
"""What a lead can do with a group."""
_HELD: Final[Mapping[Held, tuple[str, str]]] = {  # one, several
    Held.SEVERAL_REVIEWS: ("that needs several reviews", "that need several reviews"),
    Held.ESCALATED: ("that was escalated", "that were escalated"),
    Held.CONTESTED: ("that is contested", "that are contested"),
    Held.JUDGED_OTHERWISE: ("that is flagged otherwise", "that are flagged otherwise"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One group in the list."""

    group_id: str
    title: str
    members: int
    states: str
    first: str
    last: str
    seed: str  # the item whose picture stands for the group; "" where it has gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One item of a group."""

    row: Row
    has_picture: bool
    revealed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """One earlier decision on the group."""

    close_id: str
    title: str  # "Rejected 37 pictures as Weapons"
    by: str
    note: str
    outcome: str  # what came of it, in words
    under_way: bool
    done: int
    count: int
    reopens: int  # items that an undo reopens at most; 0 where there is nothing to undo


def pictures(count: int) -> str:
    """So many pictures, in words."""
    return f"{count} picture{'' if count == 1 else 's'}"


def line(summary: GroupSummary, seed: Item | None, *, policy: Policy | None, now: float) -> Line:
    """One group in the list; ``seed`` is its first item, ``now`` Unix time."""
    titles = {c.id: c.title for c in policy.categories} if policy else {}
    category = seed.category if seed else ""
    return Line(
        group_id=summary.group_id,
        title=titles.get(category, category) or "Unsorted",
        members=sum(summary.by_state.values()),
        states=states(summary),
        first=ago(now - summary.first_at),
        last=ago(now - summary.last_at),
        seed=seed.item_id if seed and seed.state is not State.EXPIRED else "",
    )


def states(summary: GroupSummary) -> str:
    """For example "35 waiting, 1 in hand"."""
    counts = [(text.lower(), summary.by_state.get(state, 0)) for state, text in STATES.items()]
    return ", ".join(f"{count} {text}" for text, count in counts if count)


def members(
    items: Sequence[Item],
    *,
    policy: Policy | None,
    now: float,
    reader: str,
    revealed: Collection[str],
) -> list[Member]:
    """The items as the account ``reader`` may see them; ``revealed`` are those it revealed."""
    return [
        Member(
            row=listed(item, policy=policy, now=now, reader=reader),
            has_picture=item.state is not State.EXPIRED,
            revealed=item.item_id in revealed,
        )
        for item in items
    ]  # fmt: skip


def left_open(group: Group) -> str:
    """Which open items a close leaves, "" where none."""
    parts = [f"{count} {_HELD[why][count > 1]}" for why, count in group.held.items() if count]
    if group.more:
        parts.append(f"{group.more} behind the first {CLOSE_MAX}")
    return ", ".join(parts)


def changed(*, was: int, now: int) -> str:
    """Told to whoever would have closed what was not shown."""
    if not now:
        return "Nothing was recorded: somebody else was faster, and nothing is left to decide."
    if was == now:
        return (
            "Nothing was recorded: the group has changed since you looked. Again "
            f"{pictures(now)} would be decided, but not the same ones; look at them first."
        )
    return (
        f"Nothing was recorded: the group has changed since you looked. Now {pictures(now)} would "
        f"be decided, not {was}; look at them first."
    )


def close(made: GroupClose, *, titles: Mapping[str, str], now: float) -> Close:
    """An earlier decision in words; ``now`` is Unix time."""
    labels = labels_in_words(made.labels, titles)
    under_way = made.progress in (Progress.CLOSING, Progress.UNDOING)
    return Close(
        close_id=made.close_id,
        title=f"{OUTCOMES[made.outcome].capitalize()} {pictures(made.count)}"
        + (f" as {labels}" if labels else ""),
        by=f"{made.actor}, {ago(now - made.ordered_at)}",
        note=made.note,
        outcome=_outcome(made, now=now),
        under_way=under_way,
        done=_done(made),
        count=max(1, sum(made.by_fate.values())),
        reopens=0 if _is_undone(made) else sum(
            made.by_fate.get(fate, 0) for fate in (Fate.CLOSED, Fate.PENDING)
        ),
    )  # fmt: skip


def _is_undone(made: GroupClose) -> bool:
    return made.progress in (Progress.UNDOING, Progress.UNDONE)


def _done(made: GroupClose) -> int:
    """Items that are through with what is under way."""
    waiting = Fate.PENDING if made.progress is Progress.CLOSING else Fate.CLOSED
    return sum(count for fate, count in made.by_fate.items() if fate is not waiting)


def _outcome(made: GroupClose, *, now: float) -> str:
    fates = made.by_fate
    if made.progress is Progress.CLOSING:
        return f"Under way: {_done(made)} of {sum(fates.values())} done."
    if made.progress is Progress.UNDOING:
        return f"Being undone by {made.undone_by}: {_done(made)} of {sum(fates.values())} done."
    if made.progress is Progress.UNDONE:
        when = ago(now - made.undone_at) if made.undone_at is not None else ""
        parts = [f"{fates.get(Fate.REOPENED, 0)} reopened"]
        if kept := fates.get(Fate.KEPT, 0):
            parts.append(f"{kept} left: decided again since, or without a picture")
        return f"Undone by {made.undone_by} {when}: {', '.join(parts)}."
    parts = [f"{fates.get(Fate.CLOSED, 0)} decided"]
    if skipped := fates.get(Fate.SKIPPED, 0):
        parts.append(f"{skipped} left: somebody settled, escalated or contested them meanwhile")
    return f"{', '.join(parts)}.".capitalize()
