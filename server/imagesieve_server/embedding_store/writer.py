"""Keeps embeddings from a thread of its own: nothing waits for it, nothing fails with it.

Best effort by design: what the inbox or the disk has no room for is dropped and counted, and a
killed server loses what was not written yet (at most ``flush_s`` seconds of it). A file appears
whole or not at all: it is written under ``.scratch``, synced, renamed, and its folder synced.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from imagesieve_server.core.errors import StoreNotUsable, StoreUnavailable
from imagesieve_server.core.kept import JudgedImage, KeptImage, kept_image
from imagesieve_server.embedding_store import layout
from imagesieve_server.embedding_store.files import StoreFiles
from imagesieve_server.extras import need
from imagesieve_server.inbox import Inbox

log = logging.getLogger(__name__)

TIDY_S = 3600.0
"""Seconds between looks for days that are too old."""
CLOSE_S = 10.0
"""Time to write the rest when the server stops, seconds."""

_Key = tuple[str, str]
"""Of a file: model fingerprint, tenant."""


class EmbeddingMetrics(Protocol):
    """What is counted here; ``metrics/recorder.py`` has the series."""

    def embeddings_kept(self, views: int) -> None:
        """Embeddings of so many views were written."""
        ...

    def embeddings_dropped(self, views: int, *, reason: str) -> None:
        """Embeddings that are not kept: "queue" or "room" is used up, or "error"."""
        ...

    def embeddings_failed(self, operation: str) -> None:
        """An operation failed: see, write, erase or tidy."""
        ...

    def embeddings_size(self, size_bytes: int) -> None:
        """What the kept embeddings take on the disk."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Limits of one store."""

    keep_days: float = 30.0  # whole days; 0 keeps for ever
    file_views: int = 8192  # views in memory at which the largest group is written
    flush_s: float = 300.0  # a view is in memory for no longer than this, seconds
    queue_views: int = 16384  # views handed over and not looked at yet; more are dropped
    max_bytes: int = 20 << 30  # of all files; more is dropped


@dataclass(slots=True)
class _Group:
    """Images of one future file, and how many views they have."""

    images: list[KeptImage] = field(default_factory=list)
    views: int = 0

    def remove(self, sha256: str) -> int:
        """Take an image out; how many views went."""
        before = self.views
        self.images = [image for image in self.images if image.sha256 != sha256]
        self.views = _views(self.images)
        return before - self.views


