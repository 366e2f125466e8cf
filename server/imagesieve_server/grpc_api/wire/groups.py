"""Groups and their closing to messages and back."""

from __future__ import annotations

from collections.abc import Mapping

from imagesieve.v1 import review_pb2
from imagesieve_server.core.groups import (
    CLOSE_MAX,
    GROUPS_MAX,
    CloseGroupRequest,
    Fate,
    Group,
    GroupClose,
    GroupSummary,
    Held,
    Progress,
    UndoGroupCloseRequest,
)
from imagesieve_server.core.review import State
from imagesieve_server.grpc_api.wire import checks, enums
from imagesieve_server.grpc_api.wire.review import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    proved_name,
    timestamp,
)

PROGRESS: Mapping[Progress, review_pb2.GroupCloseProgress] = {
    Progress.CLOSING: review_pb2.GROUP_CLOSE_PROGRESS_CLOSING,
    Progress.CLOSED: review_pb2.GROUP_CLOSE_PROGRESS_CLOSED,
    Progress.UNDOING: review_pb2.GROUP_CLOSE_PROGRESS_UNDOING,
    Progress.UNDONE: review_pb2.GROUP_CLOSE_PROGRESS_UNDONE,
}


def read_page_size(value: int, *, most: int = MAX_PAGE_SIZE) -> int:
    """0 is the default. Raises InvalidRequest."""
    return checks.within("page_size", value, low=0, high=most) or DEFAULT_PAGE_SIZE


def read_groups_limit(message: review_pb2.ListGroupsRequest) -> int:
    """Raises InvalidRequest."""
    return read_page_size(message.page_size, most=GROUPS_MAX)


def read_id(field: str, value: str) -> str:
    """Raises InvalidRequest."""
    return checks.text(field, value, limit=checks.MAX_ID, required=True)


def read_page_token(value: str) -> str:
    """Raises InvalidRequest."""
    return checks.text("page_token", value, limit=checks.MAX_PAGE_TOKEN)


def read_close(
    message: review_pb2.CloseGroupRequest, *, tenant: str, name: str
) -> CloseGroupRequest:
    """Check and convert; ``name`` is the caller's proved name. Raises InvalidRequest."""
    return CloseGroupRequest(
        tenant=tenant,
        close_id=read_id("close_id", message.close_id),
        group_id=read_id("group_id", message.group_id),
        snapshot=checks.text(
            "snapshot", message.snapshot, limit=checks.MAX_PAGE_TOKEN, required=True
        ),
        count=checks.within("count", message.count, low=1, high=CLOSE_MAX),
        outcome=enums.from_wire(enums.OUTCOMES, message.outcome, field="outcome"),
        labels=checks.texts("labels", message.labels),
        note=checks.text("note", message.note, limit=checks.MAX_NOTE),
        actor=proved_name("closed_by", message.closed_by, name, required=True),
    )


def read_undo(
    message: review_pb2.UndoGroupCloseRequest, *, tenant: str, name: str
) -> UndoGroupCloseRequest:
    """Check and convert; ``name`` is the caller's proved name. Raises InvalidRequest."""
    return UndoGroupCloseRequest(
        tenant=tenant,
        close_id=read_id("close_id", message.close_id),
        note=checks.text("note", message.note, limit=checks.MAX_NOTE),
        actor=proved_name("undone_by", message.undone_by, name, required=False),
    )


def summary_of(summary: GroupSummary) -> review_pb2.GroupSummary:
    """A group in a list, as a message."""
    counts = {state: summary.by_state.get(state, 0) for state in State}
    return review_pb2.GroupSummary(
        group_id=summary.group_id,
        ready=counts[State.READY],
        leased=counts[State.LEASED],
        parked=counts[State.PARKED],
        decided=counts[State.DECIDED],
        expired=counts[State.EXPIRED],
        first_at=timestamp(summary.first_at),
        last_at=timestamp(summary.last_at),
    )


def group_of(group: Group) -> review_pb2.GetGroupResponse:
    """A group as it is looked at, as a message."""
    return review_pb2.GetGroupResponse(
        summary=summary_of(group.summary),
        closable=group.closable,
        held_for_several_reviews=group.held.get(Held.SEVERAL_REVIEWS, 0),
        held_as_escalated=group.held.get(Held.ESCALATED, 0),
        held_as_contested=group.held.get(Held.CONTESTED, 0),
        held_as_judged_otherwise=group.held.get(Held.JUDGED_OTHERWISE, 0),
        more=group.more,
        snapshot=group.snapshot,
        closes=[close_of(close) for close in group.closes],
    )


def close_of(close: GroupClose) -> review_pb2.GroupClose:
    """One decision on many items, as a message."""
    fates = {fate: close.by_fate.get(fate, 0) for fate in Fate}
    return review_pb2.GroupClose(
        close_id=close.close_id,
        group_id=close.group_id,
        outcome=enums.OUTCOMES[close.outcome],
        labels=close.labels,
        note=close.note,
        closed_by=close.actor,
        ordered_at=timestamp(close.ordered_at),
        count=close.count,
        progress=PROGRESS[close.progress],
        pending=fates[Fate.PENDING],
        closed=fates[Fate.CLOSED],
        skipped=fates[Fate.SKIPPED],
        reopened=fates[Fate.REOPENED],
        kept=fates[Fate.KEPT],
        undone_by=close.undone_by,
        undone_at=timestamp(close.undone_at),
    )
