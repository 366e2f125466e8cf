"""Work that goes on beside the calls for as long as the server runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine


def run_until_closed(stack: contextlib.AsyncExitStack, work: Coroutine[None, None, None]) -> None:
    """Run a coroutine until the stack closes."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
