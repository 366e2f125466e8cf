"""What the server removes in the background: decided items, events and files past their time.

Small steps at a steady pace, so that nobody waits for them. What is not removed in one step
is in the next; what fails is tried again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from imagesieve_server.config import QueueSettings
from imagesieve_server.core.errors import StoreUnavailable

log = logging.getLogger(__name__)

STEP_S = 15.0
"""Seconds between steps. A step looks at one of 256 parts of the evidence, so all of it takes
about an hour."""
PARTS = 256
DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long things are kept, seconds; None for ever."""

    decided_s: float | None
    events_s: float | None


class Removes(Protocol):
    """The part of the queue that is used here."""

    def retire(self, *, older_than_s: float) -> Awaitable[int]: ...

    def drop_events(self, *, older_than_s: float) -> Awaitable[int]: ...

    def sweep_evidence(self, *, part: int) -> Awaitable[int]: ...


class Resumes(Protocol):
    """The part of the groups that is used here."""

    def resume(self) -> Awaitable[int]: ...


def keep_of(settings: QueueSettings) -> Keep:
    """The settings in seconds; 0 days is for ever."""
    return Keep(
        decided_s=settings.keep_decided_days * DAY_S or None,
        events_s=settings.keep_events_days * DAY_S or None,
    )


async def run_upkeep(queue: Removes, *, keep: Keep, step_s: float = STEP_S) -> None:
    """One step after the other, until cancelled."""
    for part in itertools.cycle(range(PARTS)):
        await asyncio.sleep(step_s)
        try:
            await _step(queue, keep, part)
        except StoreUnavailable as error:
            log.warning("upkeep failed", extra={"problem": error.message})


async def resume_closes(groups: Resumes, *, step_s: float = STEP_S) -> None:
    """Go on with what was ordered for whole groups and is not finished, until cancelled."""
    while True:
        try:
            await groups.resume()
        except StoreUnavailable as error:
            log.warning("group closes not resumed", extra={"problem": error.message})
        await asyncio.sleep(step_s)


async def _step(queue: Removes, keep: Keep, part: int) -> None:
    if keep.decided_s is not None:
        pictures = await queue.retire(older_than_s=keep.decided_s)
        if pictures:
            log.info("decided items past their time", extra={"pictures": pictures})
    if keep.events_s is not None:
        await queue.drop_events(older_than_s=keep.events_s)
    files = await queue.sweep_evidence(part=part)
    if files:
        log.info("files that no row refers to", extra={"removed": files})
