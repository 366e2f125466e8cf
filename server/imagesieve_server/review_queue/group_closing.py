"""One decision closes the open members of a group that a person was shown, and is taken back.

The order is one transaction: it names every item that is to be closed. Carrying it out takes many
small ones, so that nobody waits for a large group; whatever stops in between, it is finished
later. Each item gets a decision of its own in its own chain, or is left as it is where it has
changed meanwhile. Whoever arrives after the order is not touched by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from imagesieve_server.core.errors import (
    DecisionConflict,
    GroupChanged,
    InvalidRequest,
    ItemNotFound,
)
from imagesieve_server.core.groups import (
    CLOSE_MAX,
    CloseGroupRequest,
    Fate,
    GroupClose,
    Judged,
    Progress,
    UndoGroupCloseRequest,
)
from imagesieve_server.core.review import OPEN, Cause, Outcome, State
from imagesieve_server.core.review_afterwards import ReopenRequest
from imagesieve_server.review_queue import checks, closing, group_reading, reopening
from imagesieve_server.review_queue.closing import Word
from imagesieve_server.review_queue.group_rows import GroupCloseItemRow, GroupCloseRow, Member
from imagesieve_server.review_queue.rows import ItemRow, SubmissionRow, Transaction

STEP = 50
"""Items of one transaction."""


def order(tx: Transaction, request: CloseGroupRequest) -> GroupClose:
    """Note down which items are to be closed and how. Repeated with the same content: the same
    close, as far as it is.

    Raises InvalidRequest, DecisionConflict (the id was used for something else), GroupChanged
    (not all that would be closed was shown).
    """
    _check(request)
    tx.hold(request.tenant, [f"close {request.close_id}"])
    known = tx.close(request.tenant, request.close_id)
    if known is not None:
        return _repeated(tx, known, request)
    wanted = _shown_and_open(tx, request)
    row = GroupCloseRow(
        tenant=request.tenant,
        close_id=request.close_id,
        group_id=request.group_id,
        outcome=request.outcome,
        labels=request.labels,
        note=request.note,
        actor=request.actor,
        ordered_at=tx.now(),
        count=request.count,
    )
    items = [
        GroupCloseItemRow(
            tenant=row.tenant, close_id=row.close_id, item_id=member.item_id, round=member.round
        )
        for member in wanted
    ]
    tx.add_close(row, items)
    return group_reading.close_of(tx, row)


def undo(tx: Transaction, request: UndoGroupCloseRequest) -> GroupClose:
    """Note down that a close is taken back. Repeated: the close, as far as it is.

    Raises InvalidRequest, ItemNotFound.
    """
    checks.text("close_id", request.close_id, required=True)
    checks.texts("note", (request.note, request.actor))
    row = tx.close(request.tenant, request.close_id)
    if row is None:
        raise ItemNotFound("there is no group close of that id")
    if row.progress in (Progress.CLOSING, Progress.CLOSED):
        row = replace(
            row,
            progress=Progress.UNDOING,
            undone_by=request.actor,
            undo_note=request.note,
            undone_at=tx.now(),
        )
        tx.change_close(row)
    return group_reading.close_of(tx, row)


def step(tx: Transaction, *, tenant: str, close_id: str) -> GroupClose:
    """Carry out the next part of what was ordered; where nothing is left, say so in the close.

    Raises ItemNotFound.
    """
    row = tx.close(tenant, close_id)
    if row is None:
        raise ItemNotFound("there is no group close of that id")
    if row.progress is Progress.CLOSING and not _close_some(tx, row):
        row = _now(tx, row, Progress.CLOSED)
    elif row.progress is Progress.UNDOING and not _undo_some(tx, row):
        row = _now(tx, row, Progress.UNDONE)
    return group_reading.close_of(tx, row)


def _check(request: CloseGroupRequest) -> None:
    checks.text("close_id", request.close_id, required=True)
    checks.text("group_id", request.group_id, required=True)
    checks.text("actor", request.actor, required=True)
    checks.text("note", request.note)
    checks.texts("labels", request.labels)
    checks.within("count", request.count, low=1, high=CLOSE_MAX)
    if request.outcome not in (Outcome.APPROVE, Outcome.REJECT):
        raise InvalidRequest("outcome", "must be APPROVE or REJECT: a group is not escalated")


def _shown_and_open(tx: Transaction, request: CloseGroupRequest) -> list[Member]:
    """The members to be closed: all of them were shown, and none is owed a look of its own."""
    snapshot = group_reading.snapshot_of(request.snapshot)
    if snapshot.group_id != request.group_id:
        raise InvalidRequest("snapshot", "is of another group")
    if snapshot.count != request.count:
        raise InvalidRequest("count", "is not the number that was shown with the snapshot")
    # First the members, then the sums: whoever was not shown changes the sums.
    members = tx.open_members(request.tenant, request.group_id, limit=CLOSE_MAX)
    seed = group_reading.seed_of(tx, request.tenant, request.group_id)
    wanted = [
        member
        for member in members
        if (member.enqueued_at, member.item_id) <= snapshot.upto
        and group_reading.why_held(member, seed) is None
    ]
    sums = group_reading.sums(tx, request.tenant, request.group_id, snapshot.upto)
    if sums != (snapshot.members, snapshot.rounds) or len(wanted) > request.count:
        raise GroupChanged("the group has members that were not shown; look at it again")
    return wanted


def _repeated(tx: Transaction, row: GroupCloseRow, request: CloseGroupRequest) -> GroupClose:
    ordered = (row.group_id, row.outcome, row.labels, row.note, row.actor, row.count)
    asked = (request.group_id, request.outcome, request.labels, request.note, request.actor)
    if ordered != (*asked, request.count):
        raise DecisionConflict("another close was ordered with this id")
    return group_reading.close_of(tx, row)


def _now(tx: Transaction, row: GroupCloseRow, progress: Progress) -> GroupCloseRow:
    row = replace(row, progress=progress)
    tx.change_close(row)
    return row


def _close_some(tx: Transaction, row: GroupCloseRow) -> bool:
    """Whether there were any left."""
    entries = tx.close_items(row.tenant, row.close_id, Fate.PENDING, limit=STEP)
    items = tx.items(row.tenant, [entry.item_id for entry in entries])
    shown = tx.submissions(row.tenant, [item.shown_request_id for item in items.values()])
    seed = group_reading.seed_of(tx, row.tenant, row.group_id)
    for entry in entries:
        item = items.get(entry.item_id)
        fate = replace(entry, fate=Fate.SKIPPED)
        if item is not None and _is_as_ordered(tx, item, entry, seed):
            fate = _closed(tx, row, entry, item, shown)
        tx.change_close_item(fate)
    return bool(entries)


def _is_as_ordered(
    tx: Transaction, item: ItemRow, entry: GroupCloseItemRow, seed: Judged | None
) -> bool:
    """Whether it may be closed still. Not where a contested item waits for its decision: what
    follows is a person's word on these very bytes, and would be used again as one."""
    why = group_reading.why_held(item, seed)
    real = item.golden_of is None  # a copy of a golden item is a question to one reviewer
    same = item.state in OPEN and item.round == entry.round and why is None
    return real and same and not tx.attached(item.tenant, item.item_id)


