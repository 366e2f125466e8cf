"""The original bytes of flagged pictures, by tenant and content hash.

Knows files and hashes. Does not know items: which bytes are still referred to is the store's
knowledge. Nothing here decodes a picture.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from imagesieve_server import durable_files as files
from imagesieve_server.core.errors import (
    InvalidRequest,
    ItemNotFound,
    StoreNotUsable,
    StoreUnavailable,
)
from imagesieve_server.core.tenant_folders import folder_name, tenant_of
from imagesieve_server.review_queue import checks

log = logging.getLogger(__name__)

PARTS = 256
"""Bytes are spread over so many parts, by the first two digits of their hash."""
SCRATCH_AGE_S = 3600.0
"""A temporary file older than this, seconds, was left by a process that died."""


class EvidenceStore(Protocol):
    """Synchronous and safe to call from several threads at once."""

    def put(self, *, tenant: str, sha256: str, data: bytes) -> None:
        """Keep the bytes; when this returns they are durable. Repeating it is harmless.

        Raises InvalidRequest where ``sha256`` is not theirs, StoreUnavailable.
        """
        ...

    def get(self, *, tenant: str, sha256: str) -> bytes:
        """The bytes, verified against their hash. Raises ItemNotFound, StoreUnavailable."""
        ...

    def has(self, *, tenant: str, sha256: str) -> bool:
        """Whether there are such bytes, without looking at them. Raises StoreUnavailable."""
        ...

    def remove(self, *, tenant: str, sha256: str, older_than_s: float = 0.0) -> bool:
        """Remove the bytes, durably, unless they were put within that time; whether they are
        gone. Raises StoreUnavailable."""
        ...

    def older(self, *, part: int, older_than_s: float) -> Mapping[str, Sequence[str]]:
        """Bytes put longer ago than that, sha256s by tenant. ``part`` is one of ``PARTS``, so
        that a look at everything is many short ones. Raises StoreUnavailable."""
        ...

    def sweep(self) -> None:
        """Remove what writes that were killed left behind. Raises StoreUnavailable."""
        ...


class MemoryEvidence:
    """Forgets with the process: for tests and demonstrations."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._kept: dict[tuple[str, str], bytes] = {}
        self._put_at: dict[tuple[str, str], float] = {}
        self._clock = clock

    def put(self, *, tenant: str, sha256: str, data: bytes) -> None:
        require_match(sha256, data)
        self._kept[tenant, sha256] = data
        self._put_at[tenant, sha256] = self._clock()

    def remove(self, *, tenant: str, sha256: str, older_than_s: float = 0.0) -> bool:
        key = (tenant, sha256)
        if key in self._kept and self._clock() - self._put_at[key] < older_than_s:
            return False
        self._kept.pop(key, None)
        return True

    def older(self, *, part: int, older_than_s: float) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for tenant, sha256 in self._kept:
            aged = self._clock() - self._put_at[tenant, sha256] >= older_than_s
            if aged and int(sha256[:2], 16) == part:
                found.setdefault(tenant, []).append(sha256)
        return found

    def sweep(self) -> None:
        """Nothing is ever half written."""

    def has(self, *, tenant: str, sha256: str) -> bool:
        return (tenant, sha256) in self._kept

    def get(self, *, tenant: str, sha256: str) -> bytes:
        try:
            return self._kept[tenant, sha256]
        except KeyError:
            raise not_found() from None


