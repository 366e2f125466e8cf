"""The fake server's methods about groups: messages in, the state's answers out. No sockets."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from imagesieve.group_wire import CLOSE, GROUP, ITEMS, SUMMARY
from imagesieve.review_wire import OUTCOMES
from imagesieve.testing.state import FakeState
from imagesieve.v1 import review_pb2 as rpb


def _list(state: FakeState, request: rpb.ListGroupsRequest) -> Message:
    found = state.groups.list(request.page_size)
    return rpb.ListGroupsResponse(groups=[SUMMARY.write(group) for group in found])


def _get(state: FakeState, request: rpb.GetGroupRequest) -> Message:
    answer: Message = GROUP.write(state.groups.get(request.group_id))
    return answer


def _items(state: FakeState, request: rpb.ListGroupItemsRequest) -> Message:
    page = state.groups.items(request.group_id, request.page_size, request.page_token)
    answer: Message = ITEMS.write(page)
    return answer


def _close(state: FakeState, request: rpb.CloseGroupRequest) -> Message:
    close = state.groups.close(
        request.close_id,
        request.group_id,
        request.snapshot,
        request.count,
        OUTCOMES.of(request.outcome),
        labels=tuple(request.labels),
        note=request.note,
        closed_by=request.closed_by,
    )
    return rpb.CloseGroupResponse(close=CLOSE.write(close))


def _get_close(state: FakeState, request: rpb.GetGroupCloseRequest) -> Message:
    close = state.groups.get_close(request.close_id)
    return rpb.GetGroupCloseResponse(close=CLOSE.write(close))


def _undo(state: FakeState, request: rpb.UndoGroupCloseRequest) -> Message:
    close = state.groups.undo(request.close_id, note=request.note, undone_by=request.undone_by)
    return rpb.UndoGroupCloseResponse(close=CLOSE.write(close))


GROUP_ROWS: tuple[tuple[str, type[Message], Any], ...] = (
    ("ListGroups", rpb.ListGroupsRequest, _list),
    ("GetGroup", rpb.GetGroupRequest, _get),
    ("ListGroupItems", rpb.ListGroupItemsRequest, _items),
    ("CloseGroup", rpb.CloseGroupRequest, _close),
    ("GetGroupClose", rpb.GetGroupCloseRequest, _get_close),
    ("UndoGroupClose", rpb.UndoGroupCloseRequest, _undo),
)
"""Name, message and work of each."""
