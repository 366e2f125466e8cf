"""WatchDecisions over a real server: nothing lost, nobody else's, and an end that is clean."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from helpers.grpc_rig import Rig, ask, refused, running, until
from imagesieve.v1 import review_pb2 as pb
from imagesieve_server.grpc_api.identity import Caller, Identity
from imagesieve_server.testing import RED, ppm

Code = grpc.StatusCode


async def decide(rig: Rig, name: str, **fields: Any) -> str:
    """Flag one picture of its own and reject it; the item's id."""
    size = 1 + int(name.rpartition("-")[2])
    answer = await rig.moderation.Moderate(ask(name, ppm(RED, side=size), **fields))
    lease = await rig.review.Claim(pb.ClaimRequest(claim_id=name, reviewer="ann"))
    await rig.review.Decide(
        pb.DecideRequest(
            item_id=lease.item.item_id, token=lease.token, outcome=pb.OUTCOME_REJECT, reviewer="ann"
        )
    )
    item_id: str = answer.item_id
    return item_id


class Reader:
    """Reads one watch in order."""

    def __init__(self, rig: Rig, cursor: str = "", **fields: Any) -> None:
        self.call = rig.review.WatchDecisions(
            pb.WatchDecisionsRequest(cursor=cursor, **fields), metadata=rig.metadata
        )
        self.cursor = cursor

    async def next(self) -> Any:
        """The next response, whatever it is."""
        async with asyncio.timeout(20):
            response = await self.call.read()
        if response is not grpc.aio.EOF:
            self.cursor = response.cursor
        return response

    async def event(self) -> Any:
        while not (response := await self.next()).HasField("decision"):
            assert response.cursor
        return response


async def test_a_watch_tells_each_decision_as_it_is_made() -> None:
    async with running() as rig:
        watch = Reader(rig)
        first = await watch.next()
        item_id = await decide(rig, "r-1", content_ref="post/1", labels={"a": "b"})
        event = await watch.event()
    assert not first.HasField("decision")
    assert first.cursor
    assert event.decision.item_id == item_id
    assert event.decision.outcome == pb.OUTCOME_REJECT
    assert (event.request_id, event.content_ref, dict(event.labels)) == (
        "r-1",
        "post/1",
        {"a": "b"},
    )
    assert len(event.sha256) == 64


async def test_a_watch_goes_on_from_its_cursor_and_from_the_oldest() -> None:
    async with running() as rig:
        watch = Reader(rig)
        await watch.next()
        watch.call.cancel()
        await decide(rig, "r-1")
        await decide(rig, "r-2")
        again = Reader(rig, watch.cursor)
        seen_again = [(await again.event()).request_id for _ in range(2)]
        oldest = Reader(rig, from_oldest=True)
        seen_oldest = [(await oldest.event()).request_id for _ in range(2)]
        behind_first = Reader(rig, (await _first_cursor(rig)))
        seen_rest = (await behind_first.event()).request_id
    assert seen_again == seen_oldest == ["r-1", "r-2"]
    assert seen_rest == "r-2"


async def _first_cursor(rig: Rig) -> str:
    cursor: str = (await Reader(rig, from_oldest=True).event()).cursor
    return cursor


async def test_an_idle_watch_says_where_it_stands_now_and_then() -> None:
    async with running() as rig:
        watch = Reader(rig)
        cursors = {(await watch.next()).cursor for _ in range(3)}
    assert len(cursors) == 1


@pytest.mark.parametrize("cursor", ["x", "AAAA", "é"])
async def test_a_foreign_cursor_is_out_of_range(cursor: str) -> None:
    async with running() as rig:
        error = await refused(Reader(rig, cursor).call.read())
    assert (error.code, error.reason) == (Code.OUT_OF_RANGE, "CURSOR_EXPIRED")


async def test_a_cursor_and_from_oldest_exclude_each_other() -> None:
    async with running() as rig:
        error = await refused(Reader(rig, "x", from_oldest=True).call.read())
    assert (error.code, error.metadata) == (Code.INVALID_ARGUMENT, {"field": "from_oldest"})


class ByHeader:
    async def authenticate(self, caller: Caller) -> Identity:
        return Identity(tenant=str(caller.metadata.get("tenant", "a")), name="ann")


async def test_a_watch_sees_its_own_tenant_only() -> None:
    async with running(authenticator=ByHeader()) as rig:
        rig.metadata = (("tenant", "b"),)
        theirs = Reader(rig)
        first = await theirs.next()
        rig.metadata = (("tenant", "a"),)
        ours = Reader(rig)
        await ours.next()
        await decide(rig, "r-1")
        assert (await ours.event()).request_id == "r-1"
        assert (await theirs.next()).cursor == first.cursor
        stolen = await refused(Reader(rig, theirs.cursor).call.read())
    assert stolen.reason == "CURSOR_EXPIRED"


def watches_ended(rig: Rig) -> int:
    return [call["method"] for call in rig.metrics.named("rpc_handled")].count("WatchDecisions")


async def test_one_tenant_cannot_take_all_calls_for_its_watches() -> None:
    async with running() as rig:
        open_ones = [Reader(rig) for _ in range(5)]
        for watch in open_ones:
            await watch.next()
        error = await refused(Reader(rig).call.read())
        open_ones[0].call.cancel()
        await until(lambda: watches_ended(rig) == 2)  # the refused one and the cancelled one
        await Reader(rig).next()
    assert (error.code, error.reason) == (Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert error.metadata == {"subject": "watches"}


async def test_a_drain_ends_a_watch_at_once_and_without_an_error() -> None:
    async with running() as rig:
        watch = Reader(rig)
        await watch.next()
        await asyncio.wait_for(rig.server.stop(), 4)  # its grace is 5 s
        last = await watch.next()
        while last is not grpc.aio.EOF:
            last = await watch.next()
        assert await watch.call.code() is Code.OK


async def test_a_drain_is_not_held_up_by_a_watcher_who_does_not_read() -> None:
    async with running() as rig:
        note = "n" * 4000
        for number in range(40):
            await rig.moderation.Moderate(ask(f"r-{number}", content_ref=note[:500]))
        Reader(rig, from_oldest=True)
        lease = await rig.review.Claim(pb.ClaimRequest(claim_id="c", reviewer="ann"))
        await rig.review.Decide(
            pb.DecideRequest(
                item_id=lease.item.item_id,
                token=lease.token,
                outcome=pb.OUTCOME_REJECT,
                reviewer="ann",
                note=note,
            )
        )
        await asyncio.wait_for(rig.server.stop(), 4)


async def to_the_end(watch: Reader) -> None:
    while await watch.next() is not grpc.aio.EOF:
        pass


async def test_a_store_that_fails_ends_the_watch_by_name() -> None:
    async with running() as rig:
        watch = Reader(rig)
        await watch.next()
        await rig.queue.close()
        error = await refused(to_the_end(watch))
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "STORE_UNAVAILABLE")