class FolderEvidence:
    """``<root>/<tenant>/<first two digits>/<sha256>``, one file per tenant and content.

    A file appears whole or not at all: it is written to ``<root>/.scratch``, synced, renamed,
    and its folder is synced. ``root`` is created where missing and must be writable, else
    StoreNotUsable. Several servers may share one root.
    """

    def __init__(self, *, root: Path) -> None:
        self._root = root
        self._scratch = root / ".scratch"
        self._durable: set[Path] = set()  # folders whose names are known to be on the disk
        self._lock = threading.Lock()
        try:
            files.make_folder(self._scratch)
            self._sweep()
            probe = self._scratch / f"probe-{secrets.token_hex(8)}"
            files.write_file(probe, b"probe", scratch=self._new_scratch())
            probe.unlink()
        except OSError as problem:
            raise StoreNotUsable(
                f"the evidence folder {root} is not writable: {problem.strerror}"
            ) from problem

    def put(self, *, tenant: str, sha256: str, data: bytes) -> None:
        require_match(sha256, data)
        target = self._path(tenant, sha256)
        try:
            self._make_durable(target.parent)
            if _holds(target, data):
                # Its data were synced before it got this name; the name itself may be the
                # work of a process that died before the folder was synced. The new time
                # keeps it from whoever removes old files that no row refers to.
                os.utime(target)
                files.sync_folder(target.parent)
            else:
                files.write_file(target, data, scratch=self._new_scratch())
        except OSError as problem:
            with self._lock:
                self._durable.discard(target.parent)
            raise _unavailable("written", problem) from problem

    def get(self, *, tenant: str, sha256: str) -> bytes:
        checks.sha256("sha256", sha256)
        try:
            data = self._path(tenant, sha256).read_bytes()
        except FileNotFoundError:
            raise not_found() from None
        except OSError as problem:
            raise _unavailable("read", problem) from problem
        if hashlib.sha256(data).hexdigest() != sha256:
            log.error(
                "evidence folder: a file is damaged", extra={"tenant": tenant, "sha256": sha256}
            )
            raise StoreUnavailable("the evidence on the disk is damaged")
        return data

    def has(self, *, tenant: str, sha256: str) -> bool:
        checks.sha256("sha256", sha256)
        try:
            # A network file system answers a stat from memory, and asks its server at an open.
            os.close(os.open(self._path(tenant, sha256), os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            return False
        except OSError as problem:
            raise _unavailable("read", problem) from problem
        return True

    def remove(self, *, tenant: str, sha256: str, older_than_s: float = 0.0) -> bool:
        checks.sha256("sha256", sha256)
        path = self._path(tenant, sha256)
        try:
            if older_than_s and time.time() - path.stat().st_mtime < older_than_s:
                return False
            files.remove_file(path)
        except FileNotFoundError:
            return True
        except OSError as problem:
            raise _unavailable("removed", problem) from problem
        return True

    def older(self, *, part: int, older_than_s: float) -> Mapping[str, Sequence[str]]:
        before = time.time() - older_than_s
        found: dict[str, Sequence[str]] = {}
        try:
            for folder in self._root.iterdir():
                tenant = tenant_of(folder.name)
                if tenant is not None:
                    found[tenant] = _older_files(folder / f"{part:02x}", before)
        except OSError as problem:
            raise _unavailable("listed", problem) from problem
        return found

    def sweep(self) -> None:
        """Another server's living files are young and stay."""
        try:
            self._sweep()
        except OSError as problem:
            raise _unavailable("swept", problem) from problem

    def _path(self, tenant: str, sha256: str) -> Path:
        return self._root / folder_name(tenant) / sha256[:2] / sha256

    def _new_scratch(self) -> Path:
        return self._scratch / secrets.token_hex(16)

    def _make_durable(self, folder: Path) -> None:
        with self._lock:
            if folder in self._durable:
                return
        for each in (folder.parent, folder):
            files.make_folder(each)
        with self._lock:
            self._durable.add(folder)

    def _sweep(self) -> None:
        for path in self._scratch.iterdir():
            try:
                if time.time() - path.stat().st_mtime > SCRATCH_AGE_S:
                    path.unlink()
            except FileNotFoundError:
                continue


def _older_files(folder: Path, before: float) -> list[str]:
    """Files named by a sha256 and last put before that time, seconds since the epoch."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime <= before and checks.is_sha256(entry.name):
                    found.append(entry.name)
    return sorted(found)


def _holds(target: Path, data: bytes) -> bool:
    """Whether the file exists with exactly this content."""
    try:
        return target.stat().st_size == len(data) and target.read_bytes() == data
    except FileNotFoundError:
        return False


def require_match(sha256: str, data: bytes) -> None:
    checks.sha256("sha256", sha256)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InvalidRequest("sha256", "is not the hash of the bytes")


def not_found() -> ItemNotFound:
    return ItemNotFound("there is no evidence with that hash")


def _unavailable(what: str, problem: OSError) -> StoreUnavailable:
    """The reason is the operator's, with the path; a caller hears neither."""
    log.error("evidence folder", extra={"evidence": f"not {what}", "problem": str(problem)})
    return StoreUnavailable(f"the evidence cannot be {what}")
