"""Claims that wait share a commit, and each is answered for itself; over memory and SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from helpers.gated_store import Counted, GatedStore
from helpers.review_queue import make_flag
from imagesieve_server.core.errors import InvalidRequest, StoreUnavailable
from imagesieve_server.core.review import ClaimRequest, Lease
from imagesieve_server.review_queue.claim_groups import MAX_GROUP
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter


class Bench:
    def __init__(self, store: RuledStore) -> None:
        store.record([make_flag(f"r{number}") for number in range(80)])
        self.store = GatedStore(inner=store)
        self.gate = self.store.claimed
        self.gate.hold()
        self.writer = QueueWriter(store=self.store, evidence=MemoryEvidence(), metrics=Counted())

    def claim(self, claim_id: str, reviewer: str = "ann") -> asyncio.Task[Lease | None]:
        asked = ClaimRequest(tenant="t", reviewer=reviewer, claim_id=claim_id)
        return asyncio.ensure_future(self.writer.claim(asked))

    async def first_and_then(self, *claims: str) -> list[asyncio.Task[Lease | None]]:
        """One claim under way, and those that wait for it."""
        tasks = [self.claim("first")]
        await self.gate.came()
        tasks += [self.claim(each) for each in claims]
        while self.writer.waiting < len(claims):
            await asyncio.sleep(0)
        return tasks


@pytest.fixture
async def bench(store: RuledStore) -> AsyncIterator[Bench]:
    bench = Bench(store)
    yield bench
    bench.gate.let_all()
    await bench.writer.close()


async def test_claims_that_wait_share_a_commit_and_no_item(bench: Bench) -> None:
    tasks = await bench.first_and_then(*(f"c{n}" for n in range(70)))
    bench.gate.let_all()
    leases = await asyncio.gather(*tasks)
    assert len({lease.item.item_id for lease in leases if lease is not None}) == 71
    assert [len(group) for group in bench.gate.groups] == [1, MAX_GROUP, MAX_GROUP, 6]


async def test_the_first_to_wait_gets_the_first_by_rank(bench: Bench) -> None:
    tasks = await bench.first_and_then("a", "b", "c")
    bench.gate.let_all()
    ranks = [lease.item.rank for lease in await asyncio.gather(*tasks) if lease is not None]
    assert (len(ranks), ranks) == (4, sorted(ranks))


async def test_the_same_claim_twice_in_a_group_is_one_lease(bench: Bench) -> None:
    tasks = await bench.first_and_then("same", "same")
    bench.gate.let_all()
    _, one, other = await asyncio.gather(*tasks)
    assert one is not None
    assert one == other


async def test_a_bad_claim_is_answered_and_leaves_its_mates_alone(bench: Bench) -> None:
    tasks = await bench.first_and_then("a", "", "b\x00", "c")
    bench.gate.let_all()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, InvalidRequest) for each in found] == [False, False, True, True, False]
    assert len(bench.gate.groups) == 2


async def test_a_claim_that_breaks_the_store_does_not_fail_its_mates(bench: Bench) -> None:
    bench.gate.poison = "poison"
    tasks = await bench.first_and_then("a", "poison", "b")
    bench.gate.let_all()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, Lease) for each in found] == [True, True, False, True]
    assert isinstance(found[2], StoreUnavailable)


async def test_who_leaves_before_the_turn_leaves_no_claim(bench: Bench) -> None:
    tasks = await bench.first_and_then("stays", "leaves")
    tasks[2].cancel()
    await asyncio.sleep(0)
    bench.gate.let_all()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert bench.gate.groups == [["first"], ["stays"]]


async def test_a_store_that_is_down_is_told_to_each_and_then_goes_on(bench: Bench) -> None:
    bench.gate.failure = StoreUnavailable("down")
    tasks = await bench.first_and_then("a", "b")
    bench.gate.let_all()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, StoreUnavailable) for each in found)
    bench.gate.failure = None
    assert await bench.claim("again") is not None
