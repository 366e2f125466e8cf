"""Notices when one group of look-alikes, one uploader or one tenant suddenly sends many flags.

Counts what was kept, in memory and for this server alone; a spike is logged once with a hash that
names its source, and shows in metrics that name none. Decides nothing and holds nothing up.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imagesieve_server.core.ports import Metrics
from imagesieve_server.core.spikes import Key, Window

PUBLISH_S = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeLimits:
    """Flags within the window that are a spike; 0 watches none of that kind."""

    window_s: float
    group: int
    uploader: int
    tenant: int


class FloodWatch:
    """All methods belong to one event loop. ``clock`` gives seconds that never go back."""

    def __init__(
        self,
        *,
        limits: SpikeLimits,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._window_s = limits.window_s
        wanted = {"group": limits.group, "uploader": limits.uploader, "tenant": limits.tenant}
        self._windows: Mapping[str, Window] = {
            kind: Window(span_s=limits.window_s, limit=limit)
            for kind, limit in wanted.items()
            if limit
        }

    def flagged(self, *, tenant: str, uploader_ref: str, group_id: str) -> None:
        """One flag was kept; "" where it has no uploader or no group."""
        whose = {"group": group_id, "uploader": uploader_ref, "tenant": tenant}
        for kind, window in self._windows.items():
            if whose[kind]:
                self._count(kind, window, (tenant, whose[kind]))

    async def run(self, *, step_s: float = PUBLISH_S) -> None:
        """Publish every ``step_s`` seconds, until cancelled."""
        while True:
            self.publish()
            await asyncio.sleep(step_s)

    def publish(self) -> None:
        """The largest counts, so that a spike that is over shows as such."""
        now = self._clock()
        for kind, window in self._windows.items():
            self._metrics.largest_source(kind, window.largest(now=now))

    def _count(self, kind: str, window: Window, key: Key) -> None:
        count = window.add(key, now=self._clock())
        if count is None:
            return
        self._metrics.spike(kind)
        log.warning(
            "many flags from one source",
            extra={
                "kind": kind,
                "source": key[1] if kind == "group" else source_hash(*key),
                "tenant": key[0],
                "flags": count,
                "window_s": self._window_s,
            },
        )


def source_hash(tenant: str, whose: str) -> str:
    """16 hexadecimal digits that name an uploader in a log without saying who it is."""
    name = tenant.encode()
    text = len(name).to_bytes(4, "big") + name + whose.encode()
    return hashlib.sha256(text).hexdigest()[:16]
