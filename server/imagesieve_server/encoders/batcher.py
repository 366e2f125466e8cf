"""Many callers, one encoder: batches form while the encoder is busy, never while it is idle.

Knows admission, deadlines, failure and health; refuses to know ONNX Runtime (any ``RowEncoder``
will do) and what an embedding is for. Promises: a caller that is gone takes no slot; a failed or
hanging batch fails its waiters at once and by name; nothing waits forever. After an error the
encoder counts as down, and calls are refused, until the canary passes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from imagesieve_server.core.errors import (
    DeadlinePassed,
    DeadlineUnmeetable,
    EncoderUnavailable,
    Overloaded,
    ShuttingDown,
)
from imagesieve_server.core.ports import EncoderSpec, Metrics
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.waiting import BucketTimes, Slice, Waiter, WaitingRoom
from imagesieve_server.encoders.worker_thread import WorkerThread

T = TypeVar("T")


class RowEncoder(Protocol):
    """What the batcher drives; ``OnnxImageEncoder`` is the real one. Called by one thread."""

    @property
    def spec(self) -> EncoderSpec: ...

    def warm(self) -> Mapping[int, float]:
        """Run every bucket; seconds per run by bucket."""
        ...

    def run(self, pixels: Pixels) -> Embeddings:
        """uint8 [N, S, S, 3] to float32 [N, D]; a row that is not sound is NaN."""
        ...

    def check_canary(self) -> None:
        """Raises EncoderUnavailable where the encoder does not reproduce its bundle's canary."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherOptions:
    """Settings of the batcher; times in seconds."""

    max_waiting_views: int = 256
    hang_timeout_s: float = 30.0  # of one run; then the encoder is down
    start_timeout_s: float = 600.0  # of warm-up (a first CUDA start may compile kernels)
    canary_interval_s: float = 600.0  # while healthy
    recovery_interval_s: float = 5.0  # between canaries while down


