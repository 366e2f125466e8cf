"""A model bundle on disk: a folder that is complete and unaltered, or a BundleError.

Knows files and hashes; refuses to know ONNX Runtime, and trusts no file it has not hashed. A
file the manifest does not list is refused too: an ONNX graph may name external data beside it,
and such a file would be read unverified.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.errors import BundleError
from imagesieve_server.encoders import manifest as manifests
from imagesieve_server.encoders.manifest import FileEntry, Manifest

_CHUNK = 1 << 20  # bytes read at a time while hashing


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A few pictures and their embeddings, computed when the bundle was made."""

    pixels: npt.NDArray[np.uint8]  # [K, S, S, 3] RGB
    embeddings: npt.NDArray[np.float32]  # [K, D], unit length


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    manifest: Manifest
    fingerprint: str  # sha256 (hex) over the canonical manifest
    canary: Canary

    @property
    def image_encoder(self) -> Path:
        return self.folder / manifests.IMAGE_ENCODER

    @property
    def text_encoder(self) -> Path:
        return self.folder / manifests.TEXT_ENCODER

    @property
    def tokenizer(self) -> Path:
        return self.folder / manifests.TOKENIZER


def load_bundle(folder: Path) -> Bundle:
    """Read the manifest and verify every file of the folder.

    Raises BundleError for a missing, altered or unlisted file, an unknown key or version, and a
    canary of the wrong shape.
    """
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    return Bundle(
        folder=folder,
        manifest=manifest,
        fingerprint=manifest.fingerprint,
        canary=_read_canary(folder / manifests.CANARY, manifest),
    )


def read_manifest(folder: Path) -> Manifest:
    """Read ``bundle.json`` alone. Raises BundleError."""
    try:
        text = (folder / manifests.MANIFEST_NAME).read_bytes()
    except OSError as problem:
        raise BundleError(
            f"{folder.name}: no readable {manifests.MANIFEST_NAME}; is this the folder that "
            "`imagesieve-server model export --out` wrote?"
        ) from problem
    return manifests.parse(text)


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file with the manifest. Raises BundleError for the first difference."""
    for name, entry in manifest.files.items():
        path = _inside(folder, name)
        if not path.is_file():
            raise BundleError(f"{name}: listed in {manifests.MANIFEST_NAME} but missing")
        if describe_file(path) != entry:
            raise BundleError(
                f"{name}: altered or damaged (its sha256 or size is not the manifest's); "
                "copy or export the bundle again"
            )
    listed = {*manifest.files, manifests.MANIFEST_NAME}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in listed:
            raise BundleError(
                f"{name}: not listed in {manifests.MANIFEST_NAME}; remove it "
                "(a graph could read it unverified)"
            )


def describe_file(path: Path) -> FileEntry:
    """Hash one file. Raises OSError."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(sha256=digest.hexdigest(), bytes=size)


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{name}: points outside the bundle")
    return path


def _read_canary(path: Path, manifest: Manifest) -> Canary:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            canary = Canary(pixels=arrays["pixels"], embeddings=arrays["embeddings"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as problem:
        raise BundleError(f"{manifests.CANARY}: not a readable canary") from problem
    size = manifest.preprocessing.size
    count = len(canary.pixels)
    fits = (
        count > 0
        and canary.pixels.dtype == np.uint8
        and canary.pixels.shape == (count, size, size, 3)
        and canary.embeddings.dtype == np.float32
        and canary.embeddings.shape == (count, manifest.embedding_size)
    )
    if not fits:
        raise BundleError(f"{manifests.CANARY}: shapes do not fit the manifest")
    return canary
