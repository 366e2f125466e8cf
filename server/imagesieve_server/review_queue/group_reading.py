"""What a person is shown of groups: which there are, how many wait, and who belongs to one.

Knows how a group is counted and what a snapshot of it holds. A snapshot says which members were
looked at: those up to a place in the order of arrival. That no other member has come before that
place since, and none was reopened, shows in two sums that only ever grow.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagesieve_server.core.errors import InvalidRequest, ItemNotFound
from imagesieve_server.core.groups import (
    CLOSE_MAX,
    GROUPS_MAX,
    Group,
    GroupClose,
    GroupSummary,
    Held,
    Judged,
    held,
)
from imagesieve_server.core.review import ItemPage, State
from imagesieve_server.review_queue import checks, reading
from imagesieve_server.review_queue.group_rows import Counted, GroupCloseRow, Member
from imagesieve_server.review_queue.list_rows import Place
from imagesieve_server.review_queue.rows import ItemRow, Transaction

LOOK_AT = 20_000
"""Open items of each state among which groups are looked for, the last to arrive."""
CLOSES_SHOWN = 20
MEMBERS_PAGE_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Which members a person was shown."""

    group_id: str
    upto: Place  # of the last one looked at
    members: int  # up to there, in any state
    rounds: int  # the sum of their rounds
    count: int  # of those that a close closes

    def text(self) -> str:
        """Opaque to callers."""
        fields = [self.group_id, *self.upto, self.members, self.rounds, self.count]
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


def snapshot_of(text: str) -> Snapshot:
    """Raises InvalidRequest for what is none of ours."""
    try:
        fields = json.loads(base64.urlsafe_b64decode(text.encode()))
        group_id, arrived, item_id, members, rounds, count = fields
        snapshot = Snapshot(
            group_id=str(group_id),
            upto=(float(arrived), str(item_id)),
            members=int(members),
            rounds=int(rounds),
            count=int(count),
        )
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidRequest("snapshot", "was not made by this server") from None
    checks.texts("snapshot", (snapshot.group_id, snapshot.upto[1]))
    return snapshot


def groups(tx: Transaction, *, tenant: str, limit: int) -> list[GroupSummary]:
    """Groups of which two or more members wait, the largest first."""
    checks.within("limit", limit, low=1, high=GROUPS_MAX)
    found = tx.open_groups(tenant, look_at=LOOK_AT, limit=limit)
    return [_summary(group_id, tx.counted(tenant, group_id)) for group_id in found]


def group(tx: Transaction, *, tenant: str, group_id: str) -> Group:
    """A group as it is now, with a snapshot to close it by. Raises ItemNotFound."""
    checks.text("group_id", group_id, required=True)
    # First the members, then the sums: whoever is among the members is in the sums, too.
    looked_at = tx.open_members(tenant, group_id, limit=CLOSE_MAX)
    counted = tx.counted(tenant, group_id)
    if not counted:
        raise ItemNotFound("there is no group of that id")
    found = _summary(group_id, counted)
    seed = seed_of(tx, tenant, group_id)
    out = Counter(why for member in looked_at if (why := why_held(member, seed)))
    closable = len(looked_at) - out.total()
    upto = (looked_at[-1].enqueued_at, looked_at[-1].item_id) if looked_at else (0.0, "")
    members, rounds = sums(tx, tenant, group_id, upto)
    snapshot = Snapshot(
        group_id=group_id, upto=upto, members=members, rounds=rounds, count=closable
    )
    return Group(
        summary=found,
        closable=closable,
        held=out,
        more=max(0, found.waiting - len(looked_at)),
        snapshot=snapshot.text(),
        closes=tuple(
            close_of(tx, row) for row in tx.closes_of(tenant, group_id, limit=CLOSES_SHOWN)
        ),
    )


def summary(tx: Transaction, *, tenant: str, group_id: str) -> GroupSummary:
    """How many members a group has, by state. Raises ItemNotFound."""
    checks.text("group_id", group_id, required=True)
    counted = tx.counted(tenant, group_id)
    if not counted:
        raise ItemNotFound("there is no group of that id")
    return _summary(group_id, counted)


def members(
    tx: Transaction, *, tenant: str, group_id: str, page_size: int, page_token: str
) -> ItemPage:
    """A group's items in any state, by time of arrival."""
    checks.text("group_id", group_id, required=True)
    checks.within("page_size", page_size, low=1, high=checks.MAX_INT)
    size = min(page_size, MEMBERS_PAGE_MAX)
    after = _after(group_id, page_token) if page_token else None
    rows = tx.members(tenant, group_id, after=after, limit=size + 1)
    shown = rows[:size]
    token = ""
    if len(rows) > size:
        fields = [group_id, shown[-1].enqueued_at, shown[-1].item_id]
        token = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
    return ItemPage(items=tuple(reading.items_of(tx, tenant, shown)), next_page_token=token)


def close_of(tx: Transaction, row: GroupCloseRow) -> GroupClose:
    """The close with what came of it so far."""
    return GroupClose(
        close_id=row.close_id,
        group_id=row.group_id,
        outcome=row.outcome,
        labels=row.labels,
        note=row.note,
        actor=row.actor,
        ordered_at=row.ordered_at,
        count=row.count,
        progress=row.progress,
        by_fate=tx.fates(row.tenant, row.close_id),
        undone_by=row.undone_by,
        undone_at=row.undone_at,
    )


def seed_of(tx: Transaction, tenant: str, group_id: str) -> Judged | None:
    """What the group's first picture was flagged for; a group has its item's id."""
    row = tx.items(tenant, [group_id]).get(group_id)
    return None if row is None else Judged(row.category, row.verdict)


def why_held(member: Member | ItemRow, seed: Judged | None) -> Held | None:
    """Why a close leaves an open member as it is."""
    judged = Judged(member.category, member.verdict)
    return held(
        reviews_needed=member.reviews_needed,
        tier=member.tier,
        opened_by=member.opened_by,
        otherwise=seed is not None and judged.otherwise_than(seed),
    )


def sums(tx: Transaction, tenant: str, group_id: str, upto: Place) -> tuple[int, int]:
    """(members, sum of their rounds) up to a place: neither ever falls."""
    counted = tx.counted(tenant, group_id, upto=upto).values()
    return sum(c.count for c in counted), sum(c.rounds for c in counted)


def _summary(group_id: str, counted: Mapping[State, Counted]) -> GroupSummary:
    return GroupSummary(
        group_id=group_id,
        by_state={state: c.count for state, c in counted.items()},
        first_at=min(c.first_at for c in counted.values()),
        last_at=max(c.last_at for c in counted.values()),
    )


def _after(group_id: str, page_token: str) -> Place:
    try:
        fields: Sequence[object] = json.loads(base64.urlsafe_b64decode(page_token.encode()))
        question, arrived, item_id = fields
        place = (float(str(arrived)), str(item_id))
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequest("page_token", "was not made by this server") from None
    checks.text("page_token", place[1])
    if question != group_id:
        raise InvalidRequest("page_token", "belongs to another group")
    return place
