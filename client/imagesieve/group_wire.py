"""The tables of the messages about groups."""

from __future__ import annotations

from imagesieve import group_results
from imagesieve.group_results import GroupCloseProgress
from imagesieve.review_results import ItemPage
from imagesieve.review_wire import ITEM, OUTCOMES
from imagesieve.tables import TEXTS, TIME, EnumField, Many, One, Table, plain
from imagesieve.v1 import review_pb2 as pb

PROGRESS = EnumField(
    {
        pb.GROUP_CLOSE_PROGRESS_CLOSING: GroupCloseProgress.CLOSING,
        pb.GROUP_CLOSE_PROGRESS_CLOSED: GroupCloseProgress.CLOSED,
        pb.GROUP_CLOSE_PROGRESS_UNDOING: GroupCloseProgress.UNDOING,
        pb.GROUP_CLOSE_PROGRESS_UNDONE: GroupCloseProgress.UNDONE,
    },
    fallback=GroupCloseProgress.UNKNOWN,
)
SUMMARY = Table(
    group_results.GroupSummary,
    pb.GroupSummary,
    plain("group_id", "ready", "leased", "parked", "decided", "expired")
    | {"first_at": TIME, "last_at": TIME},
)
CLOSE = Table(
    group_results.GroupClose,
    pb.GroupClose,
    plain("close_id", "group_id", "note", "closed_by", "count", "pending", "closed", "skipped")
    | plain("reopened", "kept", "undone_by")
    | {
        "outcome": OUTCOMES,
        "labels": TEXTS,
        "ordered_at": TIME,
        "progress": PROGRESS,
        "undone_at": TIME,
    },
)
GROUP = Table(
    group_results.Group,
    pb.GetGroupResponse,
    plain("closable", "held_for_several_reviews", "held_as_escalated", "held_as_contested")
    | plain("held_as_judged_otherwise")
    | plain("more", "snapshot")
    | {"summary": One(SUMMARY), "closes": Many(CLOSE)},
)
ITEMS = Table(ItemPage, pb.ListGroupItemsResponse, plain("next_page_token") | {"items": Many(ITEM)})
