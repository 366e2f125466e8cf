"""The files of a store that is written: adding, erasing, removing what is too old.

Synchronous, for one thread. Several servers may share a root: names are random, and erasures take
turns. Knows nothing of queues or metrics.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from imagesieve_server import durable_files
from imagesieve_server.core.errors import EmbeddingsDamaged, StoreUnavailable
from imagesieve_server.core.kept import KeptImage
from imagesieve_server.embedding_store import layout, rows

log = logging.getLogger(__name__)

LOCK = ".lock"
SCRATCH_AGE_S = 3600.0
"""A temporary file older than this, seconds, was left by a process that died."""


class StoreFiles:
    """Writes below one root; ``size_bytes`` is what all files take, found at start and kept up."""

    def __init__(self, *, root: Path) -> None:
        """Makes the folder, and tries to write there. Raises OSError."""
        self._root = root
        self._scratch = root / layout.SCRATCH
        durable_files.make_folder(self._scratch)
        probe = self._scratch / f"probe-{secrets.token_hex(8)}"
        durable_files.write_file(probe, b"probe", scratch=self._new_scratch())
        probe.unlink()
        self.size_bytes = layout.size_bytes(root)

    def add(self, images: Sequence[KeptImage]) -> Path:
        """Write images of one tenant, model and day. Raises OSError."""
        first = images[0]
        target = layout.new_file(
            self._root, model=first.model_fingerprint, tenant=first.tenant, at=first.at
        )
        data = rows.as_file(images)
        durable_files.make_folder(target.parent)
        durable_files.write_file(target, data, scratch=self._new_scratch())
        self.size_bytes += len(data)
        return target

    def erase(self, *, tenant: str, sha256: str) -> int:
        """Remove an image's rows from every file of the tenant; how many.

        Goes on after a file that it cannot read or change; raises StoreUnavailable then. One
        process at a time: two that rewrite a file would each bring back what the other removed.
        """
        with self._alone():
            return self._erase(tenant, sha256)

    def _erase(self, tenant: str, sha256: str) -> int:
        removed, problems = 0, 0
        wanted = np.void(bytes.fromhex(sha256))
        for folder in layout.day_folders(self._root, tenant=tenant):
            for path in folder.files():
                try:
                    found = int((rows.hashes(path) == wanted).sum())
                    if found:
                        self._rewrite(path, sha256)
                    removed += found
                except FileNotFoundError:
                    continue
                except (EmbeddingsDamaged, OSError) as problem:
                    problems += 1
                    log.error(
                        "embeddings not erased: remove the file, or mend it and repeat",
                        extra={"file": str(path), "problem": str(problem)},
                    )
        self.size_bytes = layout.size_bytes(self._root)
        if problems:
            raise StoreUnavailable("the embeddings cannot be erased: a file cannot be read")
        return removed

    def remove_before(self, day: date) -> None:
        """Remove whole days before that one. Raises OSError."""
        layout.remove_before(self._root, day, removed=_removed)
        self.size_bytes = layout.size_bytes(self._root)

    def sweep(self) -> None:
        """Remove what writes that were killed left behind. Raises OSError."""
        for path in self._scratch.iterdir():
            try:
                if time.time() - path.stat().st_mtime > SCRATCH_AGE_S:
                    path.unlink()
            except FileNotFoundError:
                continue

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process changes files, and keep them waiting."""
        descriptor = os.open(self._root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _rewrite(self, path: Path, sha256: str) -> None:
        rest = rows.without(path, sha256)
        if rest is None:
            durable_files.remove_file(path)
        else:
            durable_files.write_file(path, rest, scratch=self._new_scratch())

    def _new_scratch(self) -> Path:
        return self._scratch / secrets.token_hex(16)


def _removed(folder: Path) -> None:
    log.info("embeddings past their time", extra={"folder": str(folder)})
