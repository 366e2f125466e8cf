"""Requests that were answered before are found, by many at once and for whoever asks; those that
are certainly new cost the store nothing. Over memory, SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from helpers.gated_store import Counted, GatedStore
from helpers.review_queue import make_flag
from helpers.sqlite_steps import steps_of
from imagesieve_server.core.errors import RequestIdReused, StoreUnavailable
from imagesieve_server.core.review import Recorded
from imagesieve_server.core.review_afterwards import EraseRequest
from imagesieve_server.review_queue import lookups
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.recording import Asked
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter


def digest_of(content: str) -> str:
    return make_flag("any", content).request_digest


class Bench:
    def __init__(self, store: RuledStore, **options: Any) -> None:
        self.store = GatedStore(inner=store)
        self.gate = self.store.lookups
        self.metrics = Counted()
        self.writer = QueueWriter(
            store=self.store,
            evidence=MemoryEvidence(),
            metrics=self.metrics,
            **options,
        )

    async def keep(self, request_id: str, content: str = "picture", **fields: Any) -> Recorded:
        return await self.writer.submit(make_flag(request_id, content, **fields), content.encode())

    def ask(
        self, request_id: str, content: str = "picture", tenant: str = "t"
    ) -> asyncio.Task[Recorded | None]:
        return asyncio.ensure_future(
            self.writer.answer_of(
                tenant=tenant, request_id=request_id, request_digest=digest_of(content)
            )
        )

    async def first_and_then(self, *names: str) -> list[asyncio.Task[Recorded | None]]:
        """One look-up under way, and those that wait for it."""
        self.gate.hold()
        tasks = [self.ask("first")]
        await self.gate.came()
        tasks += [self.ask(name) for name in names]
        while self.writer.waiting < len(names):
            await asyncio.sleep(0)
        return tasks


@pytest.fixture
async def bench(store: RuledStore) -> AsyncIterator[Bench]:
    bench = Bench(store)
    yield bench
    bench.gate.let_all()
    await bench.writer.close()


async def test_those_who_ask_at_once_share_a_read(bench: Bench) -> None:
    """As the images of one message do."""
    kept = await bench.keep("r3")
    found = await asyncio.gather(*(bench.ask(f"r{n}") for n in range(16)))
    assert [one and one.item_id for one in found] == [None] * 3 + [kept.item_id] + [None] * 12
    assert bench.gate.groups == [[f"r{n}" for n in range(16)]]


async def test_those_who_ask_meanwhile_share_the_next_read(bench: Bench) -> None:
    tasks = await bench.first_and_then(*(f"r{n}" for n in range(300)))
    bench.gate.let_all()
    assert await asyncio.gather(*tasks) == [None] * 301
    assert [len(group) for group in bench.gate.groups] == [1, lookups.MAX_GROUP, 44]


async def test_each_gets_its_own_answer_or_error(bench: Bench) -> None:
    mine = await bench.keep("r1")
    theirs = await bench.keep("r1", "another picture", tenant="u")
    found = await asyncio.gather(
        bench.ask("r1"),
        bench.ask("r1", "changed"),
        bench.ask("r2"),
        bench.ask("r1", "another picture", tenant="u"),
        bench.ask("r1", tenant="nobody"),
        return_exceptions=True,
    )
    assert isinstance(found[0], Recorded)
    assert (found[0].item_id, found[0].repeated) == (mine.item_id, True)
    assert isinstance(found[1], RequestIdReused)
    assert found[2] is None
    assert isinstance(found[3], Recorded)
    assert found[3].item_id == theirs.item_id
    assert found[4] is None
    assert len(bench.gate.groups) == 1


async def test_who_leaves_is_not_looked_up_and_loses_nobody(bench: Bench) -> None:
    tasks = await bench.first_and_then("stays", "leaves")
    tasks[2].cancel()
    await asyncio.sleep(0)
    bench.gate.let_all()
    assert await asyncio.gather(*tasks[:2]) == [None, None]
    assert tasks[2].cancelled()
    assert bench.gate.groups == [["first"], ["stays"]]


async def test_a_store_that_is_down_is_told_to_each_and_then_goes_on(bench: Bench) -> None:
    bench.gate.failure = StoreUnavailable("down")
    tasks = await bench.first_and_then("a", "b")
    bench.gate.let_all()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in found] == [StoreUnavailable] * 3
    assert len({id(one) for one in found}) == 3, "no two callers share an exception"
    assert bench.metrics.errors == ["answer_of", "answer_of"]
    bench.gate.failure = None
    assert await bench.ask("again") is None


async def test_a_read_that_hangs_holds_up_nobody_once_its_callers_have_gone(
    store: RuledStore,
) -> None:
    """Where the store has several threads, another one is free."""
    bench = Bench(store, store_threads=2)
    try:
        hangs, waits = await bench.first_and_then("waits")
        bench.gate.only = "first"
        hangs.cancel()
        assert await asyncio.wait_for(waits, 20.0) is None
        assert bench.gate.groups == [["first"], ["waits"]]
    finally:
        bench.gate.let_all()
        await bench.writer.close()


async def test_a_read_that_nobody_waits_for_is_taken_back(bench: Bench) -> None:
    """A store that hangs is not left with a heap of them."""
    (hangs,) = await bench.first_and_then()
    for name in ("a", "b"):
        hangs.cancel()
        hangs = bench.ask(name)
        while bench.writer.waiting != 1:  # with the turns, then with the store's thread
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
    bench.gate.let_all()
    assert await hangs is None
    assert bench.gate.groups == [["first"], ["b"]]


async def test_a_closed_queue_says_so(bench: Bench) -> None:
    await bench.writer.close()
    with pytest.raises(StoreUnavailable):
        await bench.ask("late")


async def test_the_store_is_not_asked_for_a_request_that_is_certainly_new(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "LEARNED_AT_ONCE", 3)
    names = [f"r{number}" for number in range(10)]
    bench.store.record([make_flag(name, f"picture {name}") for name in names])  # before the start
    await bench.writer.learn_requests()
    assert bench.store.pages == 5
    assert await bench.ask("new") is None
    assert await bench.ask("r1", "picture r1", tenant="u") is None
    assert bench.gate.groups == []
    for name in names:
        assert await bench.ask(name, f"picture {name}") is not None
    with pytest.raises(RequestIdReused):
        await bench.ask("r1", "other")
    kept = await bench.keep("r11")
    found = await bench.ask("r11")
    assert found is not None
    assert found.item_id == kept.item_id


async def test_nothing_is_certain_where_several_servers_keep_requests(store: RuledStore) -> None:
    bench = Bench(store, several_servers=True)
    try:
        await bench.writer.learn_requests()
        bench.store.record([make_flag("r1", "picture")])  # by another server
        assert await bench.ask("r1") is not None
        assert bench.store.pages == 0
    finally:
        await bench.writer.close()


async def test_what_is_kept_while_it_learns_is_known(bench: Bench) -> None:
    """Its place among the names may have been passed already."""
    await bench.keep("m")
    learning = asyncio.ensure_future(bench.writer.learn_requests())
    for name in ("a", "z"):
        assert await bench.ask(name) is None
        await bench.keep(name)
    await learning
    bench.gate.groups.clear()
    for name in ("a", "m", "z"):
        assert await bench.ask(name) is not None
    assert bench.gate.groups == [["a"], ["m"], ["z"]]


def test_a_look_up_costs_the_same_in_a_long_queue(sqlite: RuledStore) -> None:
    """Both halves of it: whatever else is kept is not walked over."""
    asked = [Asked(tenant=tenant, request_id="new", digest="d") for tenant in ("t", "u")]

    def look() -> None:
        sqlite.answers_of(asked)
        assert len(sqlite.requests_after(("t", "r"), 2)) == 2

    sqlite.record([make_flag(f"r{number}") for number in range(4)])
    look()  # statements are prepared
    short = steps_of(sqlite, look)
    sqlite.record([make_flag(f"r{number}") for number in range(4, 2000)])
    assert steps_of(sqlite, look) <= short + 5


async def test_a_flag_on_its_way_to_the_disk_is_not_ruled_out(bench: Bench) -> None:
    await bench.writer.learn_requests()
    keeping = asyncio.ensure_future(bench.keep("r1"))
    await asyncio.sleep(0)
    await bench.ask("r1")
    assert bench.gate.groups == [["r1"]]
    await keeping


async def test_a_request_whose_details_were_erased_still_gets_its_answer(bench: Bench) -> None:
    await bench.keep("r1")
    await bench.writer.learn_requests()
    sha256 = make_flag("r1", "picture").sha256
    await bench.writer.erase(EraseRequest(tenant="t", sha256=sha256, reason="law", actor="ann"))
    assert await bench.ask("r1") is not None


async def test_a_store_that_does_not_answer_is_learned_from_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "RETRY_S", 0.001)
    await bench.keep("r1")
    bench.gate.failure = StoreUnavailable("down")
    learning = asyncio.ensure_future(bench.writer.learn_requests())
    while bench.store.pages < 3:
        await asyncio.sleep(0)
    assert not learning.done()
    bench.gate.failure = None
    assert await bench.ask("new") is None
    assert bench.gate.groups == [["new"]], "nothing is certain yet"
    await learning
    assert await bench.ask("another") is None
    assert await bench.ask("r1") is not None
    assert bench.gate.groups == [["new"], ["r1"]]
