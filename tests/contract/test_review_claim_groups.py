"""Claims that wait share a commit, and each is answered for itself; over memory and SQLite."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from helpers.review_queue import make_flag
from imagesieve_server.core.errors import InvalidRequest, RequestError, StoreUnavailable
from imagesieve_server.core.review import ClaimRequest, Lease
from imagesieve_server.review_queue.claim_groups import MAX_GROUP
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter


class Counted:
    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def review_quality(self, what: str) -> None: ...

    def store_error(self, operation: str) -> None: ...


class Gated(RuledStore):
    """A store whose claims wait until they are let."""

    def __init__(self, *, inner: RuledStore) -> None:
        super().__init__(backend=inner.backend)
        self.may = threading.Event()
        self.entered = threading.Event()
        self.groups: list[list[str]] = []
        self.poison = "none"  # a claim_id that no store could take
        self.down = False

    def claims(self, requests: Sequence[ClaimRequest]) -> list[Lease | RequestError | None]:
        self.groups.append([request.claim_id for request in requests])
        self.entered.set()
        assert self.may.wait(60.0)
        if self.down:
            raise StoreUnavailable("down")
        if self.poison in self.groups[-1]:
            raise RuntimeError("the database's own words")
        return super().claims(requests)


class Bench:
    def __init__(self, store: RuledStore) -> None:
        store.record([make_flag(f"r{number}") for number in range(80)])
        self.store = Gated(inner=store)
        self.writer = QueueWriter(store=self.store, evidence=MemoryEvidence(), metrics=Counted())

    def claim(self, claim_id: str, reviewer: str = "ann") -> asyncio.Task[Lease | None]:
        asked = ClaimRequest(tenant="t", reviewer=reviewer, claim_id=claim_id)
        return asyncio.ensure_future(self.writer.claim(asked))

    async def first_and_then(self, *claims: str) -> list[asyncio.Task[Lease | None]]:
        """One claim under way, and those that wait for it."""
        tasks = [self.claim("first")]
        assert await asyncio.to_thread(self.store.entered.wait, 60.0)
        tasks += [self.claim(each) for each in claims]
        while self.writer.waiting < len(claims):
            await asyncio.sleep(0)
        return tasks


@pytest.fixture
async def bench(store: RuledStore) -> AsyncIterator[Bench]:
    bench = Bench(store)
    yield bench
    bench.store.may.set()
    await bench.writer.close()


async def test_claims_that_wait_share_a_commit_and_no_item(bench: Bench) -> None:
    tasks = await bench.first_and_then(*(f"c{n}" for n in range(70)))
    bench.store.may.set()
    leases = await asyncio.gather(*tasks)
    assert len({lease.item.item_id for lease in leases if lease is not None}) == 71
    assert [len(group) for group in bench.store.groups] == [1, MAX_GROUP, MAX_GROUP, 6]


async def test_the_first_to_wait_gets_the_first_by_rank(bench: Bench) -> None:
    tasks = await bench.first_and_then("a", "b", "c")
    bench.store.may.set()
    ranks = [lease.item.rank for lease in await asyncio.gather(*tasks) if lease is not None]
    assert (len(ranks), ranks) == (4, sorted(ranks))


async def test_the_same_claim_twice_in_a_group_is_one_lease(bench: Bench) -> None:
    tasks = await bench.first_and_then("same", "same")
    bench.store.may.set()
    _, one, other = await asyncio.gather(*tasks)
    assert one is not None
    assert one == other


async def test_a_bad_claim_is_answered_and_leaves_its_mates_alone(bench: Bench) -> None:
    tasks = await bench.first_and_then("a", "", "b\x00", "c")
    bench.store.may.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, InvalidRequest) for each in found] == [False, False, True, True, False]
    assert len(bench.store.groups) == 2


async def test_a_claim_that_breaks_the_store_does_not_fail_its_mates(bench: Bench) -> None:
    bench.store.poison = "poison"
    tasks = await bench.first_and_then("a", "poison", "b")
    bench.store.may.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, Lease) for each in found] == [True, True, False, True]
    assert isinstance(found[2], StoreUnavailable)


async def test_who_leaves_before_the_turn_leaves_no_claim(bench: Bench) -> None:
    tasks = await bench.first_and_then("stays", "leaves")
    tasks[2].cancel()
    await asyncio.sleep(0)
    bench.store.may.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert bench.store.groups == [["first"], ["stays"]]


async def test_a_store_that_is_down_is_told_to_each_and_then_goes_on(bench: Bench) -> None:
    bench.store.down = True
    tasks = await bench.first_and_then("a", "b")
    bench.store.may.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, StoreUnavailable) for each in found)
    bench.store.down = False
    assert await bench.claim("again") is not None
