"""Compiled artefacts and reloading: what is refused, and that a bad file changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from helpers.artefacts import SPEC, artefact
from imagesieve_server.core.errors import PolicyError, UnknownPolicy
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.reload import PolicyFolder
from imagesieve_server.testing import RecordingMetrics


def test_an_artefact_gives_the_policy_back() -> None:
    result = compiled.parse(artefact(), file="x")
    policy = result.policy
    assert (policy.name, policy.model_fingerprint, policy.logit_scale) == ("demo", "f" * 64, 100.0)
    assert policy.categories[0].prompts.texts == ("a gun", "a sword")
    assert np.array_equal(policy.categories[0].prompts.vectors, np.eye(3, dtype=np.float32)[1:])
    assert policy.source.startswith("name: demo")


def test_the_version_is_the_contents_and_nothing_else() -> None:
    version = compiled.parse(artefact(), file="x").policy.version
    assert compiled.parse(artefact(), file="y").policy.version == version
    assert compiled.parse(artefact(review_at=0.7), file="x").policy.version != version


def test_failing_open_with_severe_categories_is_never_written() -> None:
    with pytest.raises(PolicyError, match="on_unavailable"):
        artefact(unavailable="allow")
    assert artefact(unavailable="allow", severity=2)


def rewritten(**changes: object) -> bytes:
    """An artefact whose manifest or vectors were changed by somebody."""
    import io

    with np.load(io.BytesIO(artefact())) as archive:
        manifest, vectors = json.loads(archive["manifest"].tobytes()), archive["vectors"]
    vectors = changes.pop("vectors", vectors)
    manifest.update(changes)
    out = io.BytesIO()
    raw = np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8)
    np.savez(out, manifest=raw, vectors=vectors)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not a compiled policy"),
        (b"PK\x03\x04 nonsense", "not a compiled policy"),
        (artefact()[:-40], "not a compiled policy"),
        (rewritten(format=2), "newer or foreign"),
        (rewritten(source=7), "'source' is missing or malformed"),
        (rewritten(prompts=["a cat"]), "do not match"),
        (rewritten(prompts=["a cat", "a gun", "a spear"]), "no vector for prompt 'a sword'"),
        (rewritten(vectors=np.zeros((3, 3), dtype=np.float32)), "unit length"),
        (rewritten(vectors=np.eye(3, dtype=np.float64)), "do not match"),
        (rewritten(source="name: x"), "categories"),
    ],
)
def test_broken_artefacts_are_policy_errors(data: bytes, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        compiled.parse(data, file="x.policy.npz")


def folder(path: Path, default: str = "") -> tuple[PolicyFolder, RecordingMetrics]:
    metrics = RecordingMetrics()
    return PolicyFolder(folder=path, default=default, spec=SPEC, metrics=metrics), metrics


def test_the_only_policy_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "a.policy.npz").write_bytes(artefact())
    policies, _ = folder(tmp_path)
    policies.load()
    assert policies.get("").name == policies.get("demo").name == "demo"
    with pytest.raises(UnknownPolicy):
        policies.get("other")


def test_start_fails_on_anything_doubtful(tmp_path: Path) -> None:
    policies, _ = folder(tmp_path)
    with pytest.raises(PolicyError, match=r"no \.policy\.npz"):
        policies.load()
    (tmp_path / "a.policy.npz").write_bytes(artefact("one"))
    (tmp_path / "b.policy.npz").write_bytes(artefact("two"))
    with pytest.raises(PolicyError, match="no default"):
        folder(tmp_path)[0].load()
    with pytest.raises(PolicyError, match="'three' is not in"):
        folder(tmp_path, "three")[0].load()
    (tmp_path / "c.policy.npz").write_bytes(artefact("one"))
    with pytest.raises(PolicyError, match="two files"):
        folder(tmp_path, "one")[0].load()


def test_a_policy_for_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.policy.npz").write_bytes(artefact(fingerprint="0" * 64))
    with pytest.raises(PolicyError, match="compiled for model 000000000000"):
        folder(tmp_path)[0].load()


def test_a_bad_file_leaves_the_old_policy_in_force(tmp_path: Path) -> None:
    path = tmp_path / "a.policy.npz"
    path.write_bytes(artefact())
    policies, metrics = folder(tmp_path)
    policies.load()
    before = policies.get("demo")

    path.write_bytes(b"half a file")
    assert "not a compiled policy" in policies.reload().problems[0]
    assert policies.get("demo") is before

    path.unlink()
    assert "is gone" in policies.reload().problems[0]
    assert policies.get("") is before

    path.write_bytes(artefact(review_at=0.9))
    assert policies.reload().problems == ()
    assert policies.get("demo").version != before.version
    assert [call[1] for call in metrics.calls if call[0] == "policy_reload"] == [
        {"ok": True},
        {"ok": False},
        {"ok": False},
        {"ok": True},
    ]


def test_an_artefact_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "policies" / "a.policy.npz"
    compiled.write(path, artefact())
    assert compiled.read(path).policy.name == "demo"


def test_an_artefact_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.policy.npz"
    compiled.write(path, artefact())
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PolicyError) as caught:
        compiled.write(path, artefact(review_at=0.7))
    assert (caught.value.file, caught.value.problem) == (
        str(path), "cannot be written: No space left on device",
    )  # fmt: skip
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


async def test_a_changed_file_is_in_force_without_a_call(tmp_path: Path) -> None:
    path = tmp_path / "a.policy.npz"
    compiled.write(path, artefact())
    policies, _ = folder(tmp_path)
    policies.load()
    before = policies.get("").version
    watching = asyncio.create_task(policies.watch(every_s=0.01))
    compiled.write(path, artefact(review_at=0.7))
    async with asyncio.timeout(10):
        while policies.get("").version == before:
            await asyncio.sleep(0.01)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert not list(tmp_path.glob(".*"))  # the atomic replacement left nothing behind