def _closed(
    tx: Transaction,
    row: GroupCloseRow,
    entry: GroupCloseItemRow,
    item: ItemRow,
    shown: Mapping[str, SubmissionRow],
) -> GroupCloseItemRow:
    word = Word(
        outcome=row.outcome,
        cause=Cause.GROUP_CLOSE,
        reviewer=row.actor,
        labels=row.labels,
        note=row.note,
        policy_version=shown[item.shown_request_id].policy_version,
        model_version=shown[item.shown_request_id].model_version,
    )
    decision, _ = closing.say(tx, item, word, now=tx.now())
    return replace(entry, fate=Fate.CLOSED, decision_id=decision.decision_id)


def _undo_some(tx: Transaction, row: GroupCloseRow) -> bool:
    """Whether there were any left."""
    for entry in (pending := tx.close_items(row.tenant, row.close_id, Fate.PENDING, limit=STEP)):
        tx.change_close_item(replace(entry, fate=Fate.SKIPPED))
    entries = tx.close_items(row.tenant, row.close_id, Fate.CLOSED, limit=STEP)
    items = tx.items(row.tenant, [entry.item_id for entry in entries])
    for entry in entries:
        reopened = _reopened(tx, row, entry, items[entry.item_id])
        tx.change_close_item(replace(entry, fate=Fate.REOPENED if reopened else Fate.KEPT))
    return bool(pending or entries)


def _reopened(tx: Transaction, row: GroupCloseRow, entry: GroupCloseItemRow, item: ItemRow) -> bool:
    """Whether the item's decision was still this close's, and is contested now."""
    decisions = tx.decisions(row.tenant, [item.item_id])
    in_effect = closing.in_effect(decisions) == entry.decision_id
    if item.state is not State.DECIDED or item.attached_to is not None or not in_effect:
        return False
    request = ReopenRequest(
        tenant=row.tenant,
        item_id=item.item_id,
        cause=Cause.UNDO,
        decision_id=entry.decision_id or "",
        note=row.undo_note,
        actor=row.undone_by,
    )
    reopening.contest(tx, item, request)
    return True
