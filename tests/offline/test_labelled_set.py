"""Labelled sets: the server's own numbers, kept between runs and not lost with a bad picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from helpers import pictures
from helpers.tiny_bundle import WIDTH, write_tiny_bundle
from imagesieve_server.core.errors import ConfigError, LabelsError, PolicyError
from imagesieve_server.core.policy import (
    Category,
    Method,
    Mode,
    Policy,
    Pooling,
    PromptGroup,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.views import Coverage, ViewKind, ViewPlan
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import RuntimeOptions
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.offline.labelled import cache as caching
from imagesieve_server.offline.labelled import labelled_set
from imagesieve_server.offline.labelled.labelled_set import (
    LabelledSet,
    LeftOut,
    image_logits,
    load_labelled,
    view_logits,
)

PLAN = ViewPlan()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five pictures, one of them moving, one twice; one is broken, one empty, one no picture."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        data = pictures.encode(pictures.noise((20, 20), seed=number), "PNG")
        (folder / f"{number}.png").write_bytes(data)
    frames = [pictures.noise((20, 20), seed=seed) for seed in (7, 8, 9)]
    moving = pictures.animation(frames, "GIF")
    (folder / "moving.gif").write_bytes(moving)
    (folder / "again.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "cut.png").write_bytes(data[:400])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    return folder


ROWS = (
    "0.png,weapons,a", "cut.png,,b", "moving.gif,,a", "empty.png,,b", "1.png,?,b", "text.png,,b",
    "again.png,weapons,b", "2.png,,a",
)  # fmt: skip


def load(
    images: Path, bundle: Bundle, *, rows: Sequence[str] = ROWS, **changes: object
) -> LabelledSet:
    labels = images.parent / "labels.csv"
    labels.write_text("file,category,artist\n" + "\n".join(rows) + "\n")
    arguments: dict[str, object] = {
        "labels": labels,
        "images": images,
        "bundle": bundle,
        "plan": PLAN,
        "cache": None,
        "categories": ["weapons"],
        "progress": lambda done, total: None,
    }
    return load_labelled(**(arguments | changes))  # type: ignore[arg-type]


def policy(bundle: Bundle, *, method: Method = Method.CONTRAST) -> Policy:
    chance = np.random.default_rng(1)

    def group(count: int) -> PromptGroup:
        rows = chance.normal(size=(count, WIDTH))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return PromptGroup(
            texts=tuple(str(n) for n in range(count)), vectors=rows.astype(np.float32)
        )

    category = Category(
        id="weapons",
        title="",
        severity=1,
        mode=Mode.ENFORCE,
        method=method,
        pooling=Pooling.MAX,
        prompts=group(3),
        counter_prompts=group(2),
        thresholds=Thresholds(review_at=Threshold(value=0.5)),
    )
    return Policy(
        name="p",
        version="0",
        model_fingerprint=bundle.fingerprint,
        logit_scale=100.0,
        logit_bias=0.0,
        neutral=group(4),
        categories=(category,),
    )


def same(one: LabelledSet, other: LabelledSet) -> bool:
    return (
        one.files == other.files
        and one.views == other.views
        and one.embeddings.tobytes() == other.embeddings.tobytes()
        and one.image_of.tobytes() == other.image_of.tobytes()
        and one.coverage.tobytes() == other.coverage.tobytes()
        and one.left_out == other.left_out
    )


def test_a_set_is_what_the_server_sees_and_a_bad_picture_only_drops_out(
    images: Path, bundle: Bundle
) -> None:
    found = load(images, bundle)
    assert found.files == ("0.png", "moving.gif", "1.png", "again.png", "2.png")
    assert found.labels["weapons"].tolist() == [1, 0, -1, 1, 0]
    assert found.columns == {"artist": ("a", "a", "b", "b", "a")}
    assert found.image_of.tolist() == [0, 1, 1, 1, 2, 3, 4]
    assert found.starts.tolist() == [0, 1, 4, 5, 6]
    assert [view.frame for view in found.views[1:4]] == [0, 1, 2]
    assert {view.kind for view in found.views[2:4]} == {ViewKind.FRAME}
    assert found.coverage.tolist() == [1.0] * 5
    assert found.left_out == (
        LeftOut(file="cut.png", reason="TRUNCATED"),
        LeftOut(file="empty.png", reason="IMAGE_EMPTY"),
        LeftOut(file="text.png", reason="IMAGE_FORMAT_UNSUPPORTED"),
    )
    encoder = OnnxImageEncoder(bundle=bundle, options=RuntimeOptions())
    for number, name in enumerate(found.files):
        decoded = decode_image(
            (images / name).read_bytes(),
            plan=PLAN,
            preprocessing=encoder.spec.preprocessing,
            limits=Limits(),
        )
        rows = found.embeddings[found.image_of == number]
        assert np.allclose(rows, encoder.run(decoded.pixels), atol=1e-6)


def test_a_second_run_takes_everything_from_the_cache(
    images: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching, "PART_PICTURES", 2)
    steps: list[tuple[int, int]] = []
    first = load(images, bundle, cache=tmp_path / "c", progress=lambda *s: steps.append(s))
    assert steps[0] == (0, 7)
    assert steps[-1] == (7, 7)
    assert len(list((tmp_path / "c").rglob("part-*.npz"))) == 2
    steps.clear()
    monkeypatch.setattr(OnnxImageEncoder, "run", None)  # nothing may be encoded
    good = [row for row in ROWS if not row.startswith(("cut", "empty", "text"))]
    second = load(
        images, bundle, cache=tmp_path / "c", rows=good, progress=lambda *s: steps.append(s)
    )
    assert steps == [(4, 4)]
    assert second.embeddings.tobytes() == first.embeddings.tobytes()
    assert second.views == first.views


def test_another_plan_does_not_share_the_cache(
    images: Path, bundle: Bundle, tmp_path: Path
) -> None:
    load(images, bundle, cache=tmp_path / "c")
    load(images, bundle, cache=tmp_path / "c", plan=ViewPlan(coverage=Coverage.SQUASH))
    short = load(images, bundle, cache=tmp_path / "c", plan=ViewPlan(max_views=1))
    assert short.image_of.tolist() == [0, 1, 2, 3, 4]
    assert short.coverage[1] < 1.0
    assert len(list((tmp_path / "c").iterdir())) == 3


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_part_is_made_again_and_said(
    images: Path, bundle: Bundle, tmp_path: Path, damage: str
) -> None:
    first = load(images, bundle, cache=tmp_path / "c")
    (part,) = (tmp_path / "c").rglob("part-*.npz")
    data = part.read_bytes()
    middle = data.index(first.embeddings[3:4].tobytes())
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    other = tmp_path / "other.npz"
    np.savez(other, sha256=np.zeros((1, 32), dtype=np.uint8))
    part.write_bytes(
        {"cut": data[:700], "flip": flipped, "empty": b"", "other": other.read_bytes()}[damage]
    )
    second = load(images, bundle, cache=tmp_path / "c")
    assert same(first, second)
    if damage != "other":  # that one is sound, and holds other pictures
        assert [str(part) in note and "damaged" in note for note in second.notes] == [True]
        assert load(images, bundle, cache=tmp_path / "c").notes == ()


def test_an_interrupted_run_keeps_what_it_did(images: Path, bundle: Bundle, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(images, bundle, cache=tmp_path / "c", progress=interrupt)
    steps: list[int] = []
    load(images, bundle, cache=tmp_path / "c", progress=lambda done, total: steps.append(done))
    assert steps[0] == 2  # two pictures and one that cannot be decoded were done
    assert same(load(images, bundle, cache=tmp_path / "c"), load(images, bundle))


def test_a_cache_that_cannot_be_written_is_named(
    images: Path, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "c").write_text("a file")
    with pytest.raises(ConfigError, match=r"--cache: .*/c: "):
        load(images, bundle, cache=tmp_path / "c")


def test_no_picture_at_all_is_an_error(images: Path, bundle: Bundle) -> None:
    with pytest.raises(LabelsError, match=r"none of its 1 pictures .*'cut.png', is TRUNCATED"):
        load(images, bundle, rows=["cut.png,,b"])


def test_a_picture_over_the_byte_cap_is_left_out_unread(images: Path, bundle: Bundle) -> None:
    with (images / "2.png").open("r+b") as file:
        file.truncate(Limits().bytes + 1)
    assert load(images, bundle).left_out[-1] == LeftOut(file="2.png", reason="IMAGE_TOO_LARGE")


@pytest.mark.parametrize("method", [Method.CONTRAST, Method.SIGMOID, Method.COSINE])
def test_log_odds_are_the_servers_own(
    images: Path, bundle: Bundle, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled_set, "_CHUNK", 3)
    found, rules = load(images, bundle), policy(bundle, method=method)
    by_view, by_image = view_logits(rules, found)["weapons"], image_logits(rules, found)["weapons"]
    assert by_view.shape == (7,)
    for number in range(len(found)):
        mine = found.image_of == number
        scored = score_image(
            policy=rules,
            categories=rules.categories,
            embeddings=found.embeddings[mine],
            views=[view for view, own in zip(found.views, mine, strict=True) if own],
        )
        assert scored.scores[0].log_odds == pytest.approx(by_image[number], abs=1e-9)
        assert by_image[number] == by_view[mine].max()


def test_another_models_policy_is_refused(images: Path, bundle: Bundle) -> None:
    import dataclasses

    other = dataclasses.replace(policy(bundle), model_fingerprint="f" * 64)
    with pytest.raises(PolicyError, match=r"was compiled for another model \(ffffffffffff"):
        image_logits(other, load(images, bundle))
