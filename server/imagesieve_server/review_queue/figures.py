"""Figures of the queue for leads and for caps on exposure: awaitable, bounded, read only.

What takes long is asked for in parts, each a transaction of its own: where one thread owns the
store, flags on their way to the disk come in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from imagesieve_server.core.review_figures import (
    JUDGED_LOOK_AT,
    WAITING_LOOK_AT,
    DecidedCount,
    Judged,
    TakenCount,
    Waiting,
)
from imagesieve_server.review_queue.rows import Transaction
from imagesieve_server.review_queue.store_calls import StoreCalls

T = TypeVar("T")

_HOUR_S = 3600.0


class QueueFigures:
    """``core.ports.ReviewFigures`` over the store that ``calls`` reach."""

    def __init__(self, *, calls: StoreCalls) -> None:
        self._calls = calls

    async def waiting(self, *, tenant: str) -> Waiting:
        return await self._read(lambda tx: waiting(tx, tenant))

    async def decided(self, *, tenant: str, since: float, until: float) -> Sequence[DecidedCount]:
        found: list[DecidedCount] = []
        for hour in range(math.ceil((until - since) / _HOUR_S)):
            begin = since + hour * _HOUR_S
            end = min(begin + _HOUR_S, until)
            counts = await self._read(partial(_decided, tenant=tenant, since=begin, until=end))
            found += [replace(count, hour=hour) for count in counts]
        return found

    async def judged(self, *, tenant: str, since: float, until: float) -> Judged:
        return await self._read(lambda tx: judged(tx, tenant, since=since, until=until))

    async def taken(self, *, tenant: str, since: float, reviewer: str = "") -> Sequence[TakenCount]:
        names: Sequence[str] = [reviewer]
        if not reviewer:
            names = await self._read(lambda tx: tx.takers(tenant, since=since))
        found: list[TakenCount] = []
        for name in names:
            found += await self._read(partial(_taken, tenant=tenant, since=since, reviewer=name))
        return found

    async def _read(self, work: Callable[[Transaction], T]) -> T:
        return await self._calls.call("figures", lambda store: store.read(work))


def waiting(tx: Transaction, tenant: str, *, look_at: int = WAITING_LOOK_AT) -> Waiting:
    """What waits, by category."""
    now = tx.now()
    counts = tuple(tx.waiting_counts(tenant, now=now, look_at=look_at))
    return Waiting(counts=counts, partial=sum(count.items for count in counts) >= look_at, now=now)


def judged(
    tx: Transaction, tenant: str, *, since: float, until: float, look_at: int = JUDGED_LOOK_AT
) -> Judged:
    """The flags decided in the span."""
    counts, seen = tx.judged_counts(tenant, since=since, until=until, look_at=look_at)
    return Judged(counts=tuple(counts), partial=seen >= look_at)


def _decided(tx: Transaction, *, tenant: str, since: float, until: float) -> Sequence[DecidedCount]:
    return tx.decided_counts(tenant, since=since, until=until)


def _taken(tx: Transaction, *, tenant: str, since: float, reviewer: str) -> Sequence[TakenCount]:
    return tx.taken_counts(tenant, since=since, reviewer=reviewer)
