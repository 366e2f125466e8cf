"""The Parquet store itself: files, limits, damage, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.judged import DAY_S, NOON, judged, sha_of
from imagesieve_server import durable_files
from imagesieve_server.core.errors import (
    EmbeddingsDamaged,
    MissingExtra,
    StoreNotUsable,
    StoreUnavailable,
)
from imagesieve_server.core.kept import KeptImage, kept_image
from imagesieve_server.embedding_store import layout, rows
from imagesieve_server.embedding_store.files import StoreFiles
from imagesieve_server.embedding_store.reader import Damage, Part, StoreReader
from imagesieve_server.embedding_store.writer import ParquetEmbeddings, StoreOptions
from imagesieve_server.testing import FINGERPRINT, RecordingMetrics

pytestmark = pytest.mark.embeddings

TODAY = layout.day_of(NOON)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def opened(
    root: Path, *, metrics: RecordingMetrics | None = None, clock: Any = None, **limits: Any
) -> ParquetEmbeddings:
    return ParquetEmbeddings(
        root=root,
        options=StoreOptions(**limits),
        metrics=metrics or RecordingMetrics(),
        clock=clock or Clock(),
    )


def files_of(root: Path) -> list[Path]:
    return sorted(root.rglob(f"*{layout.SUFFIX}"))


def read(root: Path, **asked: Any) -> list[KeptImage]:
    reader = StoreReader(root=root)
    folders = reader.folders(Part(**{"tenants": (), **asked}))
    return [image for _, block in reader.blocks(folders) for image in block.images()]


# --- files ------------------------------------------------------------------------------


async def test_files_lie_by_model_tenant_and_day(tmp_path: Path) -> None:
    clock = Clock()
    store = opened(tmp_path, clock=clock)
    for tenant, later in (("t", 0.0), ("t", DAY_S), ("Other", 0.0)):
        clock.now = NOON + later
        store.see(judged(f"{tenant} {later}", tenant=tenant))
    await store.close()
    folders = {path.parent.relative_to(tmp_path).as_posix() for path in files_of(tmp_path)}
    assert folders == {
        f"model={FINGERPRINT}/tenant=t/day={TODAY}",
        f"model={FINGERPRINT}/tenant=t/day={date.fromordinal(TODAY.toordinal() + 1)}",
        f"model={FINGERPRINT}/tenant=%4fther/day={TODAY}",
    }
    assert len(read(tmp_path, tenants=("t",))) == 2
    assert len(read(tmp_path, tenants=("t",), since=date.fromordinal(TODAY.toordinal() + 1))) == 1
    assert len(read(tmp_path, until=TODAY)) == 2
    assert list((tmp_path / layout.SCRATCH).iterdir()) == []
    assert files_of(tmp_path)[0].stat().st_mode & 0o077 == 0  # nobody else's to read


async def test_a_full_group_is_written_before_its_time(tmp_path: Path) -> None:
    metrics = RecordingMetrics()
    store = opened(tmp_path, metrics=metrics, file_views=10)
    for number in range(25):
        store.see(judged(f"{number}", views=2))
    assert await store.erase(tenant="t", sha256=sha_of("none")) == 0  # all before it was taken
    assert [call["views"] for call in metrics.named("embeddings_kept")] == [10] * 5
    await store.close()
    assert len(read(tmp_path)) == 25
    sizes = metrics.named("embeddings_size")
    assert sizes[-1]["size_bytes"] == sum(path.stat().st_size for path in files_of(tmp_path))


async def test_a_view_is_written_after_the_longest_time_in_memory(tmp_path: Path) -> None:
    metrics = RecordingMetrics()
    store = opened(tmp_path, metrics=metrics, flush_s=0.05)
    store.see(judged())
    end = time.monotonic() + 60
    while not metrics.named("embeddings_kept") and time.monotonic() < end:
        await asyncio.sleep(0.01)
    assert len(read(tmp_path)) == 1
    await store.close()


async def test_other_programs_read_the_embedding(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    image = judged(views=3)
    store = opened(tmp_path)
    store.see(image)
    await store.close()
    (path,) = files_of(tmp_path)
    column = pq.ParquetFile(path).read()["embedding"].to_pylist()
    numbers = np.frombuffer(b"".join(column), dtype="<f2").reshape(3, -1)
    assert np.array_equal(numbers, image.embeddings.astype(np.float16))


async def test_days_past_their_time_go_by_whole_folders(tmp_path: Path) -> None:
    clock = Clock()
    for back in (40, 31, 30, 0):
        clock.now = NOON - back * DAY_S
        store = opened(tmp_path, clock=clock, keep_days=0.0)
        store.see(judged(f"{back}", tenant="old" if back == 40 else "t"))
        await store.close()
    stray = tmp_path / "model=x" / "README"
    stray.parent.mkdir()
    stray.write_text("not ours")
    clock.now = NOON
    await opened(tmp_path, clock=clock, keep_days=30.0).close()
    assert {image.sha256 for image in read(tmp_path)} == {sha_of("30"), sha_of("0")}
    assert not (tmp_path / f"model={FINGERPRINT}" / "tenant=old").exists()
    assert stray.exists()


async def test_what_a_killed_write_left_goes_when_it_is_old(tmp_path: Path) -> None:
    scratch = tmp_path / layout.SCRATCH
    scratch.mkdir(parents=True)
    for name, age in (("old", 7200), ("young", 0)):
        (scratch / name).write_bytes(b"half")
        os.utime(scratch / name, (time.time() - age,) * 2)
    await opened(tmp_path).close()
    assert [path.name for path in scratch.iterdir()] == ["young"]


# --- it never delays and never fails ----------------------------------------------------


class SlowFiles:
    """Holds the writing thread until told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Event()
        self.may_go = threading.Event()
        real = StoreFiles.add

        def add(files: StoreFiles, images: Any) -> Path:
            self.entered.set()
            self.may_go.wait(60)
            return real(files, images)

        monkeypatch.setattr(StoreFiles, "add", add)


