"""Bulk through the asyncio client. As ``bulk.py``; the rules are backlog.py's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

from imagesieve.backlog import Backlog, Waiting
from imagesieve.calls import Call, Outcome, moderate_batch
from imagesieve.errors import ImagesieveError
from imagesieve.many import as_upload
from imagesieve.results import ImageSource, Moderated, Upload
from imagesieve.v1 import moderation_pb2 as pb

_Source = Iterator[tuple[int, Upload]]


async def run_bulk(
    prepare: Callable[[Upload], Awaitable[pb.ModerateRequest]],
    run: Callable[[Call[Any, list[Outcome]]], Awaitable[list[Outcome]]],
    images: Iterable[ImageSource | Upload],
    backlog: Backlog,
    *,
    max_batches: int,
) -> AsyncIterator[Moderated]:
    """Outcomes as they arrive. Closing the iterator early cancels what is on its way."""

    async def send(batch: list[Waiting], timeout_s: float) -> list[Moderated]:
        call = moderate_batch([waiting.request for waiting in batch], timeout_s=timeout_s)
        return backlog.settle(batch, await run(call), time.monotonic())

    source = enumerate(map(as_upload, images))
    running: set[asyncio.Task[list[Moderated]]] = set()
    try:
        while True:
            while len(running) < max_batches:
                async for refused in _fill(backlog, source, prepare):
                    yield refused
                now = time.monotonic()
                if not (batch := backlog.take(now)):
                    break
                running.add(asyncio.create_task(send(batch, backlog.left_s(batch, now))))
            due = backlog.next_due()
            if not running and due is None:
                return
            done = await _wait(running, due if len(running) < max_batches else None)
            for task in done:
                running.remove(task)
                for outcome in task.result():
                    yield outcome
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _fill(
    backlog: Backlog, source: _Source, prepare: Callable[[Upload], Awaitable[pb.ModerateRequest]]
) -> AsyncIterator[Moderated]:
    """Read images while the backlog wants some; gives those that cannot be sent at all."""
    while backlog.wants() and (entry := next(source, None)) is not None:
        index, upload = entry
        try:
            backlog.add(Waiting(index=index, upload=upload, request=await prepare(upload)))
        except (ImagesieveError, OSError) as error:
            yield Moderated(index=index, upload=upload, error=error)


async def _wait(
    running: set[asyncio.Task[list[Moderated]]], due: float | None
) -> set[asyncio.Task[list[Moderated]]]:
    """The finished batches, none once ``due`` (monotonic) has come without one."""
    timeout = None if due is None else max(0.0, due - time.monotonic())
    if not running:
        await asyncio.sleep(timeout or 0.0)
        return set()
    done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return done
