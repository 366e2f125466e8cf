"""Rows of look-alikes and of closed groups, and what their rules ask of a store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from imagesieve_server.core.groups import Fate, Progress
from imagesieve_server.core.review import Cause, Outcome, State
from imagesieve_server.core.verdict import Verdict

if TYPE_CHECKING:
    from imagesieve_server.review_queue.list_rows import Place
    from imagesieve_server.review_queue.rows import ItemRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHashRow:
    """What an item's picture looks like; columns as in ``schema_groups.picture_hash``."""

    tenant: str
    item_id: str
    bits: str
    policy: str
    filed: bool
    seed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCloseRow:
    tenant: str
    close_id: str
    group_id: str
    outcome: Outcome
    labels: tuple[str, ...]
    note: str
    actor: str
    ordered_at: float
    count: int
    progress: Progress = Progress.CLOSING
    undone_by: str = ""
    undo_note: str = ""
    undone_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCloseItemRow:
    tenant: str
    close_id: str
    item_id: str
    round: int
    fate: Fate = Fate.PENDING
    decision_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What a close must know of an open member, of which there may be many."""

    item_id: str
    enqueued_at: float
    round: int
    tier: int
    reviews_needed: int
    opened_by: Cause
    category: str
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Members of one state."""

    count: int
    rounds: int  # the sum of their rounds
    first_at: float
    last_at: float


class LooksTables(Protocol):
    """The part of a transaction that finds look-alikes."""

    def hashes(self, tenant: str, item_ids: Sequence[str]) -> Mapping[str, PictureHashRow]:
        """Of those items that have one, by item_id."""
        ...

    def filed_under(
        self, tenant: str, bands: Collection[int], *, limit: int
    ) -> Mapping[str, PictureHashRow]:
        """The hashes filed under any of the bands, by item_id; not all where that would mean to
        read more than ``limit`` entries."""
        ...

    def latest_decided(self, tenant: str, group_id: str, *, limit: int) -> Sequence[str]:
        """item_ids of DECIDED members, the last to arrive first."""
        ...

    def add_hashes(self, rows: Sequence[PictureHashRow]) -> None:
        """And file those that say so."""
        ...

    def change_hash(self, row: PictureHashRow) -> None: ...

    def drop_hash(self, row: PictureHashRow) -> None:
        """Remove it and what it is filed under."""
        ...


class GroupTables(LooksTables, Protocol):
    """The part of a transaction that knows groups and their closing."""

    def open_groups(self, tenant: str, *, look_at: int, limit: int) -> Sequence[str]:
        """Groups with two or more among the last ``look_at`` open items of each state to
        arrive; the largest first, then by id."""
        ...

    def counted(
        self, tenant: str, group_id: str, *, upto: Place | None = None
    ) -> Mapping[State, Counted]:
        """A group's members by state; ``upto``: only those that arrived no later than that."""
        ...

    def open_members(self, tenant: str, group_id: str, *, limit: int) -> Sequence[Member]:
        """By (enqueued_at, item_id)."""
        ...

    def members(
        self, tenant: str, group_id: str, *, after: Place | None, limit: int
    ) -> Sequence[ItemRow]:
        """In any state, by (enqueued_at, item_id), behind ``after``. They may change."""
        ...

    def add_close(self, row: GroupCloseRow, items: Sequence[GroupCloseItemRow]) -> None: ...

    def close(self, tenant: str, close_id: str) -> GroupCloseRow | None:
        """In a transaction that writes nobody else changes it until the end."""
        ...

    def closes_of(self, tenant: str, group_id: str, *, limit: int) -> Sequence[GroupCloseRow]:
        """The last ordered first."""
        ...

    def unfinished_closes(self) -> Sequence[tuple[str, str]]:
        """(tenant, close_id) of those at work, of all tenants, in order."""
        ...

    def close_items(
        self, tenant: str, close_id: str, fate: Fate, *, limit: int
    ) -> Sequence[GroupCloseItemRow]:
        """By item_id."""
        ...

    def fates(self, tenant: str, close_id: str) -> Mapping[Fate, int]: ...

    def change_close(self, row: GroupCloseRow) -> None: ...

    def change_close_item(self, row: GroupCloseItemRow) -> None: ...
