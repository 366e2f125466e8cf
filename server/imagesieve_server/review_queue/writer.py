"""The queue as the pipeline sees it: awaitable, and never acknowledged before it is durable.

Evidence goes to the disk first, in a few threads; then its row, by the one thread that owns
the store. Knows nothing of rows, rules or files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from imagesieve_server.core.errors import ImagesieveError, StoreUnavailable
from imagesieve_server.core.review import (
    AuditCount,
    ClaimRequest,
    DecideRequest,
    DecisionRecord,
    Flag,
    Item,
    ItemPage,
    Lease,
    ListRequest,
    QueueStats,
    Recorded,
)
from imagesieve_server.core.review_afterwards import EraseRequest, Erasure, ReopenRequest
from imagesieve_server.core.review_events import EventPage
from imagesieve_server.review_queue.evidence import EvidenceStore
from imagesieve_server.review_queue.evidence_gate import EvidenceGate
from imagesieve_server.review_queue.signals import Signals, in_loop, is_set_within
from imagesieve_server.review_queue.store import ReviewStore
from imagesieve_server.review_queue.store_thread import (
    CallJob,
    FlagJob,
    Job,
    LookupJob,
    StoreMetrics,
    StoreThreads,
)

T = TypeVar("T")

log = logging.getLogger(__name__)

GARBAGE_AGE_S = 3600.0
"""A file that no row refers to is removed only when it is older than this, seconds: what
another server has just written may be about to get its row."""
UPKEEP_LIMIT = 200
"""Items, events or files of one step of upkeep: reviewers' calls come in between."""