async def test_what_the_queue_has_no_room_for_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, metrics = SlowFiles(monkeypatch), RecordingMetrics()
    store = opened(tmp_path, metrics=metrics, file_views=1, queue_views=6)
    store.see(judged("first"))
    assert slow.entered.wait(60)
    for number in range(5):
        store.see(judged(f"{number}", views=2))  # three fit; nobody waits for the others
    assert metrics.named("embeddings_dropped") == [{"views": 2, "reason": "queue"}] * 2
    slow.may_go.set()
    await store.close()
    assert len(read(tmp_path)) == 4
    store.see(judged("after the end"))
    assert len(metrics.named("embeddings_dropped")) == 3


async def test_a_disk_that_fails_costs_rows_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = RecordingMetrics()
    store = opened(tmp_path, metrics=metrics, file_views=1)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(durable_files, "write_file", refuse)
        store.see(judged("lost", views=3))
        await store.erase(tenant="t", sha256=sha_of("none"))
    store.see(judged("kept"))
    await store.close()
    assert metrics.named("embeddings_failed") == [{"operation": "write"}]
    assert metrics.named("embeddings_dropped") == [{"views": 3, "reason": "error"}]
    assert [image.sha256 for image in read(tmp_path)] == [sha_of("kept")]


async def test_a_full_store_drops_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    metrics = RecordingMetrics()
    store = opened(tmp_path, metrics=metrics, file_views=1, max_bytes=1)
    for name in ("fits", "does not"):
        store.see(judged(name))
    assert await store.erase(tenant="t", sha256=sha_of("fits")) == 1
    store.see(judged("fits again"))
    await store.close()
    assert metrics.named("embeddings_dropped") == [{"views": 1, "reason": "room"}]
    assert [image.sha256 for image in read(tmp_path)] == [sha_of("fits again")]


async def test_an_image_that_cannot_be_taken_is_counted(tmp_path: Path) -> None:
    metrics = RecordingMetrics()
    store = opened(tmp_path, metrics=metrics)
    store.see(None)  # type: ignore[arg-type]
    await store.close()
    assert metrics.named("embeddings_failed") == [{"operation": "see"}]


