"""The record of reveals and of what people did is removed when it is past its time.

Small steps at a steady pace, so that nobody waits for them. What is not removed in one step is in
the next; what fails is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from imagesieve_server.console.database import ConsoleDatabase
from imagesieve_server.core.errors import StoreUnavailable

log = logging.getLogger(__name__)

STEP_S = 15.0
"""Seconds between steps. A step removes a thousand entries of each kind at most."""


async def forget_record(
    database: ConsoleDatabase, *, keep_s: float, clock: Callable[[], float], step_s: float = STEP_S
) -> None:
    """Keep the record of the last ``keep_s`` seconds, step by step, until cancelled. ``clock``
    gives Unix time."""
    while True:
        await asyncio.sleep(step_s)
        try:
            removed = await database.drop_record(before=clock() - keep_s)
        except StoreUnavailable as error:
            log.warning("the console's record was not shortened", extra={"problem": error.message})
            continue
        if removed:
            log.info("entries of the console's record past their time", extra={"removed": removed})
