"""ReviewService over the ReviewQueue port: claim, look, decide.

It knows messages and tenants; the rules of the queue are the core's and the store's.
"""

# ruff: noqa: N802 -- the methods are named by the contract

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from imagesieve.v1 import review_pb2
from imagesieve_server.content_cache import ContentCache
from imagesieve_server.core.errors import ItemNotFound, PermissionDenied
from imagesieve_server.core.ports import EmbeddingStore, ReviewGroups, ReviewQueue
from imagesieve_server.core.review import Cause, Item
from imagesieve_server.core.review_events import EventPage
from imagesieve_server.erase_everywhere import erase_everywhere
from imagesieve_server.grpc_api.at_once import AtOnce
from imagesieve_server.grpc_api.deadlines import unary_deadline, within
from imagesieve_server.grpc_api.group_calls import GroupCalls
from imagesieve_server.grpc_api.identity import Context, Identity, Role, present_identity
from imagesieve_server.grpc_api.streaming import run_until
from imagesieve_server.grpc_api.wire import review as wire
from imagesieve_server.grpc_api.wire.seen import reader_of

log = logging.getLogger(__name__)


class ReviewService(GroupCalls):
    """The reviewers' side of the queue."""

    def __init__(
        self,
        *,
        queue: ReviewQueue,
        groups: ReviewGroups,
        embeddings: EmbeddingStore | None = None,
        content: ContentCache | None = None,
        draining: asyncio.Event,
        watches_per_tenant: int = 16,
    ) -> None:
        """``embeddings`` and ``content`` are what a legal deletion must reach beside the queue.
        ``draining`` ends the watches, whose callers go on elsewhere."""
        self._queue = queue
        self._groups = groups
        self._embeddings = embeddings
        self._content = content
        self._draining = draining
        self._watches = AtOnce(what="watches", limit=watches_per_tenant)

    async def Claim(
        self, request: review_pb2.ClaimRequest, context: Context
    ) -> review_pb2.ClaimResponse:
        """Lease the most urgent item; an empty response where none is ready."""
        deadline = unary_deadline(context)
        who = present_identity()
        claim = wire.read_claim(request, tenant=who.tenant, name=who.name)
        _require_tier(who, claim.tier)
        _require_turn(who, claim.item_id)
        lease = await within(deadline, self._queue.claim(claim))
        if lease is None:
            return review_pb2.ClaimResponse()
        return review_pb2.ClaimResponse(
            item=wire.item_of(lease.item, reader_of(who)),
            token=lease.token,
            lease_until=wire.timestamp(lease.lease_until),
            image=await within(deadline, self._image(lease.item, wanted=request.include_image)),
        )

    async def Extend(
        self, request: review_pb2.ExtendRequest, context: Context
    ) -> review_pb2.ExtendResponse:
        """Prolong a lease."""
        who = present_identity()
        work = self._queue.extend(
            tenant=who.tenant,
            item_id=wire.item_id(request.item_id),
            token=wire.token(request.token),
            lease_s=wire.lease_seconds(request.lease_seconds),
        )
        lease = await within(unary_deadline(context), work)
        return review_pb2.ExtendResponse(lease_until=wire.timestamp(lease.lease_until))

    async def Release(
        self, request: review_pb2.ReleaseRequest, context: Context
    ) -> review_pb2.ReleaseResponse:
        """Give an item back undecided."""
        who = present_identity()
        work = self._queue.release(
            tenant=who.tenant,
            item_id=wire.item_id(request.item_id),
            token=wire.token(request.token),
        )
        item = await within(unary_deadline(context), work)
        return review_pb2.ReleaseResponse(item=wire.item_of(item, reader_of(who)))

    async def Decide(
        self, request: review_pb2.DecideRequest, context: Context
    ) -> review_pb2.DecideResponse:
        """Record a decision."""
        who = present_identity()
        decide = wire.read_decide(request, tenant=who.tenant, name=who.name)
        record = await within(unary_deadline(context), self._queue.decide(decide))
        return review_pb2.DecideResponse(decision=wire.decision_of(record))

    async def Get(self, request: review_pb2.GetRequest, context: Context) -> review_pb2.GetResponse:
        """One item, in any state."""
        deadline = unary_deadline(context)
        who = present_identity()
        wanted = wire.item_id(request.item_id)
        item = await within(deadline, self._queue.get(tenant=who.tenant, item_id=wanted))
        if not reader_of(who).may_see(item):
            raise ItemNotFound("there is no review item of that id")
        image = await within(deadline, self._image(item, wanted=request.include_image))
        return review_pb2.GetResponse(item=wire.item_of(item, reader_of(who)), image=image)

    async def List(
        self, request: review_pb2.ListRequest, context: Context
    ) -> review_pb2.ListResponse:
        """A page of items."""
        who = present_identity()
        work = self._queue.list(
            wire.read_list(request, tenant=who.tenant, blind=reader_of(who).decides)
        )
        page = await within(unary_deadline(context), work)
        reader = reader_of(who)
        return review_pb2.ListResponse(
            items=[wire.item_of(item, reader) for item in page.items if reader.may_see(item)],
            next_page_token=page.next_page_token,
        )

    async def Stats(
        self, request: review_pb2.StatsRequest, context: Context
    ) -> review_pb2.StatsResponse:
        """The caller's own tenant's counts."""
        who = present_identity()
        work = self._queue.stats(tenant=who.tenant)
        return wire.stats_of(await within(unary_deadline(context), work), reader_of(who))

    async def Requeue(
        self, request: review_pb2.RequeueRequest, context: Context
    ) -> review_pb2.RequeueResponse:
        """Put a parked item back."""
        who = present_identity()
        item_id = wire.item_id(request.item_id)
        work = self._queue.requeue(tenant=who.tenant, item_id=item_id, actor=who.name)
        item = await within(unary_deadline(context), work)
        return review_pb2.RequeueResponse(item=wire.item_of(item, reader_of(who)))

    async def Reopen(
        self, request: review_pb2.ReopenRequest, context: Context
    ) -> review_pb2.ReopenResponse:
        """Review a decided item again."""
        who = present_identity()
        asked = wire.read_reopen(request, tenant=who.tenant, name=who.name)
        _require_appeal(who, asked.cause)
        item = await within(unary_deadline(context), self._queue.reopen(asked))
        if _only_uploads(who):
            return review_pb2.ReopenResponse(item=wire.appealed(item))
        return review_pb2.ReopenResponse(item=wire.item_of(item, reader_of(who)))

    async def Erase(
        self, request: review_pb2.EraseRequest, context: Context
    ) -> review_pb2.EraseResponse:
        """Legal deletion."""
        who = present_identity()
        wanted = wire.read_erase(request, tenant=who.tenant, name=who.name)
        work = erase_everywhere(
            wanted, queue=self._queue, embeddings=self._embeddings, content=self._content
        )
        erasure = await within(unary_deadline(context), work)
        return review_pb2.EraseResponse(
            sha256=erasure.sha256,
            decisions=[wire.decision_of(decision) for decision in erasure.decisions],
        )

    async def WatchDecisions(  # type: ignore[override]  # writes, so that it can be cancelled
        self, request: review_pb2.WatchDecisionsRequest, context: Context
    ) -> None:
        """Decisions as they are made; a drain ends it."""
        who = present_identity()
        start = wire.read_watch(request)
        with self._watches.one(who.tenant):
            pages = self._queue.watch(tenant=who.tenant, **start)
            await run_until(self._draining, _send(pages, context))

    async def _image(self, item: Item, *, wanted: bool) -> bytes:
        """The original bytes; none where retention removed them, for the record stays readable."""
        if not wanted:
            return b""
        try:
            return await self._queue.evidence(tenant=item.tenant, sha256=item.sha256)
        except ItemNotFound:
            log.warning("evidence is missing", extra={"item_id": item.item_id, "state": item.state})
            return b""


