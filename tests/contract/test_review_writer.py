"""The awaitable queue: groups, failures, cancellation, closing; over memory and SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.gated_store import Counted, GatedStore
from helpers.review_queue import ManualClock, make_flag
from imagesieve_server.core.errors import (
    InvalidRequest,
    ItemNotFound,
    LeaseLost,
    RequestIdReused,
    StoreUnavailable,
)
from imagesieve_server.core.review import (
    ClaimRequest,
    DecideRequest,
    ListRequest,
    Outcome,
    Recorded,
    State,
)
from imagesieve_server.review_queue.evidence import FolderEvidence
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter


class Bench:
    """A writer with everything around it in reach."""

    def __init__(self, store: RuledStore, root: Path, **options: Any) -> None:
        self.store = GatedStore(inner=store)
        self.gate = self.store.records
        self.metrics = Counted()
        self.evidence = FolderEvidence(root=root)
        self.writer = QueueWriter(
            store=self.store, evidence=self.evidence, metrics=self.metrics, **options
        )

    def submit(self, request_id: str, content: str = "", **fields: Any) -> asyncio.Task[Recorded]:
        flag = make_flag(request_id, content, **fields)
        data = (content or request_id).encode()
        return asyncio.ensure_future(self.writer.submit(flag, data))

    async def kept_at_last(self, request_id: str) -> Recorded:
        """Ask until it is kept: on a slow machine even a sound disk may outlast the patience."""
        async with asyncio.timeout(60.0):
            while True:
                with contextlib.suppress(StoreUnavailable):
                    return await self.submit(request_id)

    async def committing(self) -> None:
        """Wait until a commit has begun."""
        await self.gate.came()

    async def waiting(self, calls: int) -> None:
        """Wait until so many calls wait for the store."""
        async with asyncio.timeout(10.0):
            while self.writer.waiting != calls:
                await asyncio.sleep(0.002)


@pytest.fixture
async def bench(store: RuledStore, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(store, tmp_path / "evidence")
    yield bench
    bench.gate.let_all()
    await bench.writer.close()


def claim(claim_id: str = "c") -> ClaimRequest:
    return ClaimRequest(tenant="t", reviewer="ann", claim_id=claim_id)


async def test_every_method_of_the_port_works(bench: Bench, clock: ManualClock) -> None:
    writer = bench.writer
    recorded = await bench.submit("r1", "picture")
    digest = make_flag("r1", "picture").request_digest
    found = await writer.answer_of(tenant="t", request_id="r1", request_digest=digest)
    assert found is not None
    assert (found.item_id, found.answer) == (recorded.item_id, recorded.answer)
    lease = await writer.claim(claim())
    assert lease is not None
    here: dict[str, Any] = {"tenant": "t", "item_id": recorded.item_id}
    assert (await writer.extend(**here, token=lease.token, lease_s=900.0)).token == lease.token
    assert (await writer.release(**here, token=lease.token)).state is State.READY
    assert (await writer.requeue(**here, actor="boss")).state is State.READY
    await writer.claim(claim("d"))
    clock.advance(600.0)
    assert await writer.expire_leases() == 1
    again = await writer.claim(claim("e"))
    assert again is not None
    decided = DecideRequest(
        **here, token=again.token, reviewer="ann", outcome=Outcome.APPROVE, note="ok"
    )
    assert (await writer.decide(decided)).effective
    assert (await writer.get(**here)).state is State.DECIDED
    page = await writer.list(ListRequest(tenant="t", states=(State.DECIDED,)))
    assert [item.item_id for item in page.items] == [recorded.item_id]
    assert (await writer.stats(tenant="t")).by_state[State.READY] == 0
    sha256 = page.items[0].sha256
    assert await writer.evidence(tenant="t", sha256=sha256) == b"picture"


async def test_errors_come_back_to_their_caller(bench: Bench) -> None:
    await bench.submit("r1", "picture")
    with pytest.raises(RequestIdReused):
        await bench.submit("r1", "another")
    with pytest.raises(RequestIdReused):
        await bench.writer.answer_of(tenant="t", request_id="r1", request_digest="other")
    with pytest.raises(ItemNotFound):
        await bench.writer.get(tenant="t", item_id="none")
    with pytest.raises(ItemNotFound):
        await bench.writer.evidence(tenant="t", sha256="0" * 64)
    item_id = (await bench.writer.list(ListRequest(tenant="t"))).items[0].item_id
    with pytest.raises(LeaseLost):
        await bench.writer.release(tenant="t", item_id=item_id, token="none")
    with pytest.raises(InvalidRequest):
        await bench.submit("r2", sha256="0" * 64)
    assert bench.metrics.errors == [], "these are the callers' mistakes, not the store's"


async def test_flags_that_arrive_during_a_commit_are_committed_together(bench: Bench) -> None:
    bench.gate.hold()
    first = bench.submit("r0")
    await bench.committing()
    rest = [bench.submit(f"r{n}") for n in range(1, 21)]
    await bench.waiting(20)
    assert not any(task.done() for task in (first, *rest)), "nothing is acknowledged yet"
    bench.gate.let_all()
    results = await asyncio.gather(first, *rest)
    assert len({result.item_id for result in results}) == 21
    assert bench.metrics.groups == [1, 20]


async def test_a_group_is_never_larger_than_allowed(store: RuledStore, tmp_path: Path) -> None:
    bench = Bench(store, tmp_path / "evidence", max_group=8)
    await asyncio.gather(*(bench.submit(f"r{n}") for n in range(40)))
    assert sum(bench.metrics.groups) == 40
    assert max(bench.metrics.groups) <= 8
    await bench.writer.close()


async def test_lookups_that_wait_are_answered_together(bench: Bench) -> None:
    await bench.submit("r1", "picture")
    await bench.committing()
    bench.gate.hold()
    blocker = bench.submit("r2")
    await bench.committing()
    digest = make_flag("r1", "picture").request_digest
    lookups = [
        asyncio.ensure_future(
            bench.writer.answer_of(tenant="t", request_id=name, request_digest=digest)
        )
        for name in ("r1", "unknown", "r1", "r2")
    ]
    await bench.waiting(1)
    bench.gate.let_all()
    results = await asyncio.gather(*lookups, return_exceptions=True)
    assert isinstance(results[0], Recorded)
    assert results[1] is None
    assert results[2] == results[0]
    assert isinstance(results[3], RequestIdReused)
    await blocker


async def test_evidence_is_on_the_disk_before_the_row(bench: Bench) -> None:
    bench.gate.hold()
    task = bench.submit("r1", "picture")
    await bench.committing()
    sha256 = hashlib.sha256(b"picture").hexdigest()
    assert bench.evidence.get(tenant="t", sha256=sha256) == b"picture"
    bench.gate.let_all()
    await task


async def test_a_failed_commit_fails_every_waiter_by_name_and_the_next_one_works(
    bench: Bench,
) -> None:
    bench.gate.hold()
    first = bench.submit("r0")
    await bench.committing()
    rest = [bench.submit(f"r{n}") for n in range(1, 6)]
    await bench.waiting(5)
    bench.gate.failure = StoreUnavailable("full")
    bench.gate.let_all()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 6
    assert len({id(result) for result in results}) == 6, "no two callers share an exception"
    assert bench.metrics.errors == ["record", "record"]
    assert bench.metrics.groups == []
    bench.gate.failure = None
    again = await asyncio.gather(*(bench.submit(f"r{n}") for n in range(6)))
    assert not any(result.repeated for result in again)


async def test_a_flag_that_breaks_the_store_does_not_fail_its_mates(bench: Bench) -> None:
    bench.gate.hold()
    first = bench.submit("r0")
    await bench.committing()
    bench.gate.poison = "r2"
    rest = [bench.submit(f"r{n}") for n in (1, 2, 3)]
    await bench.waiting(3)
    bench.gate.let_all()
    await first
    results = await asyncio.gather(*rest, return_exceptions=True)
    assert isinstance(results[0], Recorded)
    assert isinstance(results[1], StoreUnavailable)
    assert isinstance(results[2], Recorded)
    assert "own words" not in str(results[1])
    assert bench.metrics.errors == ["record"]


async def test_evidence_that_cannot_be_written_leaves_no_row(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "evidence" / "t").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        await bench.submit("r1")
    assert bench.metrics.errors == ["evidence"]
    assert bench.gate.groups == []
    (tmp_path / "evidence" / "t").unlink()
    assert (await bench.submit("r1")).item_id


async def test_a_caller_who_leaves_before_the_commit_is_dropped_and_loses_nobody(
    bench: Bench,
) -> None:
    bench.gate.hold()
    first = bench.submit("r0")
    await bench.committing()
    gone, stays = bench.submit("gone"), bench.submit("stays")
    await bench.waiting(2)
    gone.cancel()
    await asyncio.sleep(0)
    bench.gate.let_all()
    await asyncio.gather(first, stays)
    assert gone.cancelled()
    assert bench.gate.groups == [["r0"], ["stays"]]


async def test_a_caller_who_leaves_during_the_commit_loses_nobody(bench: Bench) -> None:
    bench.gate.hold()
    first = bench.submit("r0")
    await bench.committing()
    gone, stays = bench.submit("gone"), bench.submit("stays")
    await bench.waiting(2)
    bench.gate.let_one()
    await first
    await bench.committing()
    gone.cancel()
    await asyncio.sleep(0)
    assert gone.cancelled()
    bench.gate.let_all()
    assert (await stays).item_id
    assert (await bench.submit("gone")).repeated, "it was being committed, and stays so"


async def test_a_disk_that_hangs_is_unavailable_in_time(store: RuledStore, tmp_path: Path) -> None:
    bench = Bench(store, tmp_path / "evidence", patience_s=0.3)
    bench.gate.hold()
    submits = [bench.submit(f"r{n}") for n in range(3)]
    await bench.committing()
    get = asyncio.ensure_future(bench.writer.get(tenant="t", item_id="none"))
    results = await asyncio.gather(*submits, get, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 4
    bench.gate.let_all()
    assert (await bench.kept_at_last("r9")).item_id
    await bench.writer.close()


async def test_closing_finishes_what_was_begun_and_refuses_the_rest(
    store: RuledStore, tmp_path: Path
) -> None:
    bench = Bench(store, tmp_path / "evidence")
    bench.gate.hold()
    begun = [bench.submit(f"r{n}") for n in range(10)]
    await bench.committing()
    closing = asyncio.ensure_future(bench.writer.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await bench.submit("late")
    with pytest.raises(StoreUnavailable):
        await bench.writer.stats(tenant="t")
    bench.gate.let_all()
    await closing
    results = await asyncio.gather(*begun)
    assert len({result.item_id for result in results}) == 10
    assert not [thread for thread in threading.enumerate() if thread.name == "review-store"]
    await bench.writer.close()


async def test_many_callers_are_few_commits(bench: Bench) -> None:
    """The point of it all: a commit costs a sync of the disk, whoever shares it."""
    results = await asyncio.gather(*(bench.submit(f"r{n}") for n in range(200)))
    assert len({result.item_id for result in results}) == 200
    assert sum(bench.metrics.groups) == 200
    assert (await bench.writer.stats(tenant="t")).by_state[State.READY] == 200
