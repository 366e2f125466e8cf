"""Groups of look-alikes in the fake server: items that a test gave the same ``group_id``.

Follows the server's rules as a caller sees them: what was shown is closed, each item by a
decision of its own; a close is taken back as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from imagesieve.errors import DecisionConflict, GroupChanged, InvalidRequest, ItemNotFound
from imagesieve.group_results import Group, GroupClose, GroupCloseProgress, GroupSummary
from imagesieve.review_results import Item, ItemPage, ItemState, Outcome, ReopenCause
from imagesieve.testing.queue import OPEN, FakeQueue


class FakeGroups:
    """Over the fake queue, under the same lock."""

    def __init__(self, queue: FakeQueue) -> None:
        self._queue = queue
        self._closes: dict[str, GroupClose] = {}
        self._closed: dict[str, dict[str, str]] = {}  # close_id to decision_id by item_id

    def list(self, limit: int) -> tuple[GroupSummary, ...]:
        ids = dict.fromkeys(item.group_id for item in self._queue.items if item.group_id)
        large = [self._summary(group_id) for group_id in ids if len(self._open(group_id)) > 1]
        large.sort(key=lambda group: -(group.ready + group.leased + group.parked))
        return tuple(large[: limit or 50])

    def get(self, group_id: str) -> Group:
        members = self._open(group_id)
        closes = [close for close in self._closes.values() if close.group_id == group_id]
        return Group(
            summary=self._summary(group_id),
            closable=sum(_is_closable(item) for item in members),
            held_for_several_reviews=sum(
                item.reviews_needed > 1 and not _is_contested(item) and item.tier == 1
                for item in members
            ),
            held_as_escalated=sum(item.tier > 1 and not _is_contested(item) for item in members),
            held_as_contested=sum(_is_contested(item) for item in members),
            held_as_judged_otherwise=0,  # the fake's items have no seed to differ from
            snapshot=" ".join(_shown(members)),
            closes=tuple(reversed(closes)),
        )

    def items(self, group_id: str, page_size: int, page_token: str) -> ItemPage:
        members = self._members(group_id)
        first = int(page_token or 0)
        last = first + (page_size or 50)
        more = str(last) if last < len(members) else ""
        return ItemPage(items=tuple(members[first:last]), next_page_token=more)

    def close(
        self,
        close_id: str,
        group_id: str,
        snapshot: str,
        count: int,
        outcome: Outcome,
        *,
        labels: Sequence[str],
        note: str,
        closed_by: str,
    ) -> GroupClose:
        if (known := self._closes.get(close_id)) is not None:
            if (known.group_id, known.outcome, known.note) != (group_id, outcome, note):
                raise DecisionConflict("another close was ordered with this id")
            return known
        if outcome not in (Outcome.APPROVE, Outcome.REJECT):
            raise InvalidRequest("outcome: must be set", metadata={"field": "outcome"})
        shown = snapshot.split()
        if count != len(shown) or not count:
            raise InvalidRequest("count: is not what was shown", metadata={"field": "count"})
        wanted = [name for name in _shown(self._open(group_id)) if name in shown]
        if not wanted:
            raise GroupChanged("the group is not what was shown; look at it again")
        self._closed[close_id] = {
            (item_id := name.rpartition("/")[0]): self._queue.close(
                item_id, outcome, labels=tuple(labels), note=note, reviewer=closed_by
            ).decision_id
            for name in wanted
        }
        self._closes[close_id] = GroupClose(
            close_id=close_id, group_id=group_id, outcome=outcome, labels=tuple(labels),
            note=note, closed_by=closed_by, ordered_at=datetime.now(UTC), count=count,
            progress=GroupCloseProgress.CLOSED, closed=len(wanted),
        )  # fmt: skip
        return self._closes[close_id]

    def get_close(self, close_id: str) -> GroupClose:
        if close_id not in self._closes:
            raise ItemNotFound("there is no group close of that id")
        return self._closes[close_id]

    def undo(self, close_id: str, *, note: str, undone_by: str) -> GroupClose:
        close = self.get_close(close_id)
        if close.progress is GroupCloseProgress.UNDONE:
            return close
        before = [self._queue.get(item_id).round for item_id in self._closed[close_id]]
        after = [
            self._queue.reopen(item_id, ReopenCause.UNDO, decision_id=made, note=note).round
            for item_id, made in self._closed[close_id].items()
        ]
        reopened = sum(now > then for then, now in zip(before, after, strict=True))
        self._closes[close_id] = replace(
            close,
            progress=GroupCloseProgress.UNDONE,
            closed=0,
            reopened=reopened,
            kept=close.closed - reopened,
            undone_by=undone_by,
            undone_at=datetime.now(UTC),
        )
        return self._closes[close_id]

    def _members(self, group_id: str) -> tuple[Item, ...]:
        found = tuple(i for i in self._queue.items if i.group_id == group_id and group_id)
        if not found:
            raise ItemNotFound("there is no group of that id")
        return found

    def _open(self, group_id: str) -> tuple[Item, ...]:
        return tuple(item for item in self._members(group_id) if item.state in OPEN)

    def _summary(self, group_id: str) -> GroupSummary:
        members = self._members(group_id)
        states = [item.state for item in members]
        times = [item.enqueued_at for item in members if item.enqueued_at is not None]
        return GroupSummary(
            group_id=group_id,
            ready=states.count(ItemState.READY),
            leased=states.count(ItemState.LEASED),
            parked=states.count(ItemState.PARKED),
            decided=states.count(ItemState.DECIDED),
            expired=states.count(ItemState.EXPIRED),
            first_at=min(times, default=None),
            last_at=max(times, default=None),
        )


def _is_contested(item: Item) -> bool:
    return item.opened_by in (ReopenCause.APPEAL, ReopenCause.OVERTURN)


def _is_closable(item: Item) -> bool:
    return item.reviews_needed == 1 and item.tier == 1 and not _is_contested(item)


def _shown(members: Sequence[Item]) -> list[str]:
    return [f"{item.item_id}/{item.round}" for item in members if _is_closable(item)]
