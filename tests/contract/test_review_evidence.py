"""Evidence: the same promises from memory, a folder and a bucket, and what the folder adds."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesieve_server import durable_files as files
from imagesieve_server.core.errors import (
    InvalidRequest,
    ItemNotFound,
    StoreNotUsable,
    StoreUnavailable,
)
from imagesieve_server.review_queue.evidence import (
    SCRATCH_AGE_S,
    EvidenceStore,
    FolderEvidence,
    folder_name,
)

DATA = b"\xff\xd8\xff the bytes of a picture"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "made" / "on the way"


@pytest.fixture
def folder(root: Path) -> FolderEvidence:
    return FolderEvidence(root=root)


def path_of(root: Path, tenant: str = "t") -> Path:
    return root / folder_name(tenant) / SHA[:2] / SHA


def test_what_was_put_is_returned(evidence: EvidenceStore) -> None:
    evidence.put(tenant="t", sha256=SHA, data=DATA)
    evidence.put(tenant="t", sha256=SHA, data=DATA)
    assert evidence.get(tenant="t", sha256=SHA) == DATA


def test_unknown_bytes_are_not_found(evidence: EvidenceStore) -> None:
    with pytest.raises(ItemNotFound):
        evidence.get(tenant="t", sha256=SHA)


def test_tenants_do_not_see_each_others_bytes(evidence: EvidenceStore) -> None:
    evidence.put(tenant="t", sha256=SHA, data=DATA)
    with pytest.raises(ItemNotFound):
        evidence.get(tenant="other", sha256=SHA)


@pytest.mark.parametrize("sha256", ["0" * 64, SHA.upper(), "", "../../etc/passwd", SHA + "\n"])
def test_a_hash_that_is_not_the_bytes_is_refused(evidence: EvidenceStore, sha256: str) -> None:
    with pytest.raises(InvalidRequest):
        evidence.put(tenant="t", sha256=sha256, data=DATA)


@pytest.mark.parametrize("tenant", ["", ".", "..", "A/b", ".scratch", "%41", "日本 x", "x" * 5000])
def test_any_text_is_a_tenant_of_its_own(evidence: EvidenceStore, tenant: str) -> None:
    evidence.put(tenant=tenant, sha256=SHA, data=DATA)
    assert evidence.get(tenant=tenant, sha256=SHA) == DATA
    assert not evidence.has(tenant=tenant + "x", sha256=SHA)
    assert evidence.remove(tenant=tenant + "x", sha256=SHA)
    assert evidence.has(tenant=tenant, sha256=SHA)


@pytest.mark.parametrize("sha256", ["../../x", SHA.upper(), "", SHA + "\n"])
def test_what_is_no_hash_is_not_looked_for(folder: FolderEvidence, sha256: str) -> None:
    for call in (folder.get, folder.has, folder.remove):
        with pytest.raises(InvalidRequest):
            call(tenant="t", sha256=sha256)


def test_the_file_lies_by_tenant_and_hash_and_nothing_else_is_left(
    folder: FolderEvidence, root: Path
) -> None:
    folder.put(tenant="t", sha256=SHA, data=DATA)
    assert path_of(root).read_bytes() == DATA
    found = [path for path in root.rglob("*") if path.is_file()]
    assert found == [path_of(root)]


def test_an_existing_file_is_not_rewritten(folder: FolderEvidence, root: Path) -> None:
    folder.put(tenant="t", sha256=SHA, data=DATA)
    before = path_of(root).stat()
    os.utime(path_of(root), (0, 0))
    FolderEvidence(root=root).put(tenant="t", sha256=SHA, data=DATA)
    after = path_of(root).stat()
    assert after.st_ino == before.st_ino
    assert time.time() - after.st_mtime < 60, "it is young again: somebody relies on it"


@pytest.mark.parametrize("damage", [b"", DATA[:-1], DATA[:-1] + b"?", DATA + b"?"])
def test_damaged_evidence_is_never_returned_and_is_mended_by_the_next_put(
    folder: FolderEvidence, root: Path, damage: bytes
) -> None:
    folder.put(tenant="t", sha256=SHA, data=DATA)
    path_of(root).write_bytes(damage)
    with pytest.raises(StoreUnavailable):
        folder.get(tenant="t", sha256=SHA)
    folder.put(tenant="t", sha256=SHA, data=DATA)
    assert folder.get(tenant="t", sha256=SHA) == DATA


def test_everything_is_synced_in_order(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """File data before the name, the name's folder after it, and new folders in theirs."""
    steps: list[tuple[str, str]] = []
    real_sync, real_replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        steps.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        real_sync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        steps.append(("name", str(target)))
        real_replace(source, target)

    folder = FolderEvidence(root=root)
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    folder.put(tenant="t", sha256=SHA, data=DATA)
    target = path_of(root)
    named = steps.index(("name", str(target)))
    scratch = [step for step, (_, path) in enumerate(steps) if "/.scratch/" in path]
    assert len(scratch) == 1, "the file's own data are synced, once"
    assert scratch[0] < named
    assert steps[named + 1 :] == [("sync", str(target.parent))]
    assert ("sync", str(root)) in steps[:named], "the tenant's folder is durable"
    assert ("sync", str(root / "t")) in steps[:named], "and the one inside it"
    steps.clear()
    FolderEvidence(root=root).put(tenant="t", sha256=SHA, data=DATA)
    assert ("sync", str(target.parent)) in steps, "an existing name is made durable too"