class ParquetEmbeddings:
    """Implements the EmbeddingStore port."""

    def __init__(
        self,
        *,
        root: Path,
        options: StoreOptions,
        metrics: EmbeddingMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` gives seconds since the epoch. Raises MissingExtra, StoreNotUsable."""
        need("pyarrow.parquet")
        self._options = options
        self._metrics = metrics
        self._clock = clock
        self._inbox: Inbox[KeptImage] = Inbox(capacity=options.queue_views)
        self._waiting: dict[_Key, _Group] = {}  # of the thread alone
        self._oldest: float | None = None  # monotonic time of the first in ``_waiting``
        self._tidy_at = time.monotonic()
        try:
            self._files = StoreFiles(root=root)
        except OSError as problem:
            raise StoreNotUsable(
                f"the embeddings folder {root} is not writable: {problem.strerror}"
            ) from problem
        self._thread = threading.Thread(target=self._run, name="embeddings", daemon=True)
        self._thread.start()

    def see(self, image: JudgedImage) -> None:
        """As the Onlooker port."""
        try:
            kept = kept_image(image, at=self._clock())
            if not self._inbox.put(kept, weight=len(kept.views)):
                self._metrics.embeddings_dropped(len(kept.views), reason="queue")
        except Exception:
            log.exception("embeddings not kept")
            self._metrics.embeddings_failed("see")

    async def erase(self, *, tenant: str, sha256: str) -> int:
        """As the EmbeddingStore port."""
        done: Future[int] = Future()

        def erase() -> None:
            if not done.set_running_or_notify_cancel():
                return  # whoever asked has gone, and is to ask again
            try:
                done.set_result(self._erase(tenant, sha256))
            except BaseException as problem:  # noqa: BLE001  the caller gets it
                done.set_exception(problem)

        if not self._inbox.order(erase):
            raise StoreUnavailable("the embeddings are closed")
        return await asyncio.wrap_future(done)

    async def close(self) -> None:
        """Write what is in memory and end. What a hanging disk does not take is lost."""
        self._inbox.close()
        await asyncio.to_thread(self._thread.join, CLOSE_S)

    # --- the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while not self._inbox.finished:
            try:
                self._step()
            except Exception:  # whoever waits for an erasure must get an answer
                log.exception("embeddings not kept")
                self._metrics.embeddings_failed("write")
        self._write_all()

    def _step(self) -> None:
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_S
            self._tidy()
        entry = self._inbox.take(timeout_s=self._wait_s())
        if isinstance(entry, KeptImage):
            self._add(entry)
        elif entry is not None:
            entry()
        if self._is_due():
            self._write_all()

    def _wait_s(self) -> float:
        tidy_at = self._tidy_at
        flush_at = tidy_at if self._oldest is None else self._oldest + self._options.flush_s
        return max(0.0, min(tidy_at, flush_at) - time.monotonic())

    def _is_due(self) -> bool:
        return self._oldest is not None and time.monotonic() >= self._oldest + self._options.flush_s

    def _add(self, image: KeptImage) -> None:
        key = (image.model_fingerprint, image.tenant)
        group = self._waiting.setdefault(key, _Group())
        group.images.append(image)
        group.views += len(image.views)
        if self._oldest is None:
            self._oldest = time.monotonic()
        if sum(group.views for group in self._waiting.values()) >= self._options.file_views:
            self._write(max(self._waiting, key=lambda key: self._waiting[key].views))

    def _write_all(self) -> None:
        self._oldest = None
        for key in list(self._waiting):
            self._write(key)

    def _write(self, key: _Key) -> None:
        """Write one group, a file for each day in it; what fails is dropped and counted."""
        images = self._waiting.pop(key).images
        if not self._waiting:
            self._oldest = None
        for day in sorted({layout.day_of(image.at) for image in images}):
            part = [image for image in images if layout.day_of(image.at) == day]
            views = _views(part)
            if self._files.size_bytes >= self._options.max_bytes:
                log.warning("embeddings dropped: the store is full", extra={"views": views})
                self._metrics.embeddings_dropped(views, reason="room")
                continue
            try:
                self._files.add(part)
            except Exception:
                log.exception("embeddings not written")
                self._metrics.embeddings_failed("write")
                self._metrics.embeddings_dropped(views, reason="error")
            else:
                self._metrics.embeddings_kept(views)
        self._metrics.embeddings_size(self._files.size_bytes)

    def _erase(self, tenant: str, sha256: str) -> int:
        """Remove from memory and files. Raises StoreUnavailable."""
        removed = 0
        for key, group in list(self._waiting.items()):
            if key[1] == tenant:
                removed += group.remove(sha256)
                if not group.images:
                    del self._waiting[key]
        try:
            removed += self._files.erase(tenant=tenant, sha256=sha256)
        except (StoreUnavailable, OSError) as problem:
            self._metrics.embeddings_failed("erase")
            raise StoreUnavailable("the embeddings cannot be erased at present") from problem
        finally:
            self._metrics.embeddings_size(self._files.size_bytes)
        return removed

    def _tidy(self) -> None:
        """Remove days past their time, and what killed writes left."""
        try:
            if self._options.keep_days:
                days = timedelta(days=self._options.keep_days)
                self._files.remove_before(layout.day_of(self._clock()) - days)
            self._files.sweep()
        except OSError as problem:
            log.warning("embeddings not tidied", extra={"problem": str(problem)})
            self._metrics.embeddings_failed("tidy")
        self._metrics.embeddings_size(self._files.size_bytes)


def _views(images: Sequence[KeptImage]) -> int:
    return sum(len(image.views) for image in images)
