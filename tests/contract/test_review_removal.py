"""Files go after their rows, only where nobody refers to them, and never under a writer."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.review_queue import ManualClock, make_flag
from imagesieve_server import durable_files as files
from imagesieve_server.core.errors import InvalidRequest, ItemNotFound, StoreUnavailable
from imagesieve_server.core.review import ClaimRequest, DecideRequest, Outcome, Recorded
from imagesieve_server.core.review_afterwards import EraseRequest
from imagesieve_server.review_queue.evidence import (
    PARTS,
    EvidenceStore,
    FolderEvidence,
    folder_name,
    tenant_of,
)
from imagesieve_server.review_queue.evidence_gate import EvidenceGate
from imagesieve_server.review_queue.removal import GARBAGE_AGE_S
from imagesieve_server.review_queue.signals import Signals, is_set_within
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter

OLD = GARBAGE_AGE_S + 10.0


class NoMetrics:
    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def review_quality(self, what: str) -> None: ...

    def store_error(self, operation: str) -> None: ...


class Held(FolderEvidence):
    """An evidence folder whose writes can be held back."""

    def __init__(self, *, root: Path) -> None:
        super().__init__(root=root)
        self.writing = threading.Event()
        self.may_write = threading.Event()
        self.may_write.set()

    def put(self, *, tenant: str, sha256: str, data: bytes) -> None:
        self.writing.set()
        assert self.may_write.wait(20)
        super().put(tenant=tenant, sha256=sha256, data=data)


class Meddled(Held):
    """A folder in which another server removes the file just before the second look at it."""

    def __init__(self, *, root: Path, store: RuledStore, by_law: bool) -> None:
        super().__init__(root=root)
        self._store = store
        self._by_law = by_law

    def has(self, *, tenant: str, sha256: str) -> bool:
        if self._by_law:
            self._store.erase(
                EraseRequest(tenant=tenant, sha256=sha256, reason="order", actor="law")
            )
        self.remove(tenant=tenant, sha256=sha256)
        return super().has(tenant=tenant, sha256=sha256)


class Bench:
    def __init__(self, store: RuledStore, root: Path, **options: Any) -> None:
        self.root = root
        self.evidence = Held(root=root)
        self.store = store
        self.writer = QueueWriter(
            store=store, evidence=self.evidence, metrics=NoMetrics(), **options
        )

    async def keep(self, name: str, content: str = "picture", **fields: Any) -> Recorded:
        return await self.writer.submit(make_flag(name, content, **fields), content.encode())

    async def decide(self) -> None:
        lease = await self.writer.claim(
            ClaimRequest(tenant="t", reviewer="ann", claim_id=os.urandom(4).hex())
        )
        assert lease is not None
        await self.writer.decide(
            DecideRequest(
                tenant="t",
                item_id=lease.item.item_id,
                token=lease.token,
                reviewer="ann",
                outcome=Outcome.REJECT,
            )
        )

    async def erase(self, content: str = "picture") -> None:
        asked = EraseRequest(tenant="t", sha256=sha_of(content), reason="order", actor="law")
        await self.writer.erase(asked)

    async def sweep(self) -> int:
        return sum([await self.writer.sweep_evidence(part=part) for part in range(PARTS)])

    def file(self, content: str = "picture", tenant: str = "t") -> Path:
        sha256 = sha_of(content)
        return self.root / tenant / sha256[:2] / sha256

    def age(self, path: Path) -> None:
        os.utime(path, (time.time() - OLD, time.time() - OLD))


def sha_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


@pytest.fixture
async def bench(store: RuledStore, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(store, tmp_path / "evidence")
    yield bench
    bench.evidence.may_write.set()
    await bench.writer.close()


async def test_an_erased_pictures_file_is_gone_and_its_folder_synced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.keep("r1")
    synced: list[Path] = []
    real = files.sync_folder
    monkeypatch.setattr(files, "sync_folder", lambda p: (synced.append(p), real(p))[1])
    await bench.erase()
    assert not bench.file().exists()
    assert bench.file().parent in synced
    with pytest.raises(ItemNotFound):
        await bench.writer.evidence(tenant="t", sha256=sha_of("picture"))
    await bench.erase()


@pytest.mark.parametrize("by_law", [False, True])
async def test_a_file_that_another_server_removed_comes_back_where_a_row_needs_it(
    store: RuledStore, tmp_path: Path, by_law: bool
) -> None:
    evidence = Meddled(root=tmp_path, store=store, by_law=by_law)
    writer = QueueWriter(store=store, evidence=evidence, metrics=NoMetrics(), several_servers=True)
    flag = make_flag("r1", "picture")
    await writer.submit(flag, b"picture")
    folder = FolderEvidence(root=tmp_path)
    assert folder.has(tenant="t", sha256=flag.sha256) is not by_law
    await writer.close()


async def test_an_erasure_that_broke_off_before_the_file_went_ends_when_repeated(
    bench: Bench,
) -> None:
    await bench.keep("r1")
    content = bench.file().read_bytes()
    await bench.erase()
    bench.file().write_bytes(content)  # as after a crash between commit and removal
    await bench.erase()
    assert not bench.file().exists()


async def test_an_erasure_by_item_finds_its_bytes(bench: Bench) -> None:
    kept = await bench.keep("r1")
    asked = EraseRequest(tenant="t", item_id=kept.item_id, reason="order")
    await bench.writer.erase(asked)
    assert not bench.file().exists()


async def test_another_tenants_same_picture_stays(bench: Bench) -> None:
    await bench.keep("r1")
    await bench.keep("r2", tenant="other")
    await bench.erase()
    assert bench.file(tenant="other").exists()


async def test_bytes_being_stored_are_not_removed_before_their_row(bench: Bench) -> None:
    """The upload that arrives during an erasure is erased with it, or whole after it."""
    await bench.keep("r1")
    bench.evidence.writing.clear()
    bench.evidence.may_write.clear()
    again = asyncio.ensure_future(bench.keep("r2"))
    await asyncio.to_thread(bench.evidence.writing.wait, 20)
    erasing = asyncio.ensure_future(bench.erase())
    await asyncio.sleep(0.05)
    assert not erasing.done()
    bench.evidence.may_write.set()
    kept = await again
    await erasing
    assert not bench.file().exists()
    item = await bench.writer.get(tenant="t", item_id=kept.item_id)
    assert item.uploader_ref == ""


async def test_a_caller_who_gives_up_while_storing_leaves_nothing_behind_an_erasure(
    bench: Bench,
) -> None:
    await bench.keep("r1")
    bench.evidence.writing.clear()
    bench.evidence.may_write.clear()
    again = asyncio.ensure_future(bench.keep("r2"))
    await asyncio.to_thread(bench.evidence.writing.wait, 20)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    erasing = asyncio.ensure_future(bench.erase())
    await asyncio.sleep(0.05)
    assert not erasing.done(), "the thread still writes"
    bench.evidence.may_write.set()
    await erasing
    assert not bench.file().exists()


async def test_an_upload_waits_for_a_removal_and_is_then_kept_whole() -> None:
    gate = EvidenceGate()
    order: list[str] = []

    async def store() -> None:
        async with gate.storing("k"):
            order.append("stored")

    async with gate.removing("k"):
        waiting = asyncio.ensure_future(store())
        async with gate.storing("other"):
            await asyncio.sleep(0.01)
        order.append("removed")
    await waiting
    assert order == ["removed", "stored"]


async def test_removals_of_the_same_bytes_take_turns() -> None:
    gate = EvidenceGate()
    inside = 0

    async def remove() -> None:
        nonlocal inside
        async with gate.removing("k"):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(remove() for _ in range(5)))


async def test_retention_takes_files_that_are_old_enough(bench: Bench, clock: ManualClock) -> None:
    await bench.keep("r1")
    await bench.keep("r2", "young")
    for _ in range(2):
        await bench.decide()
    clock.advance(10.0)
    bench.age(bench.file())
    assert await bench.writer.retire(older_than_s=5.0) == 2
    assert not bench.file().exists()
    assert bench.file("young").exists(), "the sweep takes it when it is an hour old"
    bench.age(bench.file("young"))
    assert await bench.sweep() == 1


async def test_a_sweep_takes_old_files_without_a_row_and_no_others(bench: Bench) -> None:
    await bench.keep("r1")
    for content in ("orphan", "young orphan"):
        bench.evidence.put(tenant="t", sha256=sha_of(content), data=content.encode())
    bench.evidence.put(tenant="no rows", sha256=sha_of("lost"), data=b"lost")
    stray = bench.file().parent / "notes.txt"
    stray.write_text("an operator's")
    lost = bench.root / folder_name("no rows") / sha_of("lost")[:2] / sha_of("lost")
    for path in (bench.file(), bench.file("orphan"), lost, stray):
        bench.age(path)
    assert await bench.sweep() == 2
    assert bench.file().exists()
    assert bench.file("young orphan").exists()
    assert stray.exists()
    assert not lost.exists()
    assert not bench.file("orphan").exists()


async def test_a_file_that_is_put_again_during_a_sweep_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.evidence.put(tenant="t", sha256=sha_of("picture"), data=b"picture")
    bench.age(bench.file())
    older = bench.evidence.older

    def then_put(**asked: Any) -> Any:
        found = older(**asked)
        if found.get("t"):
            bench.evidence.put(tenant="t", sha256=sha_of("picture"), data=b"picture")
        return found

    monkeypatch.setattr(bench.evidence, "older", then_put)
    assert await bench.sweep() == 0
    assert bench.file().exists()


async def test_what_killed_writes_left_is_swept_when_old(bench: Bench) -> None:
    for name, aged in (("dead", True), ("alive", False)):
        (bench.root / ".scratch" / name).write_bytes(b"half")
        if aged:
            bench.age(bench.root / ".scratch" / name)
    await bench.writer.sweep_evidence(part=0)
    assert [p.name for p in (bench.root / ".scratch").iterdir()] == ["alive"]


async def test_events_are_dropped_through_the_writer(bench: Bench, clock: ManualClock) -> None:
    await bench.keep("r1")
    await bench.decide()
    clock.advance(10.0)
    assert await bench.writer.drop_events(older_than_s=5.0) == 1


def test_evidence_is_removed_once_and_for_all(evidence: EvidenceStore) -> None:
    sha256 = sha_of("x")
    evidence.put(tenant="t", sha256=sha256, data=b"x")
    assert evidence.older(part=int(sha256[:2], 16), older_than_s=0.0)["t"] == [sha256]
    assert not evidence.older(part=int(sha256[:2], 16), older_than_s=100.0).get("t")
    assert not evidence.older(part=(int(sha256[:2], 16) + 1) % PARTS, older_than_s=0.0).get("t")
    assert not evidence.remove(tenant="t", sha256=sha256, older_than_s=100.0)
    assert evidence.remove(tenant="t", sha256=sha256)
    assert evidence.remove(tenant="t", sha256=sha256)
    assert evidence.remove(tenant="t", sha256=sha256, older_than_s=100.0)
    evidence.sweep()
    with pytest.raises(ItemNotFound):
        evidence.get(tenant="t", sha256=sha256)


def test_a_folder_that_cannot_be_changed_is_named(tmp_path: Path) -> None:
    evidence = FolderEvidence(root=tmp_path / "e")
    sha256 = sha_of("x")
    (tmp_path / "e" / "t" / sha256[:2] / sha256).mkdir(parents=True)
    with pytest.raises(StoreUnavailable):
        evidence.remove(tenant="t", sha256=sha256)
    with pytest.raises(InvalidRequest):
        evidence.remove(tenant="t", sha256="../x")
    (tmp_path / "e" / ".scratch").rmdir()
    with pytest.raises(StoreUnavailable):
        evidence.sweep()
    for path in sorted((tmp_path / "e").rglob("*"), reverse=True):
        path.rmdir()
    (tmp_path / "e").rmdir()
    with pytest.raises(StoreUnavailable):
        evidence.older(part=0, older_than_s=0.0)


@pytest.mark.parametrize("tenant", ["t", "", "A b", "é/..", "%41", "日本", "_-"])
def test_a_folders_tenant_is_known(tenant: str) -> None:
    assert tenant_of(folder_name(tenant)) == tenant


@pytest.mark.parametrize("name", [folder_name("x" * 300), ".scratch", "Strange", "%zz", "%4"])
def test_a_strange_folder_is_nobodys(name: str) -> None:
    assert tenant_of(name) is None


async def test_a_signal_wakes_its_own_tenants_watchers() -> None:
    signals = Signals()
    ours, theirs = signals.of("a"), signals.of("b")
    assert signals.of("a") is ours
    signals.give("a")
    signals.give("nobody waits")
    assert await is_set_within(ours, 1.0)
    assert not await is_set_within(theirs, 0.01)
    assert not signals.of("a").is_set(), "the next one is another"


async def test_a_decision_wakes_a_watch_that_would_sleep_for_long(
    store: RuledStore, tmp_path: Path
) -> None:
    bench = Bench(store, tmp_path / "e", idle_s=1000.0)
    writer = bench.writer
    pages = writer.watch(tenant="t")
    assert (await anext(pages)).events == ()
    waiting = asyncio.ensure_future(anext(pages))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await bench.keep("r1")
    await bench.decide()
    assert [e.request_id for e in (await asyncio.wait_for(waiting, 20)).events] == ["r1"]
    waiting = asyncio.ensure_future(anext(pages))
    await bench.keep("r2", reuse_decision=True)
    assert [e.request_id for e in (await asyncio.wait_for(waiting, 20)).events] == ["r2"]
    await pages.aclose()
    await writer.close()
