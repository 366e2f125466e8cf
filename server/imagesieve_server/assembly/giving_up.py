"""When an encoder process had better be a new one.

Knows how long an encoder has been down; refuses to know why. Some errors of CUDA, and runs that
hang, end only with their process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)


class HasHealth(Protocol):
    """What can be down."""

    @property
    def healthy(self) -> bool: ...


async def down_for_long(
    encoder: HasHealth,
    *,
    seconds: float,
    look_every_s: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Returns once the encoder has been found down at every look for so long. A break that is
    shorter than ``look_every_s`` may fall between two looks, and is not seen then."""
    down_since: float | None = None
    while True:
        now = clock()
        if encoder.healthy:
            down_since = None
        elif down_since is None:
            down_since = now
        elif now - down_since >= seconds:
            break
        await asyncio.sleep(look_every_s)
    log.error("the encoder stays down: its process ends", extra={"seconds": seconds})
