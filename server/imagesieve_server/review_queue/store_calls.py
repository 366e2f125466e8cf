"""Calls of the store and of the evidence from one event loop: awaitable, bounded, counted.

The store's own threads run what is asked of it, a few others what touches the evidence. Knows
no operation of the queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from imagesieve_server.core.errors import ImagesieveError, StoreUnavailable
from imagesieve_server.review_queue.evidence_gate import EvidenceGate
from imagesieve_server.review_queue.signals import Signals, in_loop
from imagesieve_server.review_queue.store import ReviewStore
from imagesieve_server.review_queue.store_thread import CallJob, Job, StoreMetrics, StoreThreads

T = TypeVar("T")

log = logging.getLogger(__name__)


class StoreCalls:
    """``threads`` run the store, and are the only ones to use and in the end to close it.

    ``patience_s`` bounds every call, seconds: a disk that hangs is StoreUnavailable, too.
    ``signals`` wakes a tenant's watchers. ``gate`` is told which bytes a thread still stores
    whose caller has gone. ``metrics`` is called from several threads.
    """

    def __init__(
        self,
        *,
        threads: StoreThreads,
        evidence_threads: int,
        gate: EvidenceGate,
        signals: Signals,
        metrics: StoreMetrics,
        patience_s: float,
    ) -> None:
        self._threads = threads
        self._gate = gate
        self._signals = signals
        self._metrics = metrics
        self._patience_s = patience_s
        self._tasks: set[asyncio.Future[None]] = set()  # kept from the garbage collector
        self._files = ThreadPoolExecutor(evidence_threads, thread_name_prefix="evidence")
        self._active = 0
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Calls that wait for the store: what the next group may be."""
        return self._threads.waiting

    async def call(
        self, operation: str, call: Callable[[ReviewStore], T], *, tells: str | None = None
    ) -> T:
        """Run ``call`` on the store's thread. ``tells``: the tenant whose watchers look again
        when it is done, even where the caller has gone by then."""
        async with self.bounded(operation):
            future: Future[T] = Future()
            if tells is not None:
                future.add_done_callback(self.teller(tells))
            return await self.done(CallJob(operation=operation, call=call, future=future), future)

    @asynccontextmanager
    async def bounded(self, operation: str) -> AsyncIterator[None]:
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

    async def done(self, job: Job, future: Future[T]) -> T:
        """Hand the job over and await its future. A caller that is cancelled takes its job
        back where the thread has not begun it, and changes nothing for the others."""
        self._threads.put(job)
        return await asyncio.wrap_future(future)

    async def in_files(self, work: Callable[[], T], *, storing: tuple[str, str] | None = None) -> T:
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

    def teller(self, tenant: str) -> Callable[[object], None]:
        """Wakes the tenant's watchers, from whatever thread it is called in."""
        return partial(in_loop, asyncio.get_running_loop(), self._signals.give, tenant)

    def signal(self, tenant: str) -> asyncio.Event:
        """Is set at the tenant's next decision."""
        return self._signals.of(tenant)

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