class Batcher:
    """The Encoder port over one ``RowEncoder``. Use from one event loop."""

    def __init__(
        self,
        *,
        encoder: RowEncoder,
        metrics: Metrics,
        options: BatcherOptions,
        on_down: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_down`` is called when the encoder is found to be down: what it said since its
        last canary may be wrong."""
        self._encoder = encoder
        self._metrics = metrics
        self._options = options
        self._on_down = on_down
        self._room = WaitingRoom()
        self._times = BucketTimes({1: 0.0})  # replaced at start
        self._work = asyncio.Event()
        self._running = False  # a batch is on the encoder
        self._healthy = False
        self._closed = False
        self._stuck: asyncio.Future[Any] | None = None  # a run that outlived its limit
        self._thread: WorkerThread | None = None
        self._driver: asyncio.Task[None] | None = None

    @property
    def spec(self) -> EncoderSpec:
        return self._encoder.spec

    @property
    def healthy(self) -> bool:
        return self._healthy

    @property
    def rows_per_s(self) -> float:
        """What the encoder alone does at its best batch size, from warm-up on."""
        return 1 / max(self._times.per_row, 1e-9)

    async def start(self) -> None:
        """Warm every bucket and check the canary; ``healthy`` says how that went.

        Raises EncoderUnavailable where warm-up fails.
        """
        self._thread = WorkerThread(name="encoder")
        self._times = BucketTimes(
            await self._on_thread(self._encoder.warm, limit_s=self._options.start_timeout_s)
        )
        await self._check_canary()
        self._driver = asyncio.create_task(self._drive(), name="encoder-batcher")

    async def close(self) -> None:
        """Fail whoever still waits and stop; a run in hand is not waited for."""
        self._closed = True
        self._room.fail_all(ShuttingDown("the server is shutting down"))
        self._set_health(False)
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
        if self._thread is not None:
            self._thread.stop()

    async def encode(self, pixels: Pixels, *, deadline: float) -> Embeddings:
        """See ``core.ports.Encoder.encode``; ValueError for pixels of another shape or type."""
        side = self.spec.preprocessing.size
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (side, side, 3):
            raise ValueError(f"expected uint8 [V, {side}, {side}, 3]")  # must not reach a batch
        self._admit(len(pixels), deadline)
        width = self.spec.embedding_size
        if len(pixels) == 0:
            return np.empty((0, width), dtype=np.float32)
        future: asyncio.Future[Embeddings] = asyncio.get_running_loop().create_future()
        waiter = Waiter(pixels=pixels, deadline=deadline, width=width, future=future)
        self._room.add(waiter)
        self._work.set()
        self._report_queue()
        reason = "cancelled"
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await future
        except TimeoutError:
            reason = "deadline"
            raise DeadlinePassed("the deadline passed before the picture was encoded") from None
        finally:
            dropped = self._room.leave(waiter)
            if dropped:
                self._metrics.encoder_dropped(reason, dropped)
            self._report_queue()

    # --- admission ----------------------------------------------------------------------

    def _admit(self, rows: int, deadline: float) -> None:
        if self._closed:
            raise ShuttingDown("the server is shutting down")
        if not self._healthy:
            raise EncoderUnavailable("the encoder is down")
        now = time.monotonic()
        if deadline <= now:
            raise DeadlinePassed("the deadline passed before the picture was encoded")
        if not self._running and self._room.rows == 0:
            return  # idle: take it, whatever the estimates say, or they could never improve
        if self._room.rows + rows > self._options.max_waiting_views:
            wait = self._room.rows * self._times.per_row
            raise Overloaded("too many pictures wait for the encoder", retry_after_s=wait)
        ahead = self._room.rows_before(deadline) + rows
        if now + ahead * self._times.per_row > deadline:
            raise DeadlineUnmeetable(
                "pictures that are due earlier fill the time until then",
                retry_after_s=self._room.rows * self._times.per_row,
            )

    # --- the encoder's loop -------------------------------------------------------------

    async def _drive(self) -> None:
        """Run batches while there is work, and the canary when it is due or after an error."""
        canary_due = time.monotonic() + self._options.canary_interval_s
        while True:
            if self._healthy and await self._work_within(canary_due - time.monotonic()):
                await self._run_batch()
            if self._healthy and time.monotonic() < canary_due:
                continue
            # Not an event: a sick device does not say when it is well again.
            while not await self._check_canary():  # noqa: ASYNC110
                await asyncio.sleep(self._options.recovery_interval_s)
            canary_due = time.monotonic() + self._options.canary_interval_s

    async def _work_within(self, seconds: float) -> bool:
        """True as soon as rows wait, False when ``seconds`` passed without any."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                while self._room.rows == 0:
                    self._work.clear()
                    await self._work.wait()
        except TimeoutError:
            return False
        return True

    async def _run_batch(self) -> None:
        time_left = self._room.earliest_deadline() - time.monotonic()
        bucket = self._times.choose(rows=self._room.rows, time_left=time_left)
        batch = self._room.take(bucket)
        self._report_queue()
        self._running = True
        try:
            await self._encode_batch(batch)
        except asyncio.CancelledError:
            _fail(batch, ShuttingDown("the server is shutting down"))
            raise
        except Exception as problem:  # noqa: BLE001  # whatever it is, the waiters must hear of it
            self._set_health(False)
            self._metrics.encoder_failed("batch")
            _fail(batch, _as_unavailable(problem))
        finally:
            self._running = False

    async def _encode_batch(self, batch: Sequence[Slice]) -> None:
        rows = sum(part.stop - part.start for part in batch)
        bucket = self._times.fitting(rows)
        limit_s = self._options.hang_timeout_s
        began = time.monotonic()
        found = await self._on_thread(lambda: self._encode_rows(batch), limit_s=limit_s)
        seconds = time.monotonic() - began
        self._times.observe(bucket, seconds)
        self._metrics.batch(rows=rows, capacity=bucket, seconds=seconds)
        if not np.isfinite(found).all():
            # One strange picture, or a sick device? A picture's own NaN goes to its caller, whom
            # core answers REVIEW; a sick device fails the batch.
            await self._on_thread(self._encoder.check_canary, limit_s=limit_s)
        row = 0
        for part in batch:
            count = part.stop - part.start
            part.waiter.fill(part.start, found[row : row + count])
            row += count

    def _encode_rows(self, batch: Sequence[Slice]) -> Embeddings:
        return self._encoder.run(np.concatenate([part.pixels for part in batch]))

    async def _check_canary(self) -> bool:
        """Run the canary, set the health by it, and fail all who wait where it fails."""
        try:
            if self._stuck is not None and not self._stuck.done():
                raise EncoderUnavailable("the encoder hangs")
            await self._on_thread(self._encoder.check_canary, limit_s=self._options.hang_timeout_s)
        except EncoderUnavailable as problem:
            self._set_health(False)
            self._metrics.encoder_failed("canary")
            self._room.fail_all(problem)
            return False
        self._set_health(True)
        return True

    async def _on_thread(self, function: Callable[[], T], *, limit_s: float) -> T:
        """Run on the encoder's thread. Raises EncoderUnavailable on any failure or a hang."""
        assert self._thread is not None, "start() comes first"
        future = self._thread.submit(function)
        future.add_done_callback(_hear)
        done, _ = await asyncio.wait({future}, timeout=limit_s)
        if not done:
            self._stuck = future
            raise EncoderUnavailable("the encoder hangs")
        try:
            return future.result()
        except Exception as problem:
            raise _as_unavailable(problem) from problem

    def _set_health(self, healthy: bool) -> None:
        self._healthy = healthy
        self._metrics.encoder_healthy(healthy)
        if not healthy:
            self._on_down()

    def _report_queue(self) -> None:
        self._metrics.encoder_queue(self._room.rows)


def _fail(batch: Sequence[Slice], error: Exception) -> None:
    for part in batch:
        part.waiter.fail(error)


def _as_unavailable(problem: Exception) -> EncoderUnavailable:
    if isinstance(problem, EncoderUnavailable):
        return problem
    error = EncoderUnavailable("the encoder failed on a batch")
    error.__cause__ = problem
    return error


def _hear(future: asyncio.Future[T]) -> None:
    """Take note of a late error, so that asyncio does not report it as never retrieved."""
    if not future.cancelled():
        future.exception()
