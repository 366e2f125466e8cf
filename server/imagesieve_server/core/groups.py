"""Groups of look-alikes: what one decision may close at once, and how it is taken back.

Values that cross the queue's port, and the rule of who is left out. The first flag of a group is
its seed; whoever looks like the seed belongs to it, and nobody who only looks like a member.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from imagesieve_server.core.review import Cause, DecisionRecord, Item, Outcome, State
from imagesieve_server.core.verdict import Verdict

CLOSE_MAX = 10_000
"""Items that one decision closes at most; of a larger group those that came first."""
GROUPS_MAX = 100
"""Groups on one list at most."""


class Held(enum.StrEnum):
    """Why an open member stays open when its group is closed: it is owed a look of its own."""

    SEVERAL_REVIEWS = "SEVERAL_REVIEWS"  # its policy wants several people's word
    ESCALATED = "ESCALATED"  # somebody asked for a second look at this very picture
    CONTESTED = "CONTESTED"  # an appeal or an overturned decision
    JUDGED_OTHERWISE = "JUDGED_OTHERWISE"  # another category than the seed's, or more strongly


@dataclass(frozen=True, slots=True)
class Judged:
    """What a member was flagged for."""

    category: str
    verdict: Verdict

    def otherwise_than(self, seed: Judged) -> bool:
        """Look-alikes of one picture are flagged alike. Who makes another picture fall into its
        group cannot easily make the encoder see the same in it."""
        stronger = self.verdict.strength > seed.verdict.strength
        return stronger or self.category != seed.category


def held(
    *, reviews_needed: int, tier: int, opened_by: Cause, otherwise: bool = False
) -> Held | None:
    """Why an open item is left out of a close, None where it is not."""
    if opened_by in (Cause.APPEAL, Cause.OVERTURN):
        return Held.CONTESTED
    if tier > 1:
        return Held.ESCALATED
    if otherwise:
        return Held.JUDGED_OTHERWISE
    return Held.SEVERAL_REVIEWS if reviews_needed > 1 else None


class Progress(enum.StrEnum):
    """How far a close is. What is begun is finished, whatever stops in between."""

    CLOSING = "CLOSING"
    CLOSED = "CLOSED"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"


class Fate(enum.StrEnum):
    """What became of one item of a close."""

    PENDING = "PENDING"
    CLOSED = "CLOSED"
    SKIPPED = "SKIPPED"  # decided, contested or escalated in between: left as it is
    REOPENED = "REOPENED"  # by the undo
    KEPT = "KEPT"  # left by the undo: another decision is in effect, or its picture has gone


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseGroupRequest:
    """A decision on the members that a person was shown, and on no others."""

    tenant: str
    close_id: str  # made by the caller; the same id returns the same close
    group_id: str
    snapshot: str  # of the ``Group`` that was shown
    count: int  # items to be closed, as shown
    outcome: Outcome  # APPROVE or REJECT
    labels: tuple[str, ...] = ()
    note: str = ""
    actor: str = ""  # who decides


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoGroupCloseRequest:
    tenant: str
    close_id: str
    note: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupClose:
    """One decision that closes many items, and what came of it."""

    close_id: str
    group_id: str
    outcome: Outcome
    labels: tuple[str, ...]
    note: str
    actor: str
    ordered_at: float
    count: int  # items that it was to close
    progress: Progress
    by_fate: Mapping[Fate, int]
    undone_by: str = ""
    undone_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """A group that has something to close, in a list."""

    group_id: str
    by_state: Mapping[State, int]
    first_at: float  # arrival of its first member
    last_at: float

    @property
    def waiting(self) -> int:
        """Open members."""
        return sum(self.by_state.get(state, 0) for state in OPEN_STATES)


OPEN_STATES = (State.READY, State.LEASED, State.PARKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What a person is shown before one decision closes many items."""

    summary: GroupSummary
    closable: int  # what a close with this snapshot closes
    held: Mapping[Held, int]  # open members, among those looked at, that stay open
    more: int  # open members behind the CLOSE_MAX first ones, which stay open
    snapshot: str  # opaque
    closes: tuple[GroupClose, ...] = ()  # the latest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """A decided item that looks like another one."""

    item: Item
    decision: DecisionRecord  # the one in effect
    distance: int  # bits in which the hashes differ
