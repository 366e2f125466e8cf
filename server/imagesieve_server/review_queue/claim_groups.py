"""Claims take turns: while some are made, those that come wait and are one commit then.

That costs less than as many transactions at once, which pass each other's items by and sync each
its own commit. Knows an event loop and the store's calls, and nothing of items.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future

from imagesieve_server.core.errors import ImagesieveError, RequestError
from imagesieve_server.core.review import ClaimRequest, Lease
from imagesieve_server.review_queue.store_calls import StoreCalls
from imagesieve_server.review_queue.store_thread import CallJob

MAX_GROUP = 32
"""Claims of one commit at most: the first of them waits for the last."""

Answer = Lease | None | RequestError
Waiting = tuple[ClaimRequest, "asyncio.Future[Answer]"]


class ClaimGroups:
    """Belongs to one event loop. ``calls`` bounds how long anybody waits."""

    def __init__(self, *, calls: StoreCalls) -> None:
        self._calls = calls
        self._waiting: deque[Waiting] = deque()
        self._turns: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Claims whose turn has not come."""
        return len(self._waiting)

    async def claim(self, request: ClaimRequest) -> Lease | None:
        """Raises RequestError, StoreUnavailable. Who is cancelled before the turn leaves no claim;
        afterwards the claim stands, and can be repeated."""
        async with self._calls.bounded("claim"):
            future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._waiting.append((request, future))
            if self._turns is None:
                self._turns = asyncio.create_task(self._take_turns())
            answer = await future
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def _take_turns(self) -> None:
        while group := self._next_group():
            await self._claim(group)
        self._turns = None

    def _next_group(self) -> list[Waiting]:
        group: list[Waiting] = []
        while self._waiting and len(group) < MAX_GROUP:
            request, future = self._waiting.popleft()
            if not future.done():  # its caller has not gone
                group.append((request, future))
        return group

    async def _claim(self, group: list[Waiting]) -> None:
        try:
            answers = await self._made([request for request, _ in group])
        except ImagesieveError as problem:
            if len(group) == 1:
                _fail(group[0][1], problem)
            else:  # something in one request that no check foresaw must not fail its mates
                for one in group:
                    if not one[1].done():
                        await self._claim([one])
            return
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _made(self, requests: list[ClaimRequest]) -> list[Answer]:
        made: Future[list[Answer]] = Future()
        job = CallJob(operation="claim", call=lambda store: store.claims(requests), future=made)
        return await self._calls.done(job, made)


def _fail(future: asyncio.Future[Answer], problem: ImagesieveError) -> None:
    if not future.done():
        future.set_exception(problem)
