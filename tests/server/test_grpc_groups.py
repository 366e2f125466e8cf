"""Groups over a real server: look, close by one decision, take it back."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from helpers.grpc_rig import Rig, ask, refused, running
from imagesieve.v1 import review_pb2 as pb
from imagesieve_server.grpc_api.identity import Identity, Role
from imagesieve_server.testing import GREEN, RED, ppm

Code = grpc.StatusCode


class As:
    """Whoever calls is this one."""

    def __init__(self, *roles: Role) -> None:
        self._roles = frozenset(roles)

    async def authenticate(self, caller: Any) -> Identity:
        return Identity(tenant="t", name="lea", roles=self._roles)


async def flood(rig: Rig, count: int, *, colour: tuple[int, int, int] = RED) -> list[str]:
    """Copies of one picture, other bytes each."""
    found = []
    for number in range(count):
        image = ppm(colour) + b"#" * number
        found.append((await rig.moderation.Moderate(ask(f"{colour}-{number}", image))).item_id)
    return found


async def show(rig: Rig, item_id: str) -> Any:
    item = (await rig.review.Get(pb.GetRequest(item_id=item_id))).item
    return await rig.review.GetGroup(pb.GetGroupRequest(group_id=item.group_id))


def order(shown: Any, **fields: Any) -> pb.CloseGroupRequest:
    plain = {
        "close_id": "c-1",
        "group_id": shown.summary.group_id,
        "snapshot": shown.snapshot,
        "count": shown.closable,
        "outcome": pb.OUTCOME_REJECT,
        "labels": ["spam"],
        "note": "a flood",
        "closed_by": "lea",
    }
    return pb.CloseGroupRequest(**{**plain, **fields})


async def test_a_group_is_closed_by_one_decision_and_reopened() -> None:
    async with running() as rig:
        items = await flood(rig, 3)
        shown = await show(rig, items[0])
        closed = (await rig.review.CloseGroup(order(shown))).close
        again = (await rig.review.CloseGroup(order(shown))).close
        item = (await rig.review.Get(pb.GetRequest(item_id=items[2]))).item
        undone = (
            await rig.review.UndoGroupClose(
                pb.UndoGroupCloseRequest(close_id="c-1", note="oh", undone_by="lea")
            )
        ).close
        last = (await rig.review.GetGroupClose(pb.GetGroupCloseRequest(close_id="c-1"))).close
        ready = (await rig.review.Stats(pb.StatsRequest())).ready
    assert (shown.closable, shown.summary.ready, shown.more) == (3, 3, 0)
    assert (closed.progress, closed.closed, closed.count) == (pb.GROUP_CLOSE_PROGRESS_CLOSED, 3, 3)
    assert again == closed
    assert (item.state, item.decisions[0].cause) == (pb.ITEM_STATE_DECIDED, "GROUP_CLOSE")
    assert (item.decisions[0].reviewer, list(item.decisions[0].labels)) == ("lea", ["spam"])
    assert (undone.progress, undone.reopened) == (pb.GROUP_CLOSE_PROGRESS_UNDONE, 3)
    assert (last, ready) == (undone, 3)


async def test_groups_and_their_items_are_listed() -> None:
    async with running() as rig:
        items = await flood(rig, 3)
        await flood(rig, 1, colour=GREEN)
        groups = (await rig.review.ListGroups(pb.ListGroupsRequest())).groups
        first = await rig.review.ListGroupItems(
            pb.ListGroupItemsRequest(group_id=groups[0].group_id, page_size=2)
        )
        rest = await rig.review.ListGroupItems(
            pb.ListGroupItemsRequest(group_id=groups[0].group_id, page_token=first.next_page_token)
        )
    assert [(group.group_id, group.ready) for group in groups] == [(items[0], 3)]
    assert [item.item_id for item in (*first.items, *rest.items)] == items
    assert not rest.next_page_token


async def test_what_was_not_shown_is_not_closed() -> None:
    async with running() as rig:
        items = await flood(rig, 2)
        shown = await show(rig, items[0])
        more = await refused(rig.review.CloseGroup(order(shown, count=shown.closable + 1)))
        done = (await rig.review.CloseGroup(order(shown))).close
        await rig.review.UndoGroupClose(pb.UndoGroupCloseRequest(close_id=done.close_id))
        stale = await refused(rig.review.CloseGroup(order(shown, close_id="c-2")))
        other = await refused(rig.review.CloseGroup(order(shown, note="another")))
    assert (more.code, more.reason) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert (stale.code, stale.reason) == (Code.FAILED_PRECONDITION, "GROUP_CHANGED")
    assert (other.code, other.reason) == (Code.FAILED_PRECONDITION, "DECISION_CONFLICT")


@pytest.mark.parametrize(
    "fields",
    [
        {"close_id": ""}, {"group_id": ""}, {"snapshot": ""}, {"snapshot": "x"}, {"count": 0},
        {"count": 10_001}, {"outcome": pb.OUTCOME_ESCALATE}, {"outcome": 0}, {"closed_by": ""},
        {"labels": [""]}, {"note": "n" * 4097}, {"close_id": "c" * 129},
    ],
)  # fmt: skip
async def test_a_close_that_cannot_be_meant_is_refused(fields: dict[str, Any]) -> None:
    async with running() as rig:
        items = await flood(rig, 2)
        error = await refused(rig.review.CloseGroup(order(await show(rig, items[0]), **fields)))
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_who_is_known_closes_under_that_name() -> None:
    async with running(authenticator=As(Role.UPLOADER, Role.LEAD)) as rig:
        items = await flood(rig, 2)
        shown = await show(rig, items[0])
        error = await refused(rig.review.CloseGroup(order(shown, closed_by="ann")))
        close = (await rig.review.CloseGroup(order(shown, closed_by=""))).close
    assert error.code == Code.INVALID_ARGUMENT
    assert close.closed_by == "lea"


async def test_reviewers_neither_see_nor_close_groups() -> None:
    async with running(authenticator=As(Role.UPLOADER, Role.REVIEWER)) as rig:
        for call in (
            rig.review.ListGroups(pb.ListGroupsRequest()),
            rig.review.GetGroup(pb.GetGroupRequest(group_id="g")),
            rig.review.CloseGroup(pb.CloseGroupRequest()),
        ):
            assert (await refused(call)).code == Code.PERMISSION_DENIED


async def test_a_group_nobody_knows_is_not_found() -> None:
    async with running() as rig:
        for call in (
            rig.review.GetGroup(pb.GetGroupRequest(group_id="none")),
            rig.review.GetGroupClose(pb.GetGroupCloseRequest(close_id="none")),
            rig.review.UndoGroupClose(pb.UndoGroupCloseRequest(close_id="none")),
        ):
            error = await refused(call)
            assert (error.code, error.reason) == (Code.NOT_FOUND, "ITEM_NOT_FOUND")
