"""The queue as the pipeline sees it: awaitable, and never acknowledged before it is durable.

Evidence goes to the disk first, in a few threads; then its row, by the one thread that owns
the store. Knows nothing of rows, rules or files.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from imagesieve_server.core.errors import ImagesieveError, StoreUnavailable
from imagesieve_server.core.review import (
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
from imagesieve_server.core.review_events import EventPage
from imagesieve_server.review_queue.evidence import EvidenceStore
from imagesieve_server.review_queue.signals import Signals, is_set_within
from imagesieve_server.review_queue.store import ReviewStore
from imagesieve_server.review_queue.store_thread import (
    CallJob,
    FlagJob,
    Job,
    LookupJob,
    StoreMetrics,
    StoreThread,
)

T = TypeVar("T")

log = logging.getLogger(__name__)


class QueueWriter:
    """``core.ports.ReviewQueue`` over a store and an evidence store.

    ``patience_s`` bounds every call, seconds: a disk that hangs is StoreUnavailable, too.
    ``idle_s`` is how often a watch looks at the store although nobody told it to, seconds.
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
    ) -> None:
        self._evidence = evidence
        self._metrics = metrics
        self._patience_s = patience_s
        self._idle_s = idle_s
        self._signals = Signals()
        self._files = ThreadPoolExecutor(evidence_threads, thread_name_prefix="evidence")
        self._thread = StoreThread(store=store, metrics=metrics, max_group=max_group)
        self._active = 0
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Calls that wait for the store: what the next group may be."""
        return self._thread.waiting

    async def submit(self, flag: Flag, evidence: bytes) -> Recorded:
        """Keep a flag: when this returns, evidence and row survive a power cut.

        Raises InvalidRequest, RequestIdReused, StoreUnavailable. After StoreUnavailable, or
        where the caller gave up, the flag may have been kept all the same: repeating it with
        the same request_id is safe.
        """
        put = partial(self._evidence.put, tenant=flag.tenant, sha256=flag.sha256, data=evidence)
        async with self._bounded("submit"):
            await self._in_files(put)
            job = FlagJob(flag=flag)
            return await self._done(job, job.future)

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
        ended = await asyncio.to_thread(self._thread.end, timeout_s=self._patience_s)
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
                future.add_done_callback(partial(self._tell, asyncio.get_running_loop(), tells))
            return await self._done(CallJob(operation=operation, call=call, future=future), future)

    def _tell(self, loop: asyncio.AbstractEventLoop, tenant: str, _: object) -> None:
        """Called by the store's thread, or by a caller that takes its job back."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the watchers with it
            loop.call_soon_threadsafe(self._signals.give, tenant)

    async def _done(self, job: Job, future: Future[T]) -> T:
        """Hand the job over and await its future. A caller that is cancelled takes its job
        back where the thread has not begun it, and changes nothing for the others."""
        self._thread.put(job)
        return await asyncio.wrap_future(future)

    async def _in_files(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._files, work)
        except StoreUnavailable:
            self._metrics.store_error("evidence")
            raise
        except ImagesieveError:
            raise
        except Exception as problem:
            self._metrics.store_error("evidence")
            log.exception("review queue: evidence failed")
            raise StoreUnavailable("the evidence cannot be kept or read") from problem

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