def test_a_kill_leaves_whole_files_only(tmp_path: Path) -> None:
    code = f"""
import sys, time
sys.path[:0] = {[str(Path(__file__).parents[1])]!r}
from pathlib import Path
from helpers.judged import judged
from imagesieve_server.embedding_store.writer import ParquetEmbeddings, StoreOptions
from imagesieve_server.testing import RecordingMetrics
store = ParquetEmbeddings(root=Path({str(tmp_path)!r}), metrics=RecordingMetrics(),
                          options=StoreOptions(file_views=20, queue_views=10**9))
number = 0
while True:
    store.see(judged(str(number), views=2))
    number += 1
    if number % 50 == 0:
        print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(6):
            assert process.stdout.readline()
        end = time.monotonic() + 60
        while len(files_of(tmp_path)) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        process.kill()
    assert len(read(tmp_path)) >= 30


# --- erasing ----------------------------------------------------------------------------


async def test_erasing_reaches_files_of_every_day_and_model(tmp_path: Path) -> None:
    clock = Clock()
    for back in (3, 0):
        clock.now = NOON - back * DAY_S
        store = opened(tmp_path, clock=clock)
        for name in ("wanted", "other"):
            store.see(judged(name, views=2))
        await store.close()
    before = files_of(tmp_path)
    store = opened(tmp_path)
    assert await store.erase(tenant="t", sha256=sha_of("wanted")) == 4
    await store.close()
    assert files_of(tmp_path) == before
    assert {image.sha256 for image in read(tmp_path)} == {sha_of("other")}
    raw = b"".join(path.read_bytes() for path in before)
    assert bytes.fromhex(sha_of("wanted")) not in raw


async def test_a_file_that_holds_nothing_else_goes(tmp_path: Path) -> None:
    store = opened(tmp_path, file_views=1)
    store.see(judged("wanted"))
    assert await store.erase(tenant="t", sha256=sha_of("wanted")) == 1
    assert files_of(tmp_path) == []
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.erase(tenant="t", sha256=sha_of("wanted"))


async def test_erasing_says_so_where_a_file_cannot_be_read(tmp_path: Path) -> None:
    metrics = RecordingMetrics()
    store = opened(tmp_path, metrics=metrics, file_views=1)
    for name in ("one", "wanted"):
        store.see(judged(name))
    await store.erase(tenant="t", sha256=sha_of("none"))
    first = files_of(tmp_path)[0]
    first.write_bytes(b"not Parquet at all")
    with pytest.raises(StoreUnavailable):
        await store.erase(tenant="t", sha256=sha_of("wanted"))
    first.unlink()
    await store.erase(tenant="t", sha256=sha_of("wanted"))
    await store.close()
    assert metrics.named("embeddings_failed") == [{"operation": "erase"}]
    assert sha_of("wanted") not in {image.sha256 for image in read(tmp_path)}


@pytest.mark.parametrize("hashes", [[], [None], ["wanted"]], ids=["none", "null", "text"])
async def test_erasing_goes_on_after_a_file_of_another_kind(
    tmp_path: Path, hashes: list[str | None]
) -> None:
    """Parquet, and not ours: it could hide what is to go, so it is not passed over in silence."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    store = opened(tmp_path, file_views=1)
    store.see(judged("wanted"))
    await store.erase(tenant="t", sha256=sha_of("none"))
    (first,) = files_of(tmp_path)
    kind = pa.string() if "wanted" in hashes else pa.binary(32)
    pq.write_table(pa.table({"sha256": pa.array(hashes, kind)}), first.with_name("0.parquet"))
    with pytest.raises(StoreUnavailable):
        await store.erase(tenant="t", sha256=sha_of("wanted"))
    await store.close()
    assert not first.exists()


async def test_erasures_of_several_servers_take_turns(tmp_path: Path) -> None:
    """Two that rewrote one file at once would each bring back what the other removed."""
    one, other = opened(tmp_path, file_views=3), opened(tmp_path, file_views=3)
    for name in ("a", "b", "c"):
        one.see(judged(name))
    await one.erase(tenant="t", sha256=sha_of("none"))
    with (tmp_path / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        first = asyncio.create_task(one.erase(tenant="t", sha256=sha_of("a")))
        second = asyncio.create_task(other.erase(tenant="t", sha256=sha_of("b")))
        await asyncio.sleep(0.2)
        assert not first.done()
        assert not second.done()
        assert len(read(tmp_path)) == 3
        fcntl.flock(held, fcntl.LOCK_UN)
        assert await asyncio.gather(first, second) == [1, 1]
    await one.close()
    await other.close()
    assert [image.sha256 for image in read(tmp_path)] == [sha_of("c")]


async def test_a_store_that_cannot_be_listed_says_so_and_the_thread_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = RecordingMetrics()
    store = opened(tmp_path, metrics=metrics, file_views=1)
    await store.erase(tenant="t", sha256=sha_of("none"))  # the first tidying is over

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as broken:
        broken.setattr(layout, "day_folders", refuse)
        with pytest.raises(StoreUnavailable):
            await store.erase(tenant="t", sha256=sha_of("wanted"))
    assert await store.erase(tenant="t", sha256=sha_of("wanted")) == 0
    await store.close()
    assert metrics.named("embeddings_failed") == [{"operation": "erase"}]


async def test_an_image_of_no_day_costs_itself_only(tmp_path: Path) -> None:
    clock, metrics = Clock(), RecordingMetrics()
    store = opened(tmp_path, clock=clock, metrics=metrics, file_views=1)
    clock.now = float("nan")
    store.see(judged("of no day"))
    assert await store.erase(tenant="t", sha256=sha_of("none")) == 0
    clock.now = NOON
    store.see(judged("kept"))
    await store.close()
    assert metrics.named("embeddings_failed") == [{"operation": "write"}]
    assert [image.sha256 for image in read(tmp_path)] == [sha_of("kept")]


# --- damage -----------------------------------------------------------------------------


@pytest.fixture
async def damaged(tmp_path: Path) -> Path:
    """A store of two files; a test harms the first."""
    store = opened(tmp_path, file_views=4)
    for number in range(4):
        store.see(judged(f"{number}", views=2))
    await store.close()
    assert len(files_of(tmp_path)) == 2
    return tmp_path


def _foreign(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"sha256": ["x"]}), path)


