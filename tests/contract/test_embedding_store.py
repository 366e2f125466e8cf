"""What every embedding store does: it keeps what it saw, as it was, and forgets when told."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from helpers.judged import NOON, judged, sha_of
from imagesieve_server.core.kept import KeptImage, kept_image
from imagesieve_server.core.verdict import Verdict
from imagesieve_server.embedding_store.reader import Part, StoreReader
from imagesieve_server.embedding_store.writer import ParquetEmbeddings, StoreOptions
from imagesieve_server.testing import MemoryEmbeddings, RecordingMetrics


class Bench:
    """A store and what it holds once it is closed."""

    def __init__(self, kind: str, root: Path) -> None:
        self._root = root
        self.store: MemoryEmbeddings | ParquetEmbeddings = (
            MemoryEmbeddings(clock=lambda: NOON)
            if kind == "memory"
            else ParquetEmbeddings(
                root=root, options=StoreOptions(), metrics=RecordingMetrics(), clock=lambda: NOON
            )
        )

    async def kept(self, *tenants: str) -> Sequence[KeptImage]:
        """What is kept, of these tenants or of all; the store is closed then."""
        if isinstance(self.store, MemoryEmbeddings):
            found = self.store.images
        else:
            await self.store.close()
            reader = StoreReader(root=self._root)
            folders = reader.folders(Part(tenants=()))
            found = [image for _, block in reader.blocks(folders) for image in block.images()]
        return [image for image in found if not tenants or image.tenant in tenants]


@pytest.fixture(params=["memory", pytest.param("parquet", marks=pytest.mark.embeddings)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(request.param, tmp_path / "store")


def same(one: KeptImage, other: KeptImage) -> bool:
    """Every field, and the embeddings to the bit."""
    fields = [f.name for f in dataclasses.fields(KeptImage) if f.name != "embeddings"]
    return all(getattr(one, name) == getattr(other, name) for name in fields) and np.array_equal(
        one.embeddings.view(np.uint16), other.embeddings.view(np.uint16)
    )


async def test_an_image_comes_back_with_all_that_a_second_judgement_needs(bench: Bench) -> None:
    images = [
        judged("one view", surface="avatar"),
        judged("cut", views=5, coverage=0.25, truncated=("frames", "tiles"), seed=2),
        judged("some categories", views=2, categories=("red",), surface="Ünïcode, with comma"),
    ]
    for image in images:
        bench.store.see(image)
    kept = await bench.kept()
    assert len(kept) == 3
    wanted = [kept_image(image, at=NOON) for image in images]
    assert all(same(one, other) for one, other in zip(wanted, kept, strict=True))
    assert kept[1].verdict is Verdict.REVIEW  # for the coverage alone would do


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30, 0.0])
async def test_embeddings_that_are_no_unit_vectors_are_kept_as_such(
    bench: Bench, bad: float
) -> None:
    embeddings = np.full((2, 4), bad, dtype=np.float32)
    bench.store.see(judged(embeddings=embeddings))
    (kept,) = await bench.kept()
    assert kept.verdict is Verdict.REVIEW
    lengths = np.linalg.norm(kept.embeddings.astype(np.float64), axis=1)
    assert not np.any(np.abs(lengths - 1.0) <= 1e-3)


async def test_erasing_removes_every_upload_of_the_bytes_and_no_other(bench: Bench) -> None:
    for name in ("wanted", "other", "wanted"):
        bench.store.see(judged(name, views=3))
    bench.store.see(judged("wanted", tenant="u"))
    assert await bench.store.erase(tenant="t", sha256=sha_of("wanted")) == 6
    assert await bench.store.erase(tenant="t", sha256=sha_of("wanted")) == 0
    kept = await bench.kept()
    assert sorted((image.tenant, image.sha256) for image in kept) == sorted(
        [("t", sha_of("other")), ("u", sha_of("wanted"))]
    )


@pytest.mark.parametrize(
    "tenant", ["", "..", "../t", "T", "a/b", "day=2020-01-01", "é", "x" * 5000, "t\ud800"]
)
async def test_a_tenants_name_is_data(bench: Bench, tenant: str) -> None:
    bench.store.see(judged("theirs", tenant=tenant))
    bench.store.see(judged("ours", tenant="t"))
    assert await bench.store.erase(tenant=tenant, sha256=sha_of("ours")) == 0
    assert [image.sha256 for image in await bench.kept(tenant)] == [sha_of("theirs")]
