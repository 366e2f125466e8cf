"""Work that goes on beside the calls for as long as the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine

log = logging.getLogger(__name__)


def run_until_closed(stack: contextlib.AsyncExitStack, work: Coroutine[None, None, None]) -> None:
    """Run a coroutine until the stack closes. One that breaks stays ended: the log says so at
    once, not at the stop."""
    task = asyncio.create_task(work, name=getattr(work, "__qualname__", None))
    task.add_done_callback(_say_if_broken)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


def _say_if_broken(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        log.error(
            "background work broke and has ended",
            extra={"work": task.get_name()},
            exc_info=problem,
        )
