"""The modelled disk of the power-cut test forgets what a real one may, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from power_cut_disk import Cut, Disk, File, Folder, Order, Tree
from power_cut_trace import Record, Replay, parse, read_tree, write_tree

NAMES = [f"f{n}" for n in range(12)]


def cut(keep: float, *, order: Order = Order.ANY, seed: int = 0, garbage: bool = False) -> Cut:
    chance = random.Random(seed)
    return Cut(chance=chance, keep=keep, sector=512, order=order, garbage=garbage)


def sync(disk: Disk, path: str) -> None:
    disk.synced(disk.node(path), disk.moment())


def add(disk: Disk, path: str, data: bytes) -> File:
    file = File()
    disk.create(path, file)
    disk.write(file, 0, data)
    return file


def test_nothing_is_kept_that_was_not_synced() -> None:
    disk = Disk()
    add(disk, "a", b"data")
    assert disk.after(cut(0.0)) == {}
    assert disk.newest() == {"a": b"data"}


@pytest.mark.parametrize("order", Order)
def test_everything_is_kept_that_was_synced(order: Order) -> None:
    disk = Disk()
    add(disk, "a", b"data")
    sync(disk, "a")
    sync(disk, "")
    assert disk.after(cut(0.0, order=order)) == {"a": b"data"}


def test_a_synced_file_in_a_folder_not_synced_has_no_name() -> None:
    disk = Disk()
    add(disk, "a", b"data")
    sync(disk, "a")
    assert disk.after(cut(0.0)) == {}
    assert disk.after(cut(1.0)) == {"a": b"data"}


def test_a_name_without_synced_bytes_is_an_empty_file() -> None:
    disk = Disk()
    add(disk, "a", b"data")
    sync(disk, "")
    assert disk.after(cut(0.0)) == {"a": b""}


def test_a_folder_whose_parent_was_not_synced_is_gone_with_all_it_holds() -> None:
    disk = Disk()
    disk.create("d", Folder())
    add(disk, "d/a", b"data")
    sync(disk, "d/a")
    sync(disk, "d")
    assert disk.after(cut(0.0)) == {}
    sync(disk, "")
    assert disk.after(cut(0.0)) == {"d": None, "d/a": b"data"}


def test_a_sync_covers_what_was_written_before_it_began() -> None:
    disk = Disk({"a": b""})
    file = disk.node("a")
    assert isinstance(file, File)
    disk.write(file, 0, b"one")
    began = disk.moment()
    disk.write(file, 3, b"two")
    disk.synced(file, began)
    assert disk.after(cut(0.0)) == {"a": b"one"}
    assert disk.newest() == {"a": b"onetwo"}


def test_a_removed_name_comes_back_until_its_folder_is_synced() -> None:
    disk = Disk({"journal": b"old"})
    disk.remove("journal")
    assert disk.after(cut(0.0)) == {"journal": b"old"}
    sync(disk, "")
    assert disk.after(cut(0.0)) == {}


def test_a_rename_not_synced_leaves_either_name() -> None:
    disk = Disk({"new": b"new", "old": b"old"})
    disk.rename("new", "old")
    assert disk.newest() == {"old": b"new"}
    found = [disk.after(cut(0.5, order=Order.PREFIX, seed=seed)) for seed in range(40)]
    assert all(tree in ({"new": b"new", "old": b"old"}, {"old": b"new"}) for tree in found)
    assert found.count({"old": b"new"}) not in (0, len(found))


def test_names_are_kept_up_to_a_moment_or_one_by_one() -> None:
    disk = Disk()
    for name in NAMES:
        disk.create(name, File())
    prefixes = [dict.fromkeys(NAMES[:n], b"") for n in range(len(NAMES) + 1)]

    def found(order: Order) -> list[Tree]:
        return [disk.after(cut(0.5, order=order, seed=seed)) for seed in range(40)]

    assert all(tree in prefixes for tree in found(Order.PREFIX))
    assert len({len(tree) for tree in found(Order.PREFIX)}) > 2
    assert not all(tree in prefixes for tree in found(Order.ANY))


def test_a_prefix_never_ends_before_what_was_synced() -> None:
    disk = Disk()
    for name in NAMES:
        disk.create(name, File())
    sync(disk, "")
    add(disk, "late", b"")
    for seed in range(40):
        assert set(NAMES) <= set(disk.after(cut(0.5, order=Order.PREFIX, seed=seed)))


def test_a_write_is_torn_at_sectors_only() -> None:
    disk = Disk({"a": b"0" * 2048})
    file = disk.node("a")
    assert isinstance(file, File)
    disk.write(file, 256, b"1" * 1024)
    pieces = ((256, 512), (512, 1024), (1024, 1280))
    seen = set()
    for seed in range(60):
        content = disk.after(cut(0.5, seed=seed))["a"]
        assert content is not None
        kept = tuple(content[start:end] == b"1" * (end - start) for start, end in pieces)
        seen.add(kept)
        rebuilt = bytearray(b"0" * 2048)
        for (start, end), here in zip(pieces, kept, strict=True):
            rebuilt[start:end] = (b"1" if here else b"0") * (end - start)
        assert content == rebuilt
    assert len(seen) == 8


def test_a_file_may_have_its_new_size_without_its_bytes() -> None:
    disk = Disk({"a": b""})
    file = disk.node("a")
    assert isinstance(file, File)
    disk.write(file, 0, b"1" * 512)
    zeros = {disk.after(cut(0.5, seed=seed))["a"] for seed in range(40)}
    assert zeros == {b"", b"1" * 512, bytes(512)}
    rubbish = {disk.after(cut(0.5, seed=seed, garbage=True))["a"] for seed in range(40)}
    assert len(rubbish) > 3


def test_a_shortened_file_may_be_long_again() -> None:
    disk = Disk({"a": b"12345678"})
    file = disk.node("a")
    assert isinstance(file, File)
    disk.resize(file, 3)
    assert disk.after(cut(0.0)) == {"a": b"12345678"}
    sync(disk, "a")
    assert disk.after(cut(0.0)) == {"a": b"123"}


LOG = (
    b"M /r/d\nO 1 0 1 0 /r/d/x\nW 1 0 4\na\nb\nS 1\nE 1\nC 1\n"
    b"R /r/d/x\t/r/d/y\nO 2 1 0 0 /r/d\nS 2\nE 2\nA 3\nyesO 3 1 0 0 /r\nS 3\nE 3\n"
)


def replayed(records: list[Record], *, without_sync: str = "nothing") -> Replay:
    replay = Replay({}, ignores=lambda path: path == without_sync)
    for each in records:
        replay.play(each)
    return replay


def test_a_record_is_read_and_replayed() -> None:
    records = list(parse(LOG, root=Path("/r")))
    replay = replayed(records)
    assert replay.marks == [b"yes"]
    assert replay.disk.after(cut(0.0)) == {"d": None, "d/y": b"a\nb\n"}
    assert replayed(records[:-1]).disk.after(cut(0.0)) == {}, "the sync of the root had not ended"


def test_an_ignored_sync_keeps_nothing() -> None:
    records = list(parse(LOG, root=Path("/r")))
    forgetful = replayed(records, without_sync="d/x")
    assert forgetful.disk.after(cut(0.0)) == {"d": None, "d/y": b""}


def test_a_disk_is_written_and_read_back(tmp_path: Path) -> None:
    tree: Tree = {"a": b"1", "d": None, "d/b": b"2"}
    write_tree(tree, tmp_path)
    assert read_tree(tmp_path) == tree
