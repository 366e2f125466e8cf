"""Many callers, one model: batches form while the encoder is busy, never while it is idle.

Knows admission, deadlines, failure and health; refuses to know ONNX Runtime (any ``RowEncoder``
will do, or several of one model) and what an embedding is for. Promises: a caller that is gone
takes no slot; a failed or hanging batch fails its waiters at once and by name; nothing waits
forever. After an error the encoder counts as down, and calls are refused, until the canary passes,
in batches of the size that failed too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from imagesieve_server.alarms import Alarms
from imagesieve_server.core.errors import (
    DeadlinePassed,
    DeadlineUnmeetable,
    EncoderUnavailable,
    Overloaded,
    ShuttingDown,
)
from imagesieve_server.core.ports import EncoderSpec, Metrics
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.batch_sizes import BucketTimes
from imagesieve_server.encoders.health import Health
from imagesieve_server.encoders.lanes import Lane, Lanes, as_unavailable
from imagesieve_server.encoders.row_encoder import RowEncoder
from imagesieve_server.encoders.waiting import Slice, Waiter, WaitingRoom
from imagesieve_server.soon import Soon


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherOptions:
    """Settings of the batcher; times in seconds."""

    max_waiting_views: int = 256
    hang_timeout_s: float = 30.0  # of one run; then the encoder is down
    start_timeout_s: float = 600.0  # of warm-up (a first CUDA start may compile kernels)
    canary_interval_s: float = 600.0  # while healthy
    recovery_interval_s: float = 5.0  # between canaries while down
    one_device: bool = False  # several encoders take turns on one device (a GPU)
    always_fill: bool = False  # batches as large as what waits, whether or not that pays
    tell_after_s: float = 0.0  # changes of how much waits are told to the metrics together


class Batcher:
    """The Encoder port over one ``RowEncoder``, or several. Use from one event loop."""

    def __init__(
        self,
        *,
        encoder: RowEncoder,
        metrics: Metrics,
        options: BatcherOptions,
        beside: Sequence[RowEncoder] = (),
        on_down: Callable[[], None] = lambda: None,
    ) -> None:
        """``beside``: further sessions of the same bundle, which work at the same time.

        ``on_down`` is called when the encoder is found to be down: what it said since its last
        canary may be wrong."""
        self._encoder = encoder
        self._encoders = (encoder, *beside)
        self._metrics = metrics
        self._options = options
        self._health = Health(metrics=metrics, on_down=on_down)
        self._room = WaitingRoom()
        self._telling = Soon(self._tell, after_s=options.tell_after_s)
        self._times = BucketTimes({1: 0.0})  # replaced at start
        self._stir = asyncio.Event()  # rows came, a lane is free, or the health changed
        self._closed = False
        self._lanes = Lanes((), one_device=options.one_device)  # threads begin at start
        self._driver: asyncio.Task[None] | None = None
        self._alarms = Alarms()

    @property
    def spec(self) -> EncoderSpec:
        return self._encoder.spec

    @property
    def healthy(self) -> bool:
        return self._health.good

    @property
    def rows_per_s(self) -> float:
        """What the encoder alone does at its best batch size, from warm-up on."""
        return 1 / max(self._s_per_row, 1e-9)

    @property
    def batch_that_pays(self) -> int:
        """Rows of a batch from which on larger ones gain little, by warm-up."""
        return self._times.pays

    async def start(self) -> None:
        """Warm every bucket and check the canary; ``healthy`` says how that went.

        Raises EncoderUnavailable where warm-up fails.
        """
        options = self._options
        self._lanes = Lanes(self._encoders, one_device=options.one_device)
        try:
            seconds = await self._lanes.warm(limit_s=options.start_timeout_s)
        except EncoderUnavailable as problem:
            self._health.troubles.failed("warm-up", problem)
            raise
        self._times = BucketTimes(seconds, always_fill=options.always_fill)
        await self._check_canary()
        self._driver = asyncio.create_task(self._drive(), name="encoder-batcher")
        self._driver.add_done_callback(self._driver_ended)

    async def close(self) -> None:
        """Fail whoever still waits and stop; a run in hand is not waited for."""
        self._closed = True
        self._room.fail_all(ShuttingDown("the server is shutting down"))
        self._health.down()
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
        await self._lanes.quiet(cancel=True)
        self._lanes.stop()

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
        self._stir.set()
        self._telling.wish()
        reason = "cancelled"
        try:
            with self._alarms.limit(deadline):
                return await future
        except TimeoutError:
            reason = "deadline"
            raise DeadlinePassed("the deadline passed before the picture was encoded") from None
        finally:
            dropped = self._room.leave(waiter)
            if dropped:
                self._metrics.encoder_dropped(reason, dropped)
            self._telling.wish()

    # --- admission ----------------------------------------------------------------------

    def _admit(self, rows: int, deadline: float) -> None:
        if self._closed:
            raise ShuttingDown("the server is shutting down")
        if not self._health.good:
            raise EncoderUnavailable("the encoder is down")
        now = time.monotonic()
        if deadline <= now:
            raise DeadlinePassed("the deadline passed before the picture was encoded")
        if self._lanes.idle and self._room.rows == 0:
            return  # idle: take it, whatever the estimates say, or they could never improve
        if self._room.rows + rows > self._options.max_waiting_views:
            wait = self._room.rows * self._s_per_row
            raise Overloaded("too many pictures wait for the encoder", retry_after_s=wait)
        time_left = deadline - now
        if (self._room.rows + rows) * self._s_per_row <= time_left:
            return  # whoever goes first; to look at each of them takes longer
        if (self._room.rows_before(deadline) + rows) * self._s_per_row > time_left:
            raise DeadlineUnmeetable(
                "pictures that are due earlier fill the time until then",
                retry_after_s=self._room.rows * self._s_per_row,
            )

    @property
    def _s_per_row(self) -> float:
        """Seconds per row at the best bucket while every lane works."""
        return self._times.per_row / max(len(self._lanes), 1)

    # --- the encoder's loop -------------------------------------------------------------

    async def _drive(self) -> None:
        """Run batches while there is work, and the canary when it is due or after an error."""
        canary_due = time.monotonic() + self._options.canary_interval_s
        while True:
            lane = await self._lane_until(canary_due)
            if lane is not None:
                self._begin_batch(lane)
            if self._health.good and time.monotonic() < canary_due:
                continue
            await self._lanes.quiet()
            # Not an event: a sick device does not say when it is well again.
            while not await self._check_canary():  # noqa: ASYNC110
                await asyncio.sleep(self._options.recovery_interval_s)
            canary_due = time.monotonic() + self._options.canary_interval_s

    async def _lane_until(self, end: float) -> Lane | None:
        """A lane as soon as a batch may go to it; None at ``end`` or once the encoder is down."""
        try:
            with self._alarms.limit(end):
                while self._health.good:
                    full = self._room.rows >= self._times.pays
                    lane = self._lanes.free(full_batch=full) if self._room.rows else None
                    if lane is not None:
                        return lane
                    self._stir.clear()
                    await self._stir.wait()
        except TimeoutError:
            pass
        return None

    def _begin_batch(self, lane: Lane) -> None:
        now = time.monotonic()
        time_left = self._room.earliest_deadline() - now
        bucket = self._times.choose(
            rows=self._lanes.share_of(self._room.rows),
            each=self._lanes.part_of_each(self._room.rows),
            time_left=time_left,
        )
        batch = self._room.take(bucket, now=now, s_per_row=self._s_per_row)
        self._telling.wish()

        def ended() -> None:
            if self._closed:
                _fail(batch, ShuttingDown("the server is shutting down"))
            self._stir.set()

        lane.begin(lambda: self._run_batch(lane, batch), at_end=ended)

    async def _run_batch(self, lane: Lane, batch: Sequence[Slice]) -> None:
        rows = sum(part.stop - part.start for part in batch)
        bucket = self._times.fitting(rows)
        try:
            await self._encode_batch(lane, batch, rows=rows, bucket=bucket)
        except Exception as problem:  # noqa: BLE001  # whatever it is, the waiters must hear of it
            try:
                self._health.failed("batch", problem, batch_size=bucket)
            finally:
                _fail(batch, as_unavailable(problem))

    async def _encode_batch(
        self, lane: Lane, batch: Sequence[Slice], *, rows: int, bucket: int
    ) -> None:
        limit_s = self._options.hang_timeout_s
        encoder = lane.encoder
        began = time.monotonic()
        found = await lane.call(lambda: _encode_rows(encoder, batch), limit_s=limit_s)
        seconds = time.monotonic() - began
        self._times.observe(bucket, seconds)
        self._metrics.batch(rows=rows, capacity=bucket, seconds=seconds)
        if not np.isfinite(found).all():
            # One strange picture, or a sick device? A picture's own NaN goes to its caller, whom
            # core answers REVIEW; a sick device fails the batch.
            await lane.call(lambda: encoder.check_canary(bucket), limit_s=limit_s)
        row = 0
        for part in batch:
            count = part.stop - part.start
            part.waiter.fill(part.start, found[row : row + count])
            row += count

    async def _check_canary(self) -> bool:
        """Run the canaries, set the health by them, and fail all who wait where one fails."""
        try:
            await self._lanes.check_canaries(
                self._health.doubtful, limit_s=self._options.hang_timeout_s
            )
        except EncoderUnavailable as problem:
            try:
                self._health.failed("canary", problem)
            finally:
                self._room.fail_all(problem)
            return False
        self._health.passed()
        return True

    def _driver_ended(self, driver: asyncio.Task[None]) -> None:
        """Unless closed, by an error of its own: nobody would run what waits."""
        problem = None if driver.cancelled() else driver.exception()
        if problem is None:
            return
        try:
            self._health.broke(problem)
        finally:
            self._room.fail_all(EncoderUnavailable("the encoder is down"))

    def _tell(self) -> None:
        self._metrics.encoder_queue(self._room.rows)


def _fail(batch: Sequence[Slice], error: Exception) -> None:
    for part in batch:
        part.waiter.fail(error)


def _encode_rows(encoder: RowEncoder, batch: Sequence[Slice]) -> Embeddings:
    return encoder.run(np.concatenate([part.pixels for part in batch]))
