"""A bundle is complete and unaltered, or it is refused with words that help."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.tiny_bundle import write_manifest, write_tiny_bundle
from imagesieve_server.core.errors import BundleError
from imagesieve_server.encoders import manifest as manifests
from imagesieve_server.encoders.bundle import Canary, load_bundle
from imagesieve_server.offline.export.canary import write_canary

FILES = ("image_encoder.onnx", "text_encoder.onnx", "tokenizer.json", "canary.npz")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    copy = tmp_path / "tiny"
    shutil.copytree(original, copy)
    return copy


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "bundle.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_a_sound_bundle_loads_and_its_fingerprint_is_stable(folder: Path, original: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.manifest.embedding_size == 12
    assert bundle.canary.pixels.shape == (4, 8, 8, 3)
    assert bundle.fingerprint == load_bundle(original).fingerprint
    assert len(bundle.fingerprint) == 64


def test_the_fingerprint_ignores_the_layout_of_the_manifest(folder: Path, original: Path) -> None:
    edit(folder, lambda value: None)  # other indentation, same values
    assert load_bundle(folder).fingerprint == load_bundle(original).fingerprint


def test_the_fingerprint_changes_with_any_value(folder: Path, original: Path) -> None:
    edit(folder, lambda value: value.update(logit_scale=99.0))
    assert load_bundle(folder).fingerprint != load_bundle(original).fingerprint


@pytest.mark.parametrize("name", FILES)
def test_one_altered_bit_anywhere_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    for position in np.linspace(0, len(content) - 1, 25).astype(int):
        spoiled = bytearray(content)
        spoiled[position] ^= 1
        path.write_bytes(spoiled)
        with pytest.raises(BundleError, match=f"{name}: altered"):
            load_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: listed .* missing"):
        load_bundle(folder)


def test_a_truncated_file_is_refused(folder: Path) -> None:
    path = folder / "text_encoder.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match="altered"):
        load_bundle(folder)


def test_external_data_is_verified_like_any_file(folder: Path) -> None:
    (folder / "image_encoder.onnx.data").write_bytes(b"weights")
    write_manifest(folder)
    assert "image_encoder.onnx.data" in load_bundle(folder).manifest.files
    (folder / "image_encoder.onnx.data").write_bytes(b"Weights")
    with pytest.raises(BundleError, match=r"image_encoder\.onnx\.data: altered"):
        load_bundle(folder)


def test_a_file_the_manifest_does_not_list_is_refused(folder: Path) -> None:
    (folder / "image_encoder.onnx.data").write_bytes(b"weights")
    with pytest.raises(BundleError, match="not listed"):
        load_bundle(folder)


def test_a_file_outside_the_folder_is_refused(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.write_bytes(b"")
    edit(folder, lambda v: v["files"].update({"../outside": {"sha256": "", "bytes": 0}}))
    with pytest.raises(BundleError, match="outside the bundle"):
        load_bundle(folder)


def test_no_manifest_says_which_folder_is_meant(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="model export"):
        load_bundle(tmp_path)


def test_a_manifest_that_is_not_json(folder: Path) -> None:
    (folder / "bundle.json").write_bytes(b"\xff{")
    with pytest.raises(BundleError, match="not valid JSON"):
        load_bundle(folder)


WRONG: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (lambda v: v.update(surprise=1), "bundle.json: unknown key 'surprise'"),
    (lambda v: v["preprocessing"].update(crop=1), "bundle.json.preprocessing: unknown key 'crop'"),
    (lambda v: v.update(format_version=2), "format_version is 2, this release reads 1"),
    (lambda v: v.pop("format_version"), "format_version is None"),
    (lambda v: v.pop("logit_scale"), "key 'logit_scale' is missing"),
    (lambda v: v.update(embedding_size="12"), "embedding_size: expected int, found str"),
    (lambda v: v.update(embedding_size=True), "embedding_size: expected int, found bool"),
    (lambda v: v.update(embedding_size=0), "embedding_size must be positive"),
    (lambda v: v.update(logit_scale=-1), "logit_scale must be positive"),
    (lambda v: v.update(logit_bias=float("nan")), "logit_bias: must be a finite number"),
    (lambda v: v.update(precision="fp8"), "precision: 'fp8' is not one of fp32, fp16, int8"),
    (lambda v: v.update(precision="int8"), "int8 needs calibration_set"),
    (lambda v: v["preprocessing"].update(mean=[0.5, 0.5]), r"mean: expected 3 values, found 2"),
    (lambda v: v["text"].update(start_token=None), "clip_bpe needs start_token"),
    (lambda v: v["files"].pop("canary.npz"), "files does not list canary.npz"),
    (lambda v: v.update(files=[]), "bundle.json.files: expected an object"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_wrong_manifest_names_the_field(
    folder: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    edit(folder, change)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert words in caught.value.message


def test_a_canary_of_another_shape_is_refused(folder: Path) -> None:
    wrong = Canary(
        pixels=np.zeros((4, 9, 9, 3), dtype=np.uint8),
        embeddings=np.zeros((4, 12), dtype=np.float32),
    )
    write_canary(folder / manifests.CANARY, wrong)
    write_manifest(folder)
    with pytest.raises(BundleError, match="shapes do not fit"):
        load_bundle(folder)


def test_a_canary_that_is_no_archive_is_refused(folder: Path) -> None:
    (folder / manifests.CANARY).write_bytes(b"not a zip")
    write_manifest(folder)
    with pytest.raises(BundleError, match="not a readable canary"):
        load_bundle(folder)


def test_what_is_rendered_is_parsed_back(folder: Path) -> None:
    manifest = load_bundle(folder).manifest
    assert manifests.parse(manifests.render(manifest)) == manifest
