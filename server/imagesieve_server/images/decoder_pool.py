"""A pool of decode workers: images in, views out, whatever the images do to the workers.

Knows lanes (one per worker), a bounded queue, deaths and quarantine. It refuses to decode in
the server's own process, to let one image fail another, and to keep anybody waiting past the
deadline. Implements ``core.ports.ImageDecoder``; one event loop, no threads.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from imagesieve_server.alarms import Alarms
from imagesieve_server.core.errors import (
    DeadlinePassed,
    ShuttingDown,
    StartupError,
    UndecodableDetail,
)
from imagesieve_server.core.views import (
    DecodedImage,
    Preprocessing,
    Preview,
    PreviewPlan,
    ViewPlan,
)
from imagesieve_server.images.admission import ALL_FORMATS, admit
from imagesieve_server.images.expected_work import expected_s
from imagesieve_server.images.job_queue import HandOver, Job, JobQueue, Together
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.quarantine import STRIKES, Quarantine
from imagesieve_server.images.sniff import ImageFormat
from imagesieve_server.images.undecodable import undecodable
from imagesieve_server.images.worker_messages import Setup
from imagesieve_server.images.worker_process import Death, WorkerDied, WorkerProcess, start_worker
from imagesieve_server.soon import Soon

_log = logging.getLogger(__name__)

_OUT_OF_TIME: Final = frozenset([Death.TIMED_OUT, Death.CPU])
_RESTART_PAUSE_S: Final = 1.0  # after a worker that did not start
_TEND_EVERY_S: Final = 1.0  # between looks at whether the spare still lives
_TELL_AFTER_S: Final = 0.05  # changes of how many are at work, told together
_RETRY_AFTER_S: Final = (0.1, 30.0)  # bounds of what a refused caller is told


class PoolMetrics(Protocol):
    """What a pool reports; see ``core.ports.Metrics``."""

    def decode_workers(self, *, busy: int, alive: int) -> None: ...

    def decode_worker_died(self, reason: str) -> None: ...

    def image_quarantined(self) -> None: ...


class DecoderPool:
    """Decodes images in worker processes. ``start`` before use, ``close`` after."""

    def __init__(
        self,
        *,
        preprocessing: Preprocessing,
        metrics: PoolMetrics,
        limits: Limits | None = None,
        workers: int = 2,
        queue_capacity: int = 64,
        max_views: int = 32,
        formats: frozenset[ImageFormat] = ALL_FORMATS,
        frame_key: bytes = b"",
        start_timeout_s: float = 60.0,
        preview_side: int = 0,
        one_for_short: bool = False,
    ) -> None:
        """Nothing is started yet.

        ``queue_capacity`` images may wait beyond those in the workers. ``max_views`` sizes the
        output slots: a plan that asks for more gets that many. ``frame_key`` is the secret of
        the frame choice, the same on all servers. ``preview_side`` is the largest preview's
        longer side, px; 0 where none is asked for. ``one_for_short``: there is one worker more
        than ``workers``, and long images never hold all of them.
        """
        self._limits = limits or Limits()
        self._setup = Setup(
            preprocessing=preprocessing,
            limits=self._limits,
            frame_key=frame_key.hex(),
            preview_side=preview_side,
        )
        self._metrics = metrics
        self._reporting = Soon(self._tell, after_s=_TELL_AFTER_S)
        self._workers = workers
        self._one_for_short = one_for_short
        self._max_views = max_views
        self._formats = formats
        self._start_timeout_s = start_timeout_s
        self._queue = JobQueue(
            capacity=queue_capacity,
            long_at_once=workers,
            together=Together(workers=workers, room_bytes=self._limits.bytes),
        )
        self._quarantine = Quarantine()
        self._lanes: list[asyncio.Task[None]] = []
        self._spare: asyncio.Task[WorkerProcess] | None = None
        self._tender: asyncio.Task[None] | None = None
        self._alive: set[WorkerProcess] = set()
        self._closed = False
        self._alarms = Alarms()

    async def start(self) -> None:
        """Start every worker; a spare follows by itself.

        Raises StartupError where they do not start.
        """
        count = self._workers + self._one_for_short
        starts = [asyncio.create_task(self._start_one()) for _ in range(count)]
        try:
            workers = await asyncio.gather(*starts)
        except OSError as error:
            await asyncio.gather(*starts, return_exceptions=True)
            await self.close()
            raise StartupError(f"decode workers do not start: {error}") from error
        self._spare = asyncio.create_task(self._start_one())
        self._lanes = [asyncio.create_task(self._lane(worker)) for worker in workers]
        self._tender = asyncio.create_task(self._tend_spare())

    async def settled(self) -> None:
        """Wait until the spare of the start is up, or is known not to be.

        A process that starts takes as much of the processor as several pictures: requests that
        come meanwhile would be slower than those after them.
        """
        if self._spare is not None:
            await asyncio.wait({self._spare})

    async def close(self) -> None:
        """End every worker; whoever still waits gets ShuttingDown. Repeats safely."""
        self._closed = True
        at_work = [job for handed in self._queue.at_work for job in handed.jobs]
        for job in [*self._queue.drain(), *at_work]:
            job.fail(ShuttingDown("the server is shutting down"))
        tasks = [*self._lanes, *(task for task in (self._tender, self._spare) if task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for worker in list(self._alive):
            await self._retire(worker)
        await asyncio.sleep(0)  # lets the loop close the control sockets

    @property
    def worker_pids(self) -> frozenset[int]:
        """The process ids of all workers, the spare included."""
        return frozenset(worker.process.pid for worker in self._alive)

    async def decode(self, data: bytes, *, plan: ViewPlan, deadline: float) -> DecodedImage:
        """Decode one image; see ``core.ports.ImageDecoder``. Raises ShuttingDown after close."""
        plan = plan.at_most(self._max_views)
        decoded = await self._worked(data, plan, deadline)
        assert isinstance(decoded, DecodedImage)  # as the plan
        return decoded

    async def preview(self, data: bytes, *, plan: PreviewPlan, deadline: float) -> Preview:
        """One reduced picture; see ``core.ports.PreviewMaker``. Raises ShuttingDown after close."""
        assert self._setup.preview_side > 0, "this pool was not made for previews"
        plan = replace(plan, side=min(plan.side, self._setup.preview_side))
        preview = await self._worked(data, plan, deadline)
        assert isinstance(preview, Preview)  # as the plan
        return preview

    async def _worked(
        self, data: bytes, plan: ViewPlan | PreviewPlan, deadline: float
    ) -> DecodedImage | Preview:
        if self._closed:
            raise ShuttingDown("the server is shutting down")
        format_ = admit(data, limits=self._limits, formats=self._formats)
        strikes = self._quarantine.strikes_of(data)  # 0: it goes by itself
        if strikes and strikes >= STRIKES:
            raise undecodable(UndecodableDetail.QUARANTINED)
        work_s = expected_s(data, format_, target=self._setup.preprocessing.size)
        alone = isinstance(plan, PreviewPlan) or strikes is not None
        job = Job(data=data, plan=plan, deadline=deadline, expected_s=work_s, alone=alone)
        if job.dead:
            raise DeadlinePassed("the deadline passed before decoding began")
        self._queue.put(job, retry_after_s=self._retry_after_s())
        late = self._alarms.at(deadline, partial(_late, job))
        try:
            return await job.answer
        finally:
            late.cancel()
            del job  # else its error would hold this frame, the frame the job and it the picture

    async def _lane(self, worker: WorkerProcess) -> None:
        """One hand-over after the other, for ever, in this worker and those that replace it."""
        while True:
            handed = await self._queue.take()
            self._reporting.wish()
            try:
                serve = self._serve_one if handed.is_one else self._serve_together
                worker = await serve(worker, handed)
            except Exception as error:  # noqa: BLE001
                # Nothing is known to come here; were it to, the caller must hear of it and
                # the lane must go on with a worker in a known state.
                _log.exception("a decode lane failed")
                if handed.is_one:  # several are back in the queue, each by itself
                    handed.jobs[0].fail(error)
                await self._retire(worker)
                worker = await self._fresh_worker()
            finally:
                self._queue.give_back(handed)
                self._reporting.wish()

    async def _serve_one(self, worker: WorkerProcess, handed: HandOver) -> WorkerProcess:
        """Answer one job. Returns the worker for the next one.

        An image whose worker died is tried once more, alone in a fresh worker: the first may
        have been worn by others, or taken by a kernel short of memory.
        """
        (job,) = handed.jobs
        for fresh in (False, True):
            worker = await self._running(worker)
            try:
                if isinstance(job.plan, PreviewPlan):
                    job.answered(await worker.preview(job.data, job.plan))
                else:
                    (found,) = await worker.decode([(job.data, job.plan)], is_long=job.is_long)
                    assert found is not None  # it had all the room
                    job.answered(found)
            except WorkerDied as died:
                await self._buried(worker, died.death)
                if died.death in _OUT_OF_TIME:  # a second try would take as long
                    self._strike(job)
                    job.fail(undecodable(UndecodableDetail.TIMED_OUT))
                elif fresh:
                    self._strike(job)
                    job.fail(undecodable(UndecodableDetail.WORKER_KILLED))
                worker = await self._fresh_worker()
            if job.dead:
                break
        return worker

    async def _serve_together(self, worker: WorkerProcess, handed: HandOver) -> WorkerProcess:
        """As ``_serve_one`` for several. Where their worker dies nothing is held against any of
        them: each goes again, by itself, and so it does whenever the same bytes come."""
        left = dict(enumerate(handed.jobs))  # those who are to be answered here
        try:
            worker = await self._running(worker)
            await self._answer(worker, handed, left)
        except WorkerDied as died:
            for job in left.values():
                self._quarantine.suspect(job.data)
            await self._buried(worker, died.death)
        finally:
            self._queue.put_back(left.values())  # of them only who has no answer
        return await self._fresh_worker() if worker.reaped else worker

    async def _answer(self, worker: WorkerProcess, handed: HandOver, left: dict[int, Job]) -> None:
        """Raises WorkerDied. Who goes again meanwhile is taken out of ``left``."""

        def part() -> None:
            """They take too long: nobody else shall wait for the one that the worker is at."""
            at = worker.at
            self._queue.put_back(left.pop(number) for number in list(left) if number != at)

        slow = self._alarms.at(self._queue.too_long_at(handed), part)
        try:
            images = [(job.data, job.plan) for job in handed.jobs if isinstance(job.plan, ViewPlan)]
            for job, found in zip(handed.jobs, await worker.decode(images), strict=True):
                if found is not None:
                    job.answered(found)
        finally:
            slow.cancel()

    async def _running(self, worker: WorkerProcess) -> WorkerProcess:
        """This worker, or a fresh one where it died idle, which says nothing about any image."""
        if worker.running:
            return worker
        await self._buried(worker, Death.KILLED)
        return await self._fresh_worker()

    def _strike(self, job: Job) -> None:
        if self._quarantine.strike(job.data):
            self._metrics.image_quarantined()

    async def _fresh_worker(self) -> WorkerProcess:
        """The spare, which is replaced at once; another try each second where none starts."""
        while True:
            spare = self._spare or asyncio.create_task(self._start_one())
            self._spare = None
            try:
                worker = await spare
            except OSError as error:
                _log.error("a decode worker does not start: %s", error)
                await asyncio.sleep(_RESTART_PAUSE_S)
                continue
            if self._spare is None:
                self._spare = asyncio.create_task(self._start_one())
            if worker.running:
                return worker
            await self._buried(worker, Death.KILLED)

    async def _tend_spare(self) -> None:
        """Replace a spare that died unused, which nobody would notice until it is needed.

        A kernel short of memory takes idle workers first.
        """
        while True:
            await asyncio.sleep(_TEND_EVERY_S)
            spare = self._spare
            if spare is None or not spare.done():
                continue
            if error := spare.exception():
                _log.error("a decode worker does not start: %s", error)
            elif spare.result().running:
                continue
            self._spare = asyncio.create_task(self._start_one())
            if not error:
                await self._buried(spare.result(), Death.KILLED)

    async def _start_one(self) -> WorkerProcess:
        worker = await start_worker(
            setup=self._setup, max_views=self._max_views, timeout_s=self._start_timeout_s
        )
        self._alive.add(worker)
        self._reporting.wish()
        return worker

    async def _buried(self, worker: WorkerProcess, death: Death) -> None:
        _log.warning("a decode worker died: %s", death.value)
        self._metrics.decode_worker_died(death.value)
        await self._retire(worker)

    async def _retire(self, worker: WorkerProcess) -> None:
        await worker.end()
        self._alive.discard(worker)
        self._reporting.wish()

    def _tell(self) -> None:
        self._metrics.decode_workers(busy=len(self._queue.at_work), alive=len(self._alive))

    def _retry_after_s(self) -> float:
        """When the queue as it stands should be done."""
        least, most = _RETRY_AFTER_S
        return min(max(self._queue.wait_s / self._workers, least), most)


def _late(job: Job) -> None:
    job.fail(DeadlinePassed("the deadline passed while the image was decoded"))
