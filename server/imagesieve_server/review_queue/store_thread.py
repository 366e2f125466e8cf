"""The threads that own the store, and the jobs they take: one thread for SQLite, whose writers
take turns anyway, several for a database that serves many at once.

Jobs that came in while all were at work are taken together: flags become one commit, everything
else one transaction each; look-ups come in groups and go first. Every job's future gets a result or
a named error, whatever happens; a job whose caller has gone before its turn is dropped.
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

from imagesieve_server.core.errors import ImagesieveError, RequestIdReused, StoreUnavailable
from imagesieve_server.core.review import Flag, Recorded
from imagesieve_server.review_queue.recording import Asked
from imagesieve_server.review_queue.store import ReviewStore

log = logging.getLogger(__name__)

_MOST = 300  # characters of a database's words


class StoreMetrics(Protocol):
    """The part of ``core.ports.Metrics`` used here; called from the store's thread too."""

    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def store_error(self, operation: str) -> None: ...

    def review_quality(self, what: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagJob:
    flag: Flag
    future: Future[Recorded] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupJob:
    """Requests that are looked up together; the results stand at their places."""

    asked: Sequence[Asked]
    future: Future[list[Recorded | RequestIdReused | None]] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallJob:
    """Any other use of the store, in a transaction of its own."""

    operation: str  # label of the error metric
    call: Callable[[ReviewStore], Any]
    future: Future[Any] = field(default_factory=Future)


Job = FlagJob | LookupJob | CallJob


class StoreThreads:
    """Run jobs against ``store``, each thread at most ``max_group`` at a time, until closed.

    The store is used, and in the end closed, by these threads only.
    """

    def __init__(
        self, *, store: ReviewStore, metrics: StoreMetrics, max_group: int, threads: int = 1
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._max_group = max_group
        self._at_work = threads
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # a job is either put before the end or refused
        self._ended = False
        self._threads = [
            threading.Thread(target=self._run, name="review-store", daemon=True)
            for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

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
                for _ in self._threads:
                    self._jobs.put(None)
        by = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, by - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        last = False
        while not last:
            taken = self._take()
            last = None in taken
            self._work([job for job in taken if job is not None])
        with self._lock:
            self._at_work -= 1
            if self._at_work:
                return
        self._store.close()

    def _take(self) -> list[Job | None]:
        taken = [self._jobs.get()]
        while len(taken) < self._max_group and self._goes_on_after(taken[-1]):
            try:
                taken.append(self._jobs.get_nowait())
            except queue.Empty:
                break
        return taken

    def _goes_on_after(self, job: Job | None) -> bool:
        """What stands behind a call waits for it only where no other thread could take it;
        what stands behind the end is another thread's end."""
        return job is not None and (len(self._threads) == 1 or not isinstance(job, CallJob))

    def _work(self, taken: Sequence[Job]) -> None:
        jobs = [job for job in taken if job.future.set_running_or_notify_cancel()]
        try:
            for job in jobs:
                if isinstance(job, LookupJob):
                    self._look_up(job)
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

    def _look_up(self, job: LookupJob) -> None:
        try:
            found = self._store.answers_of(job.asked)
        except Exception as problem:  # noqa: BLE001 - every waiter gets a named error
            self._fail([job], "answer_of", problem)
        else:
            job.future.set_result(found)

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
        log.error(
            "review store: %s failed for %d callers",
            operation,
            len(jobs),
            exc_info=problem,
            extra={"problem": _cause(problem)},
        )
        self._metrics.store_error(operation)
        for job in jobs:
            job.future.set_exception(_unavailable())


def _answer(future: Future[Any], result: object) -> None:
    if isinstance(result, ImagesieveError):
        future.set_exception(result)
    else:
        future.set_result(result)


def _cause(problem: Exception) -> str:
    """What the database said, in one line: it stands deep in the traceback otherwise."""
    cause = problem.__cause__ or problem
    return f"{type(cause).__name__}: {cause}".splitlines()[0][:_MOST]


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable("the review queue cannot be read or written")
