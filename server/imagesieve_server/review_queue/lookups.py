"""What was answered to requests before: from memory where they are certainly new, else from the
store, all that ask at the same time in one read. Knows the store's calls, and no rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from imagesieve_server.core.errors import ImagesieveError, RequestIdReused, StoreUnavailable
from imagesieve_server.core.review import Recorded
from imagesieve_server.review_queue.known_requests import KnownRequests
from imagesieve_server.review_queue.recording import Asked
from imagesieve_server.review_queue.store import ReviewStore
from imagesieve_server.review_queue.store_calls import StoreCalls
from imagesieve_server.review_queue.store_thread import LookupJob
from imagesieve_server.review_queue.turns import Turn, Turns

MAX_GROUP = 256
"""Requests of one read at most."""
LEARNED_AT_ONCE = 1000
"""Names of kept requests that are read at once; the event loop is held up for a millisecond."""
PAUSE_S = 0.01
"""Between two such reads: whoever calls comes first."""
RETRY_S = 10.0
"""Until a store that did not answer is asked again."""

Found = Recorded | RequestIdReused | None


class Lookups:
    """Belongs to one event loop. ``calls`` bounds how long anybody waits. ``several_servers``:
    others keep requests, too, so that nothing is certain without a look."""

    def __init__(self, *, calls: StoreCalls, several_servers: bool) -> None:
        self._calls = calls
        self._turns = Turns(serve=self._read, max_group=MAX_GROUP)
        self._known = None if several_servers else KnownRequests()

    @property
    def waiting(self) -> int:
        """Those whose turn has not come."""
        return self._turns.waiting

    def is_new(self, tenant: str, request_id: str) -> bool:
        """Whether it was certainly never kept, told from memory."""
        return self._known is not None and self._known.rules_out(tenant, request_id)

    async def answer_of(self, request: Asked) -> Recorded | None:
        """What is kept of it, None where it is not known. Raises RequestIdReused,
        StoreUnavailable."""
        if self.is_new(request.tenant, request.request_id):
            return None
        async with self._calls.bounded("answer_of"):
            found = await self._turns.take(request)
        if isinstance(found, RequestIdReused):
            raise found
        return found

    def about_to_keep(self, tenant: str, request_id: str) -> None:
        """Say so before the store can have it."""
        if self._known is not None:
            self._known.add(tenant, request_id)

    async def learn(self) -> None:
        """Read which requests are kept; from the end on the store is not asked for new ones.

        Nothing is read where several servers write to the store."""
        if self._known is None:
            return
        name = ("", "")
        while True:
            try:
                names = await self._calls.call("answer_of", partial(_names, after=name))
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            if not names:
                break
            self._known.add_all(names)
            name = names[-1]
            await asyncio.sleep(PAUSE_S)
        self._known.complete()

    async def _read(self, group: Sequence[Turn[Asked, Found]]) -> None:
        job = LookupJob(asked=[turn.asked for turn in group])
        try:
            found = await self._calls.done(job, job.future)
        except ImagesieveError:
            for turn in group:
                turn.fail(StoreUnavailable("the review queue cannot be read or written"))
            return
        for turn, answer in zip(group, found, strict=True):
            turn.answer(answer)


def _names(store: ReviewStore, *, after: tuple[str, str]) -> Sequence[tuple[str, str]]:
    return store.requests_after(after, LEARNED_AT_ONCE)
