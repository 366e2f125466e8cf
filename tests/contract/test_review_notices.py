"""Watchers at another server hear of a decision at once, and find it where they do not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from helpers.postgres import PostgresServer, open_for_test
from helpers.review_queue import Desk, ManualClock
from imagesieve_server.review_queue.decision_notices import CHANNEL, listen
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter

pytestmark = pytest.mark.postgres

NEVER_S = 3600.0
LISTENING = f"SELECT pid FROM pg_stat_activity WHERE query = 'LISTEN {CHANNEL}'"


class Quiet:
    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def review_quality(self, what: str) -> None: ...

    def store_error(self, operation: str) -> None: ...


class Watcher:
    """Another server's watcher: what it was told, as it comes."""

    def __init__(self, url: str, clock: ManualClock, *, idle_s: float) -> None:
        self.writer = QueueWriter(
            store=open_for_test(url, clock),
            evidence=MemoryEvidence(),
            metrics=Quiet(),
            store_threads=2,
            several_servers=True,
            idle_s=idle_s,
        )
        self.told: asyncio.Queue[str] = asyncio.Queue()

    async def watch(self) -> None:
        async for page in self.writer.watch(tenant="t", from_oldest=True):
            for event in page.events:
                self.told.put_nowait(event.request_id)

    async def next(self) -> str:
        async with asyncio.timeout(60.0):
            return await self.told.get()


@asynccontextmanager
async def watcher(
    url: str, clock: ManualClock, *, idle_s: float, reconnect_s: float
) -> AsyncIterator[Watcher]:
    there = Watcher(url, clock, idle_s=idle_s)
    hears = listen(url=url, password=None, wake=there.writer.wake, reconnect_s=reconnect_s)
    tasks = [asyncio.create_task(hears), asyncio.create_task(there.watch())]
    try:
        yield there
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
        await there.writer.close()


async def listening(server: PostgresServer, url: str, *, but: int = 0) -> int:
    """The process that listens, once there is one (another one than ``but``)."""
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        for (pid,) in await asyncio.to_thread(server.run, url, LISTENING):
            if pid != but:
                return int(pid)
        await asyncio.sleep(0.02)
    raise AssertionError("nobody listens")


async def decide(desk: Desk, name: str) -> None:
    await asyncio.to_thread(desk.keep, name)
    await asyncio.to_thread(lambda: desk.decide(desk.lease()))


@pytest.fixture
def desk(postgres: RuledStore, clock: ManualClock) -> Desk:
    return Desk(store=postgres, clock=clock)


async def test_a_decision_at_another_server_is_heard_of(
    desk: Desk, postgres_server: PostgresServer, postgres_url: str, clock: ManualClock
) -> None:
    """This watcher never looks by itself."""
    async with watcher(postgres_url, clock, idle_s=NEVER_S, reconnect_s=0.05) as there:
        await listening(postgres_server, postgres_url)
        for name in ("r1", "r2", "r3"):
            await decide(desk, name)
            assert await there.next() == name


async def test_after_a_lost_connection_nothing_is_missed(
    desk: Desk, postgres_server: PostgresServer, postgres_url: str, clock: ManualClock
) -> None:
    """What was decided while nobody listened is found when somebody does again."""
    async with watcher(postgres_url, clock, idle_s=NEVER_S, reconnect_s=0.05) as there:
        pid = await listening(postgres_server, postgres_url)
        for name in ("r1", "r2"):
            postgres_server.run(postgres_url, f"SELECT pg_terminate_backend({pid})")
            await decide(desk, name)
            assert await there.next() == name
            pid = await listening(postgres_server, postgres_url, but=pid)
        await decide(desk, "r3")
        assert await there.next() == "r3"


async def test_who_cannot_listen_finds_decisions_by_looking(
    desk: Desk,
    postgres_server: PostgresServer,
    postgres_url: str,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watcher(postgres_url, clock, idle_s=0.1, reconnect_s=NEVER_S) as there:
        pid = await listening(postgres_server, postgres_url)
        postgres_server.run(postgres_url, f"SELECT pg_terminate_backend({pid})")
        for name in ("r1", "r2"):
            await decide(desk, name)
            assert await there.next() == name
    assert sum("not heard of at once" in record.message for record in caplog.records) == 1


async def test_what_was_not_committed_is_not_told(
    desk: Desk, postgres_server: PostgresServer, postgres_url: str, clock: ManualClock
) -> None:
    heard: list[str | None] = []
    task = asyncio.create_task(listen(url=postgres_url, password=None, wake=heard.append))
    await listening(postgres_server, postgres_url)
    with contextlib.suppress(RuntimeError), desk.store.backend.write() as tx:
        tx._dialect.tell(tx._connection, "undone")  # type: ignore[attr-defined]
        raise RuntimeError
    await decide(desk, "r1")
    async with asyncio.timeout(60.0):
        while "t" not in heard:
            await asyncio.sleep(0.01)
    assert set(heard) == {None, "t"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
