"""Embeddings kept between runs, so that a second policy over the same pictures takes seconds.

A cache is a folder; below it one folder per way of seeing (``Seeing``: model, view plan,
decoder build, provider), so that nothing is ever taken for what another decoder or model saw.
In there lie parts: npz files without pickles, float32 as the encoder gave them, written beside
and renamed, each with some pictures by the sha256 of their bytes. A run that is interrupted
keeps the parts it wrote.

A part that cannot be read is worth nothing and costs only time: it is removed, said in a note,
and its pictures are encoded again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.views import Background, View, ViewKind
from imagesieve_server.durable_files import write_file
from imagesieve_server.offline.labelled.encoding import Encoded

FORMAT = 1
PART_PICTURES = 256
"""Pictures in a part; a run that is killed outright loses at most so many."""
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeing:
    """All that decides what embeddings some bytes get."""

    model: str  # fingerprint
    coverage: str
    max_views: int
    decoder: str  # build
    runtime: str  # provider, and version of its library


class EmbeddingCache:
    """The parts of one way of seeing. Not for two threads; two processes may share a folder."""

    def __init__(self, folder: Path, seeing: Seeing) -> None:
        """Make the folder where it is missing. Raises ConfigError."""
        key = {"format": FORMAT, **asdict(seeing)}
        text = json.dumps(key, sort_keys=True)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:24]
        self._waiting: dict[str, Encoded] = {}
        try:
            # Embeddings say much about a picture: they are nobody else's to read.
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(self.folder / "key.json", text.encode())
        except OSError as error:
            raise ConfigError(f"--cache: {folder}: {error.strerror}") from None

    def load(self, wanted: Collection[str]) -> tuple[dict[str, Encoded], tuple[str, ...]]:
        """(what is known of these sha256, notes on damaged parts, which are removed)."""
        known: dict[str, Encoded] = {}
        notes = []
        for path in sorted(self.folder.glob("part-*.npz")):
            try:
                found = dict(_read_part(path, set(wanted) - known.keys()))
            except _DAMAGED:
                path.unlink(missing_ok=True)
                notes.append(
                    f"{path}: this part of the cache was damaged; it was removed, and its "
                    "pictures were decoded and encoded again"
                )
            else:
                known.update(found)
        return known, tuple(notes)

    def add(self, sha256: str, encoded: Encoded) -> None:
        """Keep one picture; written with others. Raises ConfigError."""
        self._waiting[sha256] = encoded
        if len(self._waiting) >= PART_PICTURES:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Raises ConfigError."""
        if not self._waiting:
            return
        data = _part(self._waiting)
        name = f"part-{hashlib.sha256(data).hexdigest()[:24]}.npz"
        try:
            _write(self.folder / name, data)
        except OSError as error:
            raise ConfigError(f"--cache: {self.folder}: {error.strerror}") from None
        self._waiting = {}


def _write(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    write_file(path, data, scratch=scratch)


def _part(pictures: Mapping[str, Encoded]) -> bytes:
    views = [view for one in pictures.values() for view in one.views]
    buffer = io.BytesIO()
    np.savez(
        buffer,
        sha256=np.frombuffer(b"".join(map(bytes.fromhex, pictures)), dtype=np.uint8).reshape(
            -1, 32
        ),
        counts=np.array([len(one.views) for one in pictures.values()], dtype=np.int64),
        coverage=np.array([one.coverage for one in pictures.values()], dtype=np.float64),
        embeddings=np.concatenate([one.embeddings for one in pictures.values()]),
        kinds=np.array([view.kind.value for view in views]),
        boxes=np.array([view.box for view in views], dtype=np.int64),
        frames=np.array([view.frame for view in views], dtype=np.int64),
        backgrounds=np.array([view.background.value for view in views]),
    )
    return buffer.getvalue()


def _read_part(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, Encoded]]:
    """The wanted pictures of a part; numpy checks the CRC of each array as it reads it."""
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ValueError("a part is not compressed")
    with np.load(path, allow_pickle=False) as arrays:
        names = [row.tobytes().hex() for row in arrays["sha256"]]
        if not set(names) & set(wanted):
            return
        counts, coverage, embeddings = arrays["counts"], arrays["coverage"], arrays["embeddings"]
        columns = [arrays[name] for name in ("kinds", "boxes", "frames", "backgrounds")]
    if embeddings.dtype != np.float32 or embeddings.ndim != 2 or coverage.dtype != np.float64:
        raise ValueError("other types")
    views = [
        View(
            kind=ViewKind(kind), box=tuple(box), frame=int(frame), background=Background(background)
        )
        for kind, box, frame, background in zip(*(c.tolist() for c in columns), strict=True)
    ]
    if len(views) != len(embeddings) or counts.sum() != len(views) or (counts < 1).any():
        raise ValueError("other lengths")
    start = 0
    for name, count, covered in zip(names, counts.tolist(), coverage.tolist(), strict=True):
        rows = slice(start, start + count)
        start += count
        if name in wanted:
            yield (
                name,
                Encoded(
                    embeddings=embeddings[rows], views=tuple(views[rows]), coverage=float(covered)
                ),
            )
