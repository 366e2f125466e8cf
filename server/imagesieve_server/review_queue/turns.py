"""Taking turns: while some are served, those that come wait and are served together then.

One transaction for all who wait costs less than one for each, and nobody waits where nobody is
served. Those that come within one step of the event loop share a turn from the start. A group that
all have left is not waited for: one that hangs holds up nobody but those in it. Knows an event
loop, and nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Turn(Generic[Asked, Answer]):
    """One caller who waits to be served."""

    __slots__ = ("_future", "asked")

    def __init__(self, asked: Asked, future: asyncio.Future[Answer]) -> None:
        self.asked = asked
        self._future = future

    @property
    def over(self) -> bool:
        """Whether it is answered, or its caller has gone."""
        return self._future.done()

    async def ended(self) -> None:
        """Wait until it is over."""
        if not self.over:  # most are answered together
            await asyncio.wait([self._future])

    def answer(self, answer: Answer) -> None:
        if not self._future.done():
            self._future.set_result(answer)

    def fail(self, problem: Exception) -> None:
        if not self._future.done():
            self._future.set_exception(problem)


class Turns(Generic[Asked, Answer]):
    """Belongs to one event loop.

    ``serve`` answers or fails every turn of the group that it is given, at most ``max_group`` of
    them, and raises nothing; it is cancelled where all of them have gone. Nothing here bounds how
    long anybody waits.
    """

    def __init__(
        self,
        *,
        serve: Callable[[Sequence[Turn[Asked, Answer]]], Awaitable[None]],
        max_group: int,
    ) -> None:
        self._serve = serve
        self._max_group = max_group
        self._waiting: deque[Turn[Asked, Answer]] = deque()
        self._serving: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Those whose turn has not come."""
        return len(self._waiting)

    async def take(self, asked: Asked) -> Answer:
        """Wait for a turn and for its answer. Who is cancelled before it is not served."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(Turn(asked, future))
        if self._serving is None:
            self._serving = asyncio.create_task(self._take_turns())
        return await future

    async def _take_turns(self) -> None:
        while group := self._next_group():
            serving = asyncio.ensure_future(self._serve(group))
            for turn in group:
                await turn.ended()
            serving.cancel()  # unless it has ended: nobody hears of it any more
        self._serving = None

    def _next_group(self) -> list[Turn[Asked, Answer]]:
        group: list[Turn[Asked, Answer]] = []
        while self._waiting and len(group) < self._max_group:
            turn = self._waiting.popleft()
            if not turn.over:
                group.append(turn)
        return group
