"""Claims take turns: while some are made, those that come wait and are one commit then.

That costs less than as many transactions at once, which pass each other's items by and sync each
its own commit. Knows the store's calls, and nothing of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from imagesieve_server.core.errors import ImagesieveError, RequestError
from imagesieve_server.core.review import ClaimRequest, Lease
from imagesieve_server.review_queue.store_calls import StoreCalls
from imagesieve_server.review_queue.store_thread import CallJob
from imagesieve_server.review_queue.turns import Turn, Turns

MAX_GROUP = 32
"""Claims of one commit at most: the first of them waits for the last."""

Answer = Lease | None | RequestError


class ClaimGroups:
    """Belongs to one event loop. ``calls`` bounds how long anybody waits."""

    def __init__(self, *, calls: StoreCalls) -> None:
        self._calls = calls
        self._turns = Turns(serve=self._claim, max_group=MAX_GROUP)

    @property
    def waiting(self) -> int:
        """Claims whose turn has not come."""
        return self._turns.waiting

    async def claim(self, request: ClaimRequest) -> Lease | None:
        """Raises RequestError, StoreUnavailable. Who is cancelled before the turn leaves no claim;
        afterwards the claim may stand, and can be repeated."""
        async with self._calls.bounded("claim"):
            answer = await self._turns.take(request)
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def _claim(self, group: Sequence[Turn[ClaimRequest, Answer]]) -> None:
        try:
            answers = await self._made([turn.asked for turn in group])
        except ImagesieveError as problem:
            if len(group) == 1:
                group[0].fail(problem)
            else:  # something in one request that no check foresaw must not fail its mates
                for turn in group:
                    if not turn.over:
                        await self._claim([turn])
            return
        for turn, answer in zip(group, answers, strict=True):
            turn.answer(answer)

    async def _made(self, requests: list[ClaimRequest]) -> list[Answer]:
        made: Future[list[Answer]] = Future()
        job = CallJob(operation="claim", call=lambda store: store.claims(requests), future=made)
        return await self._calls.done(job, made)
