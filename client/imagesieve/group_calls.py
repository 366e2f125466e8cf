"""The calls about groups of look-alikes as values. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import Message

from imagesieve.calls import Call
from imagesieve.group_results import Group, GroupClose, GroupSummary
from imagesieve.group_wire import CLOSE, GROUP, ITEMS, SUMMARY
from imagesieve.review_results import ItemPage, Outcome
from imagesieve.review_wire import OUTCOMES
from imagesieve.v1 import review_pb2 as pb

_REVIEW = "/imagesieve.v1.ReviewService/"

_WithClose = TypeVar(
    "_WithClose", pb.CloseGroupResponse, pb.GetGroupCloseResponse, pb.UndoGroupCloseResponse
)


def list_groups(
    *, limit: int, timeout_s: float
) -> Call[pb.ListGroupsResponse, tuple[GroupSummary, ...]]:
    return Call(
        path=_REVIEW + "ListGroups",
        request=pb.ListGroupsRequest(page_size=limit),
        answer=pb.ListGroupsResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: tuple(SUMMARY.read(group) for group in answer.groups),
    )


def get(group_id: str, *, timeout_s: float) -> Call[pb.GetGroupResponse, Group]:
    return Call(
        path=_REVIEW + "GetGroup",
        request=pb.GetGroupRequest(group_id=group_id),
        answer=pb.GetGroupResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: GROUP.read(answer),
    )


def items_page(
    group_id: str, *, page_size: int, page_token: str, timeout_s: float
) -> Call[pb.ListGroupItemsResponse, ItemPage]:
    return Call(
        path=_REVIEW + "ListGroupItems",
        request=pb.ListGroupItemsRequest(
            group_id=group_id, page_size=page_size, page_token=page_token
        ),
        answer=pb.ListGroupItemsResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: ITEMS.read(answer),
    )


def close(
    group: Group,
    outcome: Outcome,
    *,
    labels: Sequence[str],
    note: str,
    closed_by: str,
    close_id: str | None,
    timeout_s: float,
) -> Call[pb.CloseGroupResponse, GroupClose]:
    """The close_id is fixed before the first attempt: a repeated attempt orders nothing new."""
    request = pb.CloseGroupRequest(
        close_id=close_id or uuid.uuid4().hex,
        group_id=group.summary.group_id,
        snapshot=group.snapshot,
        count=group.closable,
        outcome=OUTCOMES.number(outcome),
        labels=labels,
        note=note,
        closed_by=closed_by,
    )
    return _close_call("CloseGroup", request, pb.CloseGroupResponse, timeout_s)


def get_close(close_id: str, *, timeout_s: float) -> Call[pb.GetGroupCloseResponse, GroupClose]:
    request = pb.GetGroupCloseRequest(close_id=close_id)
    return _close_call("GetGroupClose", request, pb.GetGroupCloseResponse, timeout_s)


def undo(
    close_id: str, *, note: str, undone_by: str, timeout_s: float
) -> Call[pb.UndoGroupCloseResponse, GroupClose]:
    request = pb.UndoGroupCloseRequest(close_id=close_id, note=note, undone_by=undone_by)
    return _close_call("UndoGroupClose", request, pb.UndoGroupCloseResponse, timeout_s)


def _close_call(
    method: str, request: Message, answer: type[_WithClose], timeout_s: float
) -> Call[_WithClose, GroupClose]:
    return Call(
        path=_REVIEW + method,
        request=request,
        answer=answer,
        timeout_s=timeout_s,
        read=lambda message, _: CLOSE.read(message.close),
    )
