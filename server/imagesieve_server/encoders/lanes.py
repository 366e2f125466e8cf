"""Sessions of one model beside each other, each on a thread of its own.

Knows which lane has a batch in hand, hangs or is free; refuses to know who waits and what a batch
is. Lanes of one device are warmed and checked one after the other: while a CUDA graph is captured,
no other thread may use it. Others are so at once: nothing is served meanwhile, and a core may be
slower while its neighbours work.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.encoders.row_encoder import RowEncoder
from imagesieve_server.encoders.worker_thread import WorkerThread

T = TypeVar("T")


class Lane:
    """One encoder and its thread."""

    def __init__(self, encoder: RowEncoder, *, name: str) -> None:
        self.encoder = encoder
        self._thread = WorkerThread(name=name)
        self._batch: asyncio.Task[None] | None = None
        self._stuck: asyncio.Future[Any] | None = None  # a call that outlived its limit

    @property
    def busy(self) -> bool:
        """A batch is in hand."""
        return self._batch is not None

    @property
    def hangs(self) -> bool:
        """A call that outlived its limit has not come back."""
        return self._stuck is not None and not self._stuck.done()

    def begin(
        self, work: Callable[[], Coroutine[Any, Any, None]], *, at_end: Callable[[], None]
    ) -> None:
        """Work on a batch; ``at_end`` is called once the lane is free, also if dropped."""

        async def run() -> None:
            try:
                await work()
            finally:
                self._batch = None  # before any waiter goes on

        def ended(task: asyncio.Task[None]) -> None:
            if self._batch is task:  # dropped before it began
                self._batch = None
            at_end()

        self._batch = asyncio.create_task(run(), name="encoder-batch")
        self._batch.add_done_callback(ended)

    async def end(self, *, cancel: bool = False) -> None:
        """Wait for the batch in hand, or drop it; whatever became of it is not told."""
        batch = self._batch
        if batch is not None:
            if cancel:
                batch.cancel()
            await asyncio.gather(batch, return_exceptions=True)

    async def call(self, function: Callable[[], T], *, limit_s: float) -> T:
        """Run on the lane's thread. Raises EncoderUnavailable on any failure or a hang."""
        future = self._thread.submit(function)
        future.add_done_callback(_hear)
        done, _ = await asyncio.wait({future}, timeout=limit_s)
        if not done:
            self._stuck = future
            raise EncoderUnavailable("the encoder hangs")
        try:
            return future.result()
        except EncoderUnavailable:
            raise  # with its cause, which is for the log
        except Exception as problem:
            raise as_unavailable(problem) from problem

    def stop(self) -> None:
        """End the thread after the call in hand; does not wait for it."""
        self._thread.stop()


class Lanes:
    """All lanes of one batcher."""

    def __init__(self, encoders: Sequence[RowEncoder], *, one_device: bool) -> None:
        """``one_device``: the lanes take turns on it, so a second one makes none faster."""
        self._lanes = [
            Lane(encoder, name=f"encoder-{n}" if n > 1 else "encoder")
            for n, encoder in enumerate(encoders, start=1)
        ]
        self._one_device = one_device

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def idle(self) -> bool:
        """A row that comes now would not wait for another."""
        if self._one_device:
            return not any(lane.busy for lane in self._lanes)
        return any(not lane.busy for lane in self._lanes)

    def free(self, *, full_batch: bool) -> Lane | None:
        """A lane that a batch may go to. Beside a busy lane of the same device only a full one
        gains anything: a smaller one grows while it waits."""
        if not self.idle and not full_batch:
            return None
        return next((lane for lane in self._lanes if not lane.busy), None)

    def share_of(self, rows: int) -> int:
        """Of ``rows`` that wait, those for the next batch: lanes that are free take equal parts,
        or one of them would do all while the others have nothing to do."""
        if self._one_device:
            return rows
        free = sum(not lane.busy for lane in self._lanes)
        return math.ceil(rows / max(free, 1))

    def part_of_each(self, rows: int) -> int:
        """Of ``rows`` that wait, the part of each lane, those at work among them."""
        return rows if self._one_device else rows // len(self._lanes)

    async def warm(self, *, limit_s: float) -> Mapping[int, float]:
        """Warm every encoder; the seconds of a run by bucket while all lanes run."""
        found = await self._of_each(lambda encoder: encoder.warm, limit_s=limit_s)
        shares = len(self._lanes) if self._one_device else 1
        return {bucket: max(one[bucket] for one in found) * shares for bucket in found[0]}

    async def check_canaries(self, batch_sizes: Iterable[int] = (), *, limit_s: float) -> None:
        """As ever, then in batches of these sizes. Raises EncoderUnavailable for the first encoder
        that is not well."""
        if any(lane.hangs for lane in self._lanes):
            raise EncoderUnavailable("the encoder hangs")
        for size in (0, *batch_sizes):
            await self._of_each(functools.partial(_canary, size), limit_s=limit_s)

    async def _of_each(
        self, function: Callable[[RowEncoder], Callable[[], T]], *, limit_s: float
    ) -> list[T]:
        """What a function of each encoder returns, on the lanes' threads."""
        calls = (lane.call(function(lane.encoder), limit_s=limit_s) for lane in self._lanes)
        if self._one_device:
            return [await call for call in calls]
        tasks = [asyncio.create_task(call) for call in calls]
        # All of them, also where one fails: a process that ends while another computes is aborted.
        await asyncio.gather(*tasks, return_exceptions=True)
        return [task.result() for task in tasks]

    async def quiet(self, *, cancel: bool = False) -> None:
        """Wait until no batch is in hand, or drop them."""
        await asyncio.gather(*(lane.end(cancel=cancel) for lane in self._lanes))

    def stop(self) -> None:
        """End all threads; does not wait for them."""
        for lane in self._lanes:
            lane.stop()


def _canary(batch_size: int, encoder: RowEncoder) -> Callable[[], None]:
    return lambda: encoder.check_canary(batch_size)


def as_unavailable(problem: Exception) -> EncoderUnavailable:
    """The error itself where it says enough, else one that hides what a library wrote."""
    if isinstance(problem, EncoderUnavailable):
        return problem
    error = EncoderUnavailable("the encoder failed on a batch")
    error.__cause__ = problem
    return error


def _hear(future: asyncio.Future[T]) -> None:
    """Take note of a late error, so that asyncio does not report it as never retrieved."""
    if not future.cancelled():
        future.exception()
