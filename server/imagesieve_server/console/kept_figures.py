"""The queue's figures, kept for a while: pages loaded one after the other ask the store once.

Knows how long which figure stays good enough, for one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from imagesieve_server.core.ports import ReviewFigures, ReviewQuality
from imagesieve_server.core.quality_report import QualityReport
from imagesieve_server.core.review_figures import DecidedCount, Judged, TakenCount, Waiting

_NOW_S: Final = 20.0  # what stands now
_PAST_S: Final = 3600.0  # days that are over: only what is undone later changes them
_KEPT: Final = 1000
_DAY_S: Final = 86_400.0


class KeptFigures:
    """``clock`` gives Unix time."""

    def __init__(
        self, *, figures: ReviewFigures, quality: ReviewQuality, clock: Callable[[], float]
    ) -> None:
        self._figures = figures
        self._quality = quality
        self._clock = clock
        self._kept: dict[tuple[object, ...], tuple[float, Any]] = {}  # key → (good until, value)
        self._lock = asyncio.Lock()

    async def waiting(self, tenant: str) -> Waiting:
        """What waits."""
        return await self._one(  # type: ignore[no-any-return]
            ("waiting", tenant), _NOW_S, lambda: self._figures.waiting(tenant=tenant)
        )

    async def decided(self, tenant: str) -> Sequence[DecidedCount]:
        """What people said in the last 24 hours."""
        until = self._clock() + 1.0  # what is said at this moment, too
        return await self._one(  # type: ignore[no-any-return]
            ("decided", tenant), _NOW_S,
            lambda: self._figures.decided(tenant=tenant, since=until - _DAY_S, until=until),
        )  # fmt: skip

    async def taken(self, tenant: str) -> Sequence[TakenCount]:
        """What people took in hand in the last 24 hours."""
        since = self._clock() - _DAY_S
        return await self._one(  # type: ignore[no-any-return]
            ("taken", tenant), _NOW_S, lambda: self._figures.taken(tenant=tenant, since=since)
        )

    async def judged(self, tenant: str, *, days: int, today: bool) -> Mapping[int, Judged]:
        """Days (UTC) ago → the flags decided on that day; ``today``: with what there is of it."""
        now = self._clock()
        midnight = now - now % _DAY_S
        found: dict[int, Judged] = {}
        for ago in range(0 if today else 1, days):
            since = midnight - ago * _DAY_S
            found[ago] = await self._one(
                ("judged", tenant, since),
                _PAST_S if ago else _NOW_S,
                partial(self._figures.judged, tenant=tenant, since=since, until=since + _DAY_S),
            )
        return found

    async def quality(self, tenant: str, *, days: int) -> QualityReport:
        """How well people decided in the last days."""
        until = self._clock() + 1.0
        ask = partial(
            self._quality.quality, tenant=tenant, since=until - days * _DAY_S, until=until
        )
        return await self._one(("quality", tenant, days), _PAST_S, ask)  # type: ignore[no-any-return]

    async def _one(
        self, key: tuple[object, ...], good_s: float, ask: Callable[[], Awaitable[Any]]
    ) -> Any:
        async with self._lock:  # whoever comes meanwhile finds it kept
            until, value = self._kept.get(key, (0.0, None))
            now = self._clock()
            if now >= until:
                value = await ask()
                self._kept.pop(key, None)
                self._kept[key] = (now + good_s, value)
                while len(self._kept) > _KEPT:
                    del self._kept[next(iter(self._kept))]
            return value
