"""The one thread that owns the store, and the jobs it takes.

Jobs that came in while it worked are taken together: flags become one commit, lookups one
read, everything else one transaction each. Every job's future gets a result or a named
error, whatever happens; a job whose caller has gone before its turn is dropped.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from imagesieve_server.core.errors import ImagesieveError, StoreUnavailable
from imagesieve_server.core.review import Flag, Recorded
from imagesieve_server.review_queue.store import ReviewStore

log = logging.getLogger(__name__)


class StoreMetrics(Protocol):
    """The part of ``core.ports.Metrics`` used here; called from the store's thread too."""

    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def store_error(self, operation: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagJob:
    flag: Flag
    future: Future[Recorded] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupJob:
    tenant: str
    request_id: str
    digest: str
    future: Future[Recorded | None] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallJob:
    """Any other use of the store, in a transaction of its own."""

    operation: str  # label of the error metric
    call: Callable[[ReviewStore], Any]
    future: Future[Any] = field(default_factory=Future)


Job = FlagJob | LookupJob | CallJob


class StoreThread:
    """Runs jobs against ``store``, at most ``max_group`` at a time, until closed.

    The store is used, and in the end closed, by this thread only.
    """

    def __init__(self, *, store: ReviewStore, metrics: StoreMetrics, max_group: int) -> None:
        self._store = store
        self._metrics = metrics
        self._max_group = max_group
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # a job is either put before the end or refused
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="review-store", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that were put and not yet taken."""
        return self._jobs.qsize()

    def put(self, job: Job) -> None:
        """Take a job. Raises StoreUnavailable after ``end``."""
        with self._lock:
            if self._ended:
                raise StoreUnavailable("the review queue is closed")
            self._jobs.put(job)

    def end(self, *, timeout_s: float) -> bool:
        """Finish what was put, close the store, stop; False where that took too long."""
        with self._lock:
            if not self._ended:
                self._ended = True
                self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        last = False
        while not last:
            taken = self._take()
            last = None in taken
            self._work([job for job in taken if job is not None])
        self._store.close()

    def _take(self) -> list[Job | None]:
        taken = [self._jobs.get()]
        while len(taken) < self._max_group:
            try:
                taken.append(self._jobs.get_nowait())
            except queue.Empty:
                break
        return taken

    def _work(self, taken: Sequence[Job]) -> None:
        jobs = [job for job in taken if job.future.set_running_or_notify_cancel()]
        try:
            self._look_up([job for job in jobs if isinstance(job, LookupJob)])
            self._record([job for job in jobs if isinstance(job, FlagJob)])
            for job in jobs:
                if isinstance(job, CallJob):
                    self._call(job)
        except Exception:  # the thread must live; what is left fails by name, below
            log.exception("review store: a group of jobs failed")
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(_unavailable())

    def _record(self, jobs: Sequence[FlagJob]) -> None:
        if not jobs:
            return
        started = time.perf_counter()
        try:
            results = self._store.record([job.flag for job in jobs])
        except Exception as problem:  # noqa: BLE001 - every waiter gets a named error
            if isinstance(problem, StoreUnavailable) or len(jobs) == 1:
                self._fail(jobs, "record", problem)
            else:
                # Something in one flag that no check foresaw: it must not fail its mates.
                for job in jobs:
                    self._record([job])
            return
        self._metrics.store_commit(flags=len(jobs), seconds=time.perf_counter() - started)
        for job, result in zip(jobs, results, strict=True):
            _answer(job.future, result)

    def _look_up(self, jobs: Sequence[LookupJob]) -> None:
        for tenant in sorted({job.tenant for job in jobs}):
            asked = [job for job in jobs if job.tenant == tenant]
            try:
                answers = self._store.answers_of(
                    tenant, [(job.request_id, job.digest) for job in asked]
                )
            except Exception as problem:  # noqa: BLE001 - every waiter gets a named error
                self._fail(asked, "answer_of", problem)
                continue
            for job, answer in zip(asked, answers, strict=True):
                _answer(job.future, answer)

    def _call(self, job: CallJob) -> None:
        try:
            result = job.call(self._store)
        except Exception as problem:  # noqa: BLE001 - the waiter gets a named error
            if isinstance(problem, ImagesieveError) and not isinstance(problem, StoreUnavailable):
                job.future.set_exception(problem)
            else:
                self._fail([job], job.operation, problem)
            return
        job.future.set_result(result)

    def _fail(self, jobs: Sequence[Job], operation: str, problem: Exception) -> None:
        """Every waiter gets its own StoreUnavailable; the cause goes to the log."""
        log.error("review store: %s failed for %d callers", operation, len(jobs), exc_info=problem)
        self._metrics.store_error(operation)
        for job in jobs:
            job.future.set_exception(_unavailable())


def _answer(future: Future[Any], result: object) -> None:
    if isinstance(result, ImagesieveError):
        future.set_exception(result)
    else:
        future.set_result(result)


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable("the review queue cannot be read or written")