def test_a_failed_write_leaves_nothing_and_the_next_one_works(
    folder: FolderEvidence, root: Path
) -> None:
    (root / "t").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        folder.put(tenant="t", sha256=SHA, data=DATA)
    (root / "t").unlink()
    folder.put(tenant="t", sha256=SHA, data=DATA)
    shutil.rmtree(root / "t")
    with pytest.raises(StoreUnavailable):
        folder.put(tenant="t", sha256=SHA, data=DATA)
    assert list((root / ".scratch").iterdir()) == []
    folder.put(tenant="t", sha256=SHA, data=DATA)
    assert folder.get(tenant="t", sha256=SHA) == DATA


def test_many_threads_may_put_the_same_bytes(folder: FolderEvidence, root: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        puts = [pool.submit(folder.put, tenant="t", sha256=SHA, data=DATA) for _ in range(40)]
        for put in puts:
            put.result()
    assert folder.get(tenant="t", sha256=SHA) == DATA
    assert list((root / ".scratch").iterdir()) == []


def test_leftovers_of_dead_processes_are_swept_and_living_ones_are_not(root: Path) -> None:
    FolderEvidence(root=root)
    old, young = root / ".scratch" / "old", root / ".scratch" / "young"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    long_ago = time.time() - SCRATCH_AGE_S - 1
    os.utime(old, (long_ago, long_ago))
    FolderEvidence(root=root)
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("place", ["/proc/none", "/dev/null/evidence"])
def test_a_place_that_cannot_be_written_is_refused_at_the_start(place: str) -> None:
    with pytest.raises(StoreNotUsable, match="not writable"):
        FolderEvidence(root=Path(place))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_two_tenants_never_share_a_folder(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)
    assert (folder_name(one).lower() == folder_name(other).lower()) == (one == other)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300))
def test_a_tenants_folder_is_one_safe_name(tenant: str) -> None:
    name = folder_name(tenant)
    assert name
    assert "/" not in name
    assert "\x00" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= 255


@pytest.mark.parametrize(
    ("tenant", "name"),
    [
        ("default", "default"),
        ("", "%"),
        ("..", "%2e%2e"),
        ("Acme", "%41cme"),
        ("a/b", "a%2fb"),
        (".scratch", "%2escratch"),
        ("%h", "%25h"),
        ("ü", "%c3%bc"),
    ],
)
def test_the_names_of_tenants_folders_are_fixed(tenant: str, name: str) -> None:
    """They are part of the data on the disk: another rule would lose sight of old evidence."""
    assert folder_name(tenant) == name


def test_a_very_long_tenant_has_a_folder_too(folder: FolderEvidence) -> None:
    folder.put(tenant="x" * 5000, sha256=SHA, data=DATA)
    assert folder.get(tenant="x" * 5000, sha256=SHA) == DATA


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b" / "c")
    files.make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