def _only_uploads(who: Identity) -> bool:
    """Whether what reviewers see and say is none of the caller's business."""
    return who.roles.isdisjoint((Role.REVIEWER, Role.LEAD, Role.ADMIN))


def _require_appeal(who: Identity, cause: Cause) -> None:
    """Uploaders contest decisions; they neither undo nor overturn them. Raises PermissionDenied."""
    if _only_uploads(who) and cause is not Cause.APPEAL:
        raise PermissionDenied("a caller with the role uploader may only appeal")


def _require_tier(who: Identity, tier: int) -> None:
    """Higher tiers settle what reviewers differ on. Raises PermissionDenied."""
    if tier > 1 and Role.LEAD not in who.roles:
        raise PermissionDenied("tiers above the first are for callers with the role lead")


def _require_turn(who: Identity, item_id: str) -> None:
    """Who may choose pictures leaves the hard ones to others. Raises PermissionDenied."""
    if item_id and Role.LEAD not in who.roles:
        raise PermissionDenied("items out of their turn are for callers with the role lead")


async def _send(pages: AsyncIterator[EventPage], context: Context) -> None:
    """Write page by page. A caller that does not read is not read for: each write waits until
    the transport has taken it, and the next page is fetched after that."""
    async for page in pages:
        for event in page.events:
            await context.write(wire.event_of(event))
        if not page.events:
            await context.write(review_pb2.WatchDecisionsResponse(cursor=page.cursor))
