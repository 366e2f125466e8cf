"""A store whose calls wait at gates and can be made to fail, and a count of what a queue tells."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from imagesieve_server.core.errors import RequestError, RequestIdReused
from imagesieve_server.core.review import ClaimRequest, Flag, Lease, Recorded
from imagesieve_server.review_queue.recording import Asked
from imagesieve_server.review_queue.store import RuledStore

LIMIT_S = 60.0  # of what should take no time, on a machine that has other things to do


class Counted:
    """What a queue's metrics were told."""

    def __init__(self) -> None:
        self.groups: list[int] = []  # flags of each commit
        self.errors: list[str] = []

    def store_commit(self, *, flags: int, seconds: float) -> None:
        assert seconds >= 0
        self.groups.append(flags)

    def review_quality(self, what: str) -> None: ...

    def store_error(self, operation: str) -> None:
        self.errors.append(operation)


class Gate:
    """One kind of call, each with the names of a group: whether it waits, and what it comes to."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []  # of every call that came, in order
        self.only = ""  # what is held is a call with this name; "": every call
        self.poison = ""  # a name that no store could take
        self.failure: Exception | None = None
        self._held = False
        self._permits = threading.Semaphore(0)
        self._entered = threading.Semaphore(0)

    def hold(self) -> None:
        """From now on each call waits for a permit; ``came`` tells of those from now on."""
        self._permits, self._entered = threading.Semaphore(0), threading.Semaphore(0)
        self._held = True

    def let_one(self) -> None:
        self._permits.release()

    def let_all(self) -> None:
        self._held = False
        self._permits.release(1000)

    async def came(self) -> None:
        """Wait for the next call that is told of; each is told of once."""
        assert await asyncio.to_thread(self._entered.acquire, timeout=LIMIT_S)

    def pass_through(self, names: list[str]) -> None:
        """Called by the store. Raises what was asked for."""
        self.groups.append(names)
        self._entered.release()
        if self._held and (not self.only or self.only in names):
            assert self._permits.acquire(timeout=LIMIT_S)
        if self.failure is not None:
            raise self.failure
        if self.poison and self.poison in names:
            raise RuntimeError("the database's own words")


class GatedStore(RuledStore):
    """The same database as ``inner``, behind gates that stand open at first."""

    def __init__(self, *, inner: RuledStore) -> None:
        super().__init__(backend=inner.backend)
        self.records, self.claimed, self.lookups = Gate(), Gate(), Gate()
        self.pages = 0  # of requests

    def record(self, flags: Sequence[Flag]) -> list[Recorded | RequestError]:
        self.records.pass_through([flag.request_id for flag in flags])
        return super().record(flags)

    def claims(self, requests: Sequence[ClaimRequest]) -> list[Lease | RequestError | None]:
        self.claimed.pass_through([request.claim_id for request in requests])
        return super().claims(requests)

    def answers_of(self, asked: Sequence[Asked]) -> list[Recorded | RequestIdReused | None]:
        self.lookups.pass_through([one.request_id for one in asked])
        return super().answers_of(asked)

    def requests_after(self, name: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        self.pages += 1
        if self.lookups.failure is not None:
            raise self.lookups.failure
        return super().requests_after(name, limit)
