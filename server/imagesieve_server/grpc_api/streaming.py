"""Many questions in, answers out as they are ready, with a bound on what is at work.

It knows an iterator, a function and a bound; nothing of images or messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


async def answers_as_ready(
    questions: AsyncIterator[Question],
    *,
    answer: Callable[[Question], Awaitable[Answer]],
    send: Callable[[Answer], Awaitable[None]],
    at_once: int,
    stop: asyncio.Event,
) -> None:
    """Answer every question and return once all answers are sent.

    At most ``at_once`` questions are read and not yet answered and sent: a caller that does
    not read its answers is not read from either. ``stop`` ends the reading; what was read is
    still answered. ``answer`` must not raise; an error of ``send`` ends everything at work,
    one of ``questions`` is raised after the answers to what was read.
    """
    room = asyncio.Semaphore(at_once)
    sending = asyncio.Lock()

    async def one(question: Question) -> None:
        try:
            ready = await answer(question)
            async with sending:
                await send(ready)
        finally:
            room.release()

    try:
        async with asyncio.TaskGroup() as group:
            reading = asyncio.create_task(_read(questions, one, room, group))
            await _first(reading, stop)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    if not reading.cancelled():
        reading.result()


async def run_until(stop: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Run ``work`` to its end or to the stop, whichever is first. Its error is raised."""
    working = asyncio.create_task(work)
    await _first(working, stop)
    if not working.cancelled():
        working.result()


async def _read(
    questions: AsyncIterator[Question],
    one: Callable[[Question], Coroutine[None, None, None]],
    room: asyncio.Semaphore,
    group: asyncio.TaskGroup,
) -> None:
    """Begin the work on each question as room allows, until there are no more."""
    while True:
        await room.acquire()
        try:
            question = await anext(questions)
        except StopAsyncIteration:
            return
        group.create_task(one(question))


async def _first(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Return when the task ends, ending it at the stop."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        task.cancel()
        await asyncio.wait({task, stopping})
