"""Work beside the calls ends with its stack; work that breaks is said to have, at once."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from imagesieve_server.background import run_until_closed


async def test_it_runs_until_the_stack_closes(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with contextlib.AsyncExitStack() as stack:
        run_until_closed(stack, work())
        await asyncio.sleep(0)
        assert not ended.is_set()
    assert ended.is_set()
    assert caplog.records == []


async def test_work_that_breaks_is_logged_while_the_server_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks() -> None:
        raise ValueError("nobody foresaw this")

    async with contextlib.AsyncExitStack() as stack:
        run_until_closed(stack, breaks())
        for _ in range(5):
            await asyncio.sleep(0)
        assert "background work broke" in caplog.text
        assert "nobody foresaw this" in caplog.text