class QueueWriter:
    """``core.ports.ReviewQueue`` over a store and an evidence store.

    ``patience_s`` bounds every call, seconds: a disk that hangs is StoreUnavailable, too.
    ``idle_s`` is how often a watch looks at the store although nobody told it to, seconds.
    ``several_servers``: others may remove what this one is about to refer to.
    All methods belong to one event loop. ``metrics`` is called from several threads.
    """

    def __init__(
        self,
        *,
        store: ReviewStore,
        evidence: EvidenceStore,
        metrics: StoreMetrics,
        evidence_threads: int = 4,
        max_group: int = 256,
        patience_s: float = 30.0,
        idle_s: float = 10.0,
        store_threads: int = 1,
        several_servers: bool = False,
    ) -> None:
        self._evidence = evidence
        self._metrics = metrics
        self._patience_s = patience_s
        self._idle_s = idle_s
        self._signals = Signals()
        self._gate = EvidenceGate()
        self._tasks: set[asyncio.Future[None]] = set()  # kept from the garbage collector
        self._files = ThreadPoolExecutor(evidence_threads, thread_name_prefix="evidence")
        self._several_servers = several_servers
        self._threads = StoreThreads(
            store=store, metrics=metrics, max_group=max_group, threads=store_threads
        )
        self._active = 0
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Calls that wait for the store: what the next group may be."""
        return self._threads.waiting

    async def submit(self, flag: Flag, evidence: bytes) -> Recorded:
        """Keep a flag: when this returns, evidence and row survive a power cut.

        Raises InvalidRequest, RequestIdReused, StoreUnavailable. After StoreUnavailable, or
        where the caller gave up, the flag may have been kept all the same: repeating it with
        the same request_id is safe.
        """
        key = (flag.tenant, flag.sha256)
        put = partial(self._evidence.put, tenant=flag.tenant, sha256=flag.sha256, data=evidence)
        async with self._bounded("submit"), self._gate.storing(key):
            await self._in_files(put, storing=key)
            job = FlagJob(flag=flag)
            if flag.reuse_decision:  # it may be decided at once
                job.future.add_done_callback(self._teller(flag.tenant))
            recorded = await self._done(job, job.future)
            if self._several_servers:
                await self._put_if_gone(flag, put)
            return recorded

    async def _put_if_gone(self, flag: Flag, put: Callable[[], None]) -> None:
        """Another server may have removed the bytes between their putting and their row. From
        the row on nobody does, so one more look is enough. Those that were deleted by law since
        then stay away."""
        has = partial(self._evidence.has, tenant=flag.tenant, sha256=flag.sha256)
        if not await self._in_files(has):
            job = CallJob(
                operation="submit",
                call=lambda store: store.put_referenced(flag.tenant, flag.sha256, put),
            )
            await self._done(job, job.future)

    async def add_counts(self, counts: Sequence[AuditCount]) -> None:
        """Add to what was counted of ALLOWs; durable when this returns."""
        await self._call("add_counts", lambda store: store.add_counts(counts))

    async def answer_of(
        self, *, tenant: str, request_id: str, request_digest: str
    ) -> Recorded | None:
        """What is kept of a flagged request, None where it is not known."""
        async with self._bounded("answer_of"):
            job = LookupJob(tenant=tenant, request_id=request_id, digest=request_digest)
            return await self._done(job, job.future)

    async def claim(self, request: ClaimRequest) -> Lease | None:
        return await self._call("claim", lambda store: store.claim(request))

    async def extend(self, *, tenant: str, item_id: str, token: str, lease_s: float) -> Lease:
        return await self._call(
            "extend",
            lambda store: store.extend(
                tenant=tenant, item_id=item_id, token=token, lease_s=lease_s
            ),
        )

    async def release(self, *, tenant: str, item_id: str, token: str) -> Item:
        return await self._call(
            "release", lambda store: store.release(tenant=tenant, item_id=item_id, token=token)
        )

    async def decide(self, request: DecideRequest) -> DecisionRecord:
        return await self._call("decide", lambda store: store.decide(request), tells=request.tenant)

    async def requeue(self, *, tenant: str, item_id: str, actor: str = "") -> Item:
        """``actor`` is who asked, for the item's history."""
        return await self._call(
            "requeue", lambda store: store.requeue(tenant=tenant, item_id=item_id, actor=actor)
        )

    async def get(self, *, tenant: str, item_id: str) -> Item:
        return await self._call("get", lambda store: store.get(tenant=tenant, item_id=item_id))

    async def list(self, request: ListRequest) -> ItemPage:
        return await self._call("list", lambda store: store.list(request))

    async def stats(self, *, tenant: str | None) -> QueueStats:
        return await self._call("stats", lambda store: store.stats(tenant=tenant))

    async def reopen(self, request: ReopenRequest) -> Item:
        return await self._call("reopen", lambda store: store.reopen(request))

    async def erase(self, request: EraseRequest) -> Erasure:
        """Legal deletion: when this returns, rows are emptied and the file is gone."""
        sha256 = request.sha256
        if request.item_id and not sha256:
            sha256 = (await self.get(tenant=request.tenant, item_id=request.item_id)).sha256
        async with self._gate.removing((request.tenant, sha256)):
            erasure = await self._call(
                "erase", lambda store: store.erase(request), tells=request.tenant
            )
            await self._remove(request.tenant, sha256)
        return erasure

    async def retire(self, *, older_than_s: float, limit: int = UPKEEP_LIMIT) -> int:
        """End the keeping of items decided longer ago than that, ``limit`` at most; how many
        pictures went with them."""
        free = await self._call(
            "retire", lambda store: store.retire(older_than_s=older_than_s, limit=limit)
        )
        for tenant, sha256 in free:
            async with self._gate.removing((tenant, sha256)):
                await self._remove(tenant, sha256, older_than_s=GARBAGE_AGE_S)
        return len(free)

    async def drop_events(self, *, older_than_s: float, limit: int = UPKEEP_LIMIT) -> int:
        """Remove decision events older than that, ``limit`` at most of each tenant."""
        return await self._call(
            "drop_events", lambda store: store.drop_events(older_than_s=older_than_s, limit=limit)
        )

    async def sweep_evidence(self, *, part: int) -> int:
        """Remove files of one part that no row refers to and that are over an hour old, and
        what killed writes left; how many files went."""
        async with self._bounded("sweep"):
            await self._in_files(self._evidence.sweep)
            older = partial(self._evidence.older, part=part, older_than_s=GARBAGE_AGE_S)
            found = await self._in_files(older)
        removed = 0
        for tenant, sha256s in found.items():
            for begin in range(0, len(sha256s), UPKEEP_LIMIT):
                some = sha256s[begin : begin + UPKEEP_LIMIT]
                garbage = await self._call("sweep", partial(_unreferenced, tenant, some))
                for sha256 in garbage:
                    async with self._gate.removing((tenant, sha256)):
                        removed += await self._remove(tenant, sha256, older_than_s=GARBAGE_AGE_S)
        return removed

    async def _remove(self, tenant: str, sha256: str, *, older_than_s: float = 0.0) -> bool:
        """Remove a file that no row refers to; inside the gate and the store's own hold, so
        that neither this server nor another one makes a row meanwhile."""
        remove = partial(
            self._evidence.remove, tenant=tenant, sha256=sha256, older_than_s=older_than_s
        )
        return await self._call(
            "sweep", lambda store: store.remove_unreferenced(tenant, sha256, remove)
        )

    async def watch(
        self, *, tenant: str, cursor: str = "", from_oldest: bool = False
    ) -> AsyncGenerator[EventPage, None]:
        """Decision events as they are made; see the port."""
        page = await self._events(tenant, cursor, from_oldest)
        yield page
        idle = False
        while True:
            signal = self._signals.of(tenant)  # before the look: nothing is slept through
            page = await self._events(tenant, page.cursor)
            if page.events or idle:
                yield page
                idle = False
            else:
                idle = not await is_set_within(signal, self._idle_s)

    async def _events(self, tenant: str, cursor: str, from_oldest: bool = False) -> EventPage:
        return await self._call(
            "events",
            lambda store: store.events(tenant=tenant, cursor=cursor, from_oldest=from_oldest),
        )

    async def expire_leases(self) -> int:
        """End every lease that is over; to be called now and then, so that what nobody
        claims is seen to be ready."""
        return await self._call("expire_leases", lambda store: store.expire_leases())

    async def evidence(self, *, tenant: str, sha256: str) -> bytes:
        """The original bytes, verified. Raises ItemNotFound, StoreUnavailable."""
        async with self._bounded("evidence"):
            return await self._in_files(partial(self._evidence.get, tenant=tenant, sha256=sha256))

    async def close(self) -> None:
        """Refuse new calls, finish those begun, close the store. Repeated, it waits again."""
        self._closing = True
        try:
            async with asyncio.timeout(self._patience_s):
                await self._idle.wait()
        except TimeoutError:
            log.error("review queue: closed with %d calls unfinished", self._active)
        ended = await asyncio.to_thread(self._threads.end, timeout_s=self._patience_s)
        if not ended:
            log.error("review queue: the store did not close within %g s", self._patience_s)
        self._files.shutdown(wait=False, cancel_futures=True)

    async def _call(
        self, operation: str, call: Callable[[ReviewStore], T], *, tells: str | None = None
    ) -> T:
        """Run ``call`` on the store's thread. ``tells``: the tenant whose watchers look again
        when it is done, even where the caller has gone by then."""
        async with self._bounded(operation):
            future: Future[T] = Future()
            if tells is not None:
                future.add_done_callback(self._teller(tells))
            return await self._done(CallJob(operation=operation, call=call, future=future), future)

    def _teller(self, tenant: str) -> Callable[[object], None]:
        """Wakes the tenant's watchers, from whatever thread it is called in."""
        return partial(in_loop, asyncio.get_running_loop(), self._signals.give, tenant)

    async def _done(self, job: Job, future: Future[T]) -> T:
        """Hand the job over and await its future. A caller that is cancelled takes its job
        back where the thread has not begun it, and changes nothing for the others."""
        self._threads.put(job)
        return await asyncio.wrap_future(future)

    async def _in_files(
        self, work: Callable[[], T], *, storing: tuple[str, str] | None = None
    ) -> T:
        """Run ``work`` in a thread. A caller that is cancelled leaves a thread that goes on:
        with ``storing`` these bytes count as being stored until it has ended."""
        try:
            future = self._files.submit(work)
            if storing is not None:
                self._gate.also_storing(storing)
                loop = asyncio.get_running_loop()
                future.add_done_callback(partial(in_loop, loop, self._stored, storing))
            return await asyncio.wrap_future(future)
        except StoreUnavailable:
            self._metrics.store_error("evidence")
            raise
        except ImagesieveError:
            raise
        except Exception as problem:
            self._metrics.store_error("evidence")
            log.exception("review queue: evidence failed")
            raise StoreUnavailable("the evidence cannot be kept or read") from problem

    def _stored(self, key: tuple[str, str]) -> None:
        task = asyncio.ensure_future(self._gate.stored(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def _bounded(self, operation: str) -> AsyncIterator[None]:
        """One call: counted for ``close``, and never longer than ``patience_s``."""
        if self._closing:
            raise StoreUnavailable("the review queue is closed")
        self._active += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(self._patience_s):
                yield
        except TimeoutError as problem:
            self._metrics.store_error(operation)
            raise StoreUnavailable("the review queue did not answer in time") from problem
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()


def _unreferenced(tenant: str, sha256s: Sequence[str], store: ReviewStore) -> Sequence[str]:
    return store.unreferenced(tenant, sha256s)
