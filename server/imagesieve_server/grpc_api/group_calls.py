"""The part of ReviewService that is about groups of look-alikes. Messages and tenants only."""

# ruff: noqa: N802 -- the methods are named by the contract

from __future__ import annotations

from imagesieve.v1 import review_pb2, review_pb2_grpc
from imagesieve_server.core.ports import ReviewGroups
from imagesieve_server.grpc_api.deadlines import unary_deadline, within
from imagesieve_server.grpc_api.identity import Context, present_identity
from imagesieve_server.grpc_api.wire import groups as wire
from imagesieve_server.grpc_api.wire import review as review_wire
from imagesieve_server.grpc_api.wire.seen import reader_of


class GroupCalls(review_pb2_grpc.ReviewServiceServicer):
    """What is asked about groups."""

    _groups: ReviewGroups

    async def ListGroups(
        self, request: review_pb2.ListGroupsRequest, context: Context
    ) -> review_pb2.ListGroupsResponse:
        """The largest groups that wait."""
        work = self._groups.list(
            tenant=present_identity().tenant, limit=wire.read_groups_limit(request)
        )
        found = await within(unary_deadline(context), work)
        return review_pb2.ListGroupsResponse(groups=[wire.summary_of(group) for group in found])

    async def GetGroup(
        self, request: review_pb2.GetGroupRequest, context: Context
    ) -> review_pb2.GetGroupResponse:
        """One group, with a snapshot to close it by."""
        work = self._groups.get(
            tenant=present_identity().tenant, group_id=wire.read_id("group_id", request.group_id)
        )
        return wire.group_of(await within(unary_deadline(context), work))

    async def ListGroupItems(
        self, request: review_pb2.ListGroupItemsRequest, context: Context
    ) -> review_pb2.ListGroupItemsResponse:
        """A page of a group's items."""
        who = present_identity()
        work = self._groups.members(
            tenant=who.tenant,
            group_id=wire.read_id("group_id", request.group_id),
            page_size=wire.read_page_size(request.page_size),
            page_token=wire.read_page_token(request.page_token),
        )
        page = await within(unary_deadline(context), work)
        reader = reader_of(who)
        return review_pb2.ListGroupItemsResponse(
            items=[
                review_wire.item_of(item, reader) for item in page.items if reader.may_see(item)
            ],
            next_page_token=page.next_page_token,
        )

    async def CloseGroup(
        self, request: review_pb2.CloseGroupRequest, context: Context
    ) -> review_pb2.CloseGroupResponse:
        """One decision on the items that were shown."""
        who = present_identity()
        wanted = wire.read_close(request, tenant=who.tenant, name=who.name)
        close = await within(unary_deadline(context), self._groups.close(wanted))
        return review_pb2.CloseGroupResponse(close=wire.close_of(close))

    async def GetGroupClose(
        self, request: review_pb2.GetGroupCloseRequest, context: Context
    ) -> review_pb2.GetGroupCloseResponse:
        """How far a close is."""
        work = self._groups.get_close(
            tenant=present_identity().tenant, close_id=wire.read_id("close_id", request.close_id)
        )
        close = await within(unary_deadline(context), work)
        return review_pb2.GetGroupCloseResponse(close=wire.close_of(close))

    async def UndoGroupClose(
        self, request: review_pb2.UndoGroupCloseRequest, context: Context
    ) -> review_pb2.UndoGroupCloseResponse:
        """Reopen what a close has closed."""
        who = present_identity()
        wanted = wire.read_undo(request, tenant=who.tenant, name=who.name)
        close = await within(unary_deadline(context), self._groups.undo(wanted))
        return review_pb2.UndoGroupCloseResponse(close=wire.close_of(close))
