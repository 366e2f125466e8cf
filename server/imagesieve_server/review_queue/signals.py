"""Waking those who wait for a tenant's next decision. Knows an event loop and tenants only.

A signal says "look again", never what happened: whoever is woken reads the store. It is taken
before the look, so that a decision between look and wait is not slept through.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Signals:
    """One event per tenant that somebody waits for; belongs to one event loop."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    def of(self, tenant: str) -> asyncio.Event:
        """Is set at the tenant's next decision."""
        return self._events.setdefault(tenant, asyncio.Event())

    def give(self, tenant: str) -> None:
        """Wake everybody who waits for this tenant."""
        event = self._events.pop(tenant, None)
        if event is not None:
            event.set()

    def give_all(self) -> None:
        """Wake everybody."""
        for tenant in list(self._events):
            self.give(tenant)


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, at most so long; whether it was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def in_loop(
    loop: asyncio.AbstractEventLoop, work: Callable[[T], None], about: T, _: object
) -> None:
    """Let the loop do it; called by other threads. A loop that has ended needs nothing."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(work, about)
