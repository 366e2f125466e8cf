"""How much room the queue's folders have left, looked up at intervals.

Knows folders and a gauge. What full disks do to flags is the queue's matter.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)


class DiskMetrics(Protocol):
    """The part of ``core.ports.Metrics`` used here."""

    def disk_free(self, folder: str, size_bytes: int) -> None: ...


async def watch_disks(
    folders: Mapping[str, Path], *, metrics: DiskMetrics, every_s: float = 15.0
) -> None:
    """Report the room of each folder, by its label, for ever.

    A folder that cannot be looked up keeps its last figure and is logged. The look is in a
    thread: a disk that hangs must not take the event loop, nor a scrape, with it.
    """
    while True:
        for label, folder in folders.items():
            try:
                metrics.disk_free(label, await asyncio.to_thread(free_bytes, folder))
            except OSError as problem:
                log.warning("disk not looked up", extra={"folder": label, "problem": str(problem)})
        await asyncio.sleep(every_s)


def free_bytes(folder: Path) -> int:
    """What this process may still write there: blocks reserved for root do not count, quotas
    are not known. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
