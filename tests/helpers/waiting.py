"""Deadlines that a slow machine meets, and waiting for what comes about soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LIMIT_S = 20.0  # of what should take a moment, on a machine that has other things to do


def soon(seconds: float = LIMIT_S) -> float:
    """So many seconds from now, as deadlines are told."""
    return time.monotonic() + seconds


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds; TimeoutError where that takes longer than anything should."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.002)