def _flipped(path: Path) -> None:
    """One bit of an embedding, which the page's checksum finds."""
    raw = bytearray(path.read_bytes())
    (image,) = (i for i in read(path.parents[3])[:1])
    raw[raw.index(image.embeddings.tobytes()) + 3] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b"PAR1 no PAR1"), id="no Parquet"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-20]), id="truncated"),
        pytest.param(_foreign, id="foreign"),
        pytest.param(_flipped, id="one bit"),
    ],
)
def test_a_damaged_file_is_named_or_passed_over(damaged: Path, harm: Any) -> None:
    first = files_of(damaged)[0]
    harm(first)
    with pytest.raises(EmbeddingsDamaged) as caught:
        read(damaged)
    assert caught.value.file == str(first)
    reader, damage = StoreReader(root=damaged), Damage()
    blocks = list(reader.blocks(reader.folders(Part(tenants=())), damage=damage))
    assert sum(len(block) for _, block in blocks) == 2
    assert len(damage.problems) == 1
    assert str(first) in damage.problems[0]


def test_somebody_elses_parquet_file_is_said_to_be_that(damaged: Path) -> None:
    _foreign(files_of(damaged)[0])
    with pytest.raises(EmbeddingsDamaged, match="is not a file of this store"):
        read(damaged)


def test_a_file_in_another_tenants_folder_is_refused(damaged: Path) -> None:
    first = files_of(damaged)[0]
    theirs = first.parent.parent.parent / "tenant=u" / first.parent.name
    theirs.mkdir(parents=True)
    (theirs / first.name).write_bytes(first.read_bytes())
    with pytest.raises(EmbeddingsDamaged, match="another folder"):
        read(damaged, tenants=("u",))


def test_an_image_without_its_first_view_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = rows.as_file([kept_image(judged(views=3), at=NOON)])
    table = pq.read_table(pa.BufferReader(data))
    path = tmp_path / "file.parquet"
    pq.write_table(table.slice(1), path)
    with pytest.raises(EmbeddingsDamaged, match="whole images"):
        list(rows.blocks(path, tenant_folder="t", model=FINGERPRINT))


def test_a_folder_that_goes_while_it_is_read_is_no_error(damaged: Path) -> None:
    reader = StoreReader(root=damaged)
    blocks = reader.blocks(reader.folders(Part(tenants=())))
    next(blocks)
    for path in files_of(damaged):
        path.unlink()
    assert list(blocks) == []


# --- the start --------------------------------------------------------------------------


def test_a_folder_that_is_a_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreNotUsable):
        opened(tmp_path / "store")


def test_without_the_extra_the_start_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"imagesieve\[embeddings\]"):
        opened(tmp_path)


async def test_an_erasure_whose_caller_left_is_not_begun_and_no_failure(tmp_path: Path) -> None:
    metrics = RecordingMetrics()
    store = opened(tmp_path, metrics=metrics)
    may_go_on = threading.Event()

    def busy() -> None:
        assert may_go_on.wait(20)

    store.see(judged("wanted"))
    assert store._inbox.order(busy)
    asking = asyncio.create_task(store.erase(tenant="t", sha256=sha_of("wanted")))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    may_go_on.set()
    assert await store.erase(tenant="t", sha256=sha_of("wanted")) == 1
    assert metrics.named("embeddings_failed") == []
    await store.close()
