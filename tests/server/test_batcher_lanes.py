"""Several sessions of one model behind one batcher: who gets a batch, what a failure does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from helpers.tiny_bundle import pictures, write_tiny_bundle
from helpers.waiting import soon, until
from imagesieve_server.core.errors import EncoderUnavailable, ShuttingDown
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.lanes import Lanes
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.testing import FaultyRowEncoder as Faulty
from imagesieve_server.testing import RecordingMetrics

pytestmark = pytest.mark.timeout(60)
LARGEST = 8


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


class Watched(Faulty):
    """Notes the thread of every call, and whether another's was under way."""

    calls = threading.Lock()

    def __init__(self, bundle: Bundle) -> None:
        options = RuntimeOptions(provider=Provider.CPU, threads=1)
        super().__init__(OnnxImageEncoder(bundle=bundle, options=options, buckets=(1, 2, 4, 8)))
        self.threads: set[str] = set()
        self.warmed_alone = False

    def warm(self) -> Mapping[int, float]:
        self.threads.add(threading.current_thread().name)
        self.warmed_alone = self.calls.acquire(blocking=False)
        try:
            return super().warm()
        finally:
            if self.warmed_alone:
                self.calls.release()

    def run(self, pixels: Pixels) -> Embeddings:
        self.threads.add(threading.current_thread().name)
        return super().run(pixels)

    def check_canary(self, batch_size: int = 0) -> None:
        self.threads.add(threading.current_thread().name)
        super().check_canary(batch_size)


@pytest.fixture
def lanes(bundle: Bundle) -> list[Watched]:
    return [Watched(bundle), Watched(bundle)]


@asynccontextmanager
async def started(lanes: list[Watched], *, one_device: bool = False) -> AsyncIterator[Batcher]:
    batcher = Batcher(
        encoder=lanes[0],
        beside=lanes[1:],
        metrics=RecordingMetrics(),
        options=BatcherOptions(hang_timeout_s=20, recovery_interval_s=0.05, one_device=one_device),
    )
    await batcher.start()
    try:
        yield batcher
    finally:
        for lane in lanes:
            lane.free.set()
        await batcher.close()


def ask(batcher: Batcher, count: int, seed: int = 0) -> asyncio.Task[Embeddings]:
    return asyncio.create_task(batcher.encode(pictures(count, seed=seed), deadline=soon()))


async def hold(batcher: Batcher, lane: Watched, count: int = 1) -> asyncio.Task[Embeddings]:
    """A batch that stays in hand on the lane until it is let go."""
    lane.free.clear()
    lane.entered.clear()
    task = ask(batcher, count)
    await until(lane.entered.is_set)
    return task


def sizes(lane: Watched) -> list[int]:
    return [len(pixels) for pixels in lane.seen]


async def test_every_session_keeps_to_its_own_thread(lanes: list[Watched]) -> None:
    """A captured CUDA graph belongs to its thread, and none may be captured beside another."""
    async with started(lanes, one_device=True) as batcher:
        assert all(lane.warmed_alone for lane in lanes)
        await asyncio.gather(*(ask(batcher, 1 + n % 9, n) for n in range(30)))
        assert all(sizes(lane) for lane in lanes)
        assert [len(lane.threads) for lane in lanes] == [1, 1]
        assert lanes[0].threads.isdisjoint(lanes[1].threads)


async def test_each_caller_gets_its_own_rows_from_whichever_session(
    lanes: list[Watched], bundle: Bundle
) -> None:
    alone = OnnxImageEncoder(bundle=bundle, options=RuntimeOptions(provider=Provider.CPU))
    async with started(lanes) as batcher:
        found = await asyncio.gather(*(ask(batcher, 1 + n % 9, n) for n in range(30)))
    for n, rows in enumerate(found):
        assert rows == pytest.approx(alone.run(pictures(1 + n % 9, seed=n)), abs=1e-6)


async def test_on_devices_of_their_own_a_free_session_takes_what_there_is(
    lanes: list[Watched],
) -> None:
    async with started(lanes) as batcher:
        held = await hold(batcher, lanes[0])
        assert len(await ask(batcher, 1)) == 1
        assert (sizes(lanes[0]), sizes(lanes[1])) == ([1], [1])
        lanes[0].free.set()
        await held


async def test_sessions_that_are_free_divide_what_waits(lanes: list[Watched]) -> None:
    """One would do all of it while the other has nothing to do. All four come before the batcher
    has its turn, and both sessions are free then, however slow their threads are."""
    async with started(lanes) as batcher:
        await asyncio.gather(*(ask(batcher, 1, n) for n in range(4)))
        assert (sizes(lanes[0]), sizes(lanes[1])) == ([2], [2])


class Even(Watched):
    """A device on which a row costs the same in any batch."""

    def warm(self) -> Mapping[int, float]:
        return {size: size / 100 for size in super().warm()}


async def test_a_batch_is_full_once_one_waits_for_every_session(bundle: Bundle) -> None:
    """Of a smaller crowd a session that is free takes a third: eight rows in one batch would
    be eight times one row's wait for each of them."""
    lanes: list[Watched] = [Even(bundle), Even(bundle)]
    async with started(lanes) as batcher:
        for crowd, largest in ((2 * LARGEST - 1, 4), (2 * LARGEST, LARGEST)):
            held = [await hold(batcher, lane) for lane in lanes]
            waiting = [ask(batcher, 1, n) for n in range(crowd)]
            await asyncio.sleep(0)
            lanes[0].seen.clear()
            lanes[0].free.set()
            await asyncio.gather(*waiting, held[0])
            assert max(sizes(lanes[0])) == largest
            lanes[1].free.set()
            await held[1]


async def test_on_one_device_a_second_batch_begins_only_when_full(lanes: list[Watched]) -> None:
    """A small batch would slow the one in hand and be done no sooner; while it waits it grows."""
    async with started(lanes, one_device=True) as batcher:
        held = await hold(batcher, lanes[0])
        small = ask(batcher, LARGEST - 1)
        await asyncio.sleep(0.05)
        assert sizes(lanes[1]) == []
        rest = ask(batcher, 1)
        await asyncio.gather(small, rest)
        assert sizes(lanes[1]) == [LARGEST]
        lanes[0].free.set()
        await held


async def test_one_session_that_fails_takes_no_batch_of_the_other(lanes: list[Watched]) -> None:
    """The other's batch is answered; nothing new begins until both reproduce their canaries."""

    def broken() -> None:
        raise RuntimeError("device lost")

    async with started(lanes) as batcher:
        held = await hold(batcher, lanes[0])
        lanes[1].on_run = lanes[1].on_canary = broken
        with pytest.raises(EncoderUnavailable):
            await ask(batcher, 1)
        assert not batcher.healthy
        lanes[0].free.set()
        assert len(await held) == 1
        with pytest.raises(EncoderUnavailable):
            await ask(batcher, 1)
        lanes[1].on_run = lanes[1].on_canary = lambda: None
        await until(lambda: batcher.healthy)
        assert len(await ask(batcher, 1)) == 1


async def test_closing_fails_the_batches_of_all(lanes: list[Watched]) -> None:
    async with started(lanes) as batcher:
        held = [await hold(batcher, lane) for lane in lanes]
        waiting = ask(batcher, 1)
        await asyncio.sleep(0)
        await batcher.close()
        found = await asyncio.gather(*held, waiting, return_exceptions=True)
        assert [type(error) for error in found] == [ShuttingDown] * 3


async def test_a_second_device_doubles_the_rate_and_a_second_session_on_one_does_not(
    lanes: list[Watched],
) -> None:
    """The row encoder says ten milliseconds a row in its largest batch."""
    async with started(lanes) as batcher:
        assert batcher.rows_per_s == pytest.approx(200)
    async with started(lanes, one_device=True) as batcher:
        assert batcher.rows_per_s == pytest.approx(100)


async def test_canaries_of_sessions_of_their_own_are_checked_at_once(lanes: list[Watched]) -> None:
    """Nothing is served meanwhile: sixty, one after the other, would hold everybody up. Each waits
    here until both are asked."""
    async with started(lanes) as batcher:
        together = threading.Barrier(2)
        for lane in lanes:
            lane.on_canary = lambda: together.wait(timeout=10)
            lane.on_run = lambda: (_ for _ in ()).throw(RuntimeError("device lost"))
        with pytest.raises(EncoderUnavailable):
            await ask(batcher, 1)
        await until(lambda: batcher.healthy)


async def test_a_start_that_fails_on_the_second_session_fails(lanes: list[Watched]) -> None:
    def cold() -> Mapping[int, float]:
        raise MemoryError

    lanes[1].warm = cold  # type: ignore[method-assign]
    with pytest.raises(EncoderUnavailable):
        async with started(lanes):
            raise AssertionError("must not start")


async def test_a_start_that_fails_leaves_no_session_at_work(lanes: list[Watched]) -> None:
    """The process ends then, and would be aborted in the midst of another run."""
    ended = threading.Event()

    def cold() -> Mapping[int, float]:
        raise MemoryError

    def slow() -> Mapping[int, float]:
        ended.wait(0.3)
        ended.set()
        return {1: 1.0}

    lanes[0].warm, lanes[1].warm = cold, slow  # type: ignore[method-assign]
    with pytest.raises(EncoderUnavailable):
        async with started(lanes):
            raise AssertionError("must not start")
    assert ended.is_set()


def test_warm_times_are_those_of_the_slower_beside_the_other() -> None:
    """Sessions of one device are warmed one after the other, of others at once: each waits here
    until all are at work."""

    class Timed:
        def __init__(self, times: Mapping[int, float]) -> None:
            self._times = times

        def warm(self) -> Mapping[int, float]:
            if together is not None:
                together.wait(timeout=10)
            return self._times

    async def times(one_device: bool) -> Mapping[int, float]:
        nonlocal together
        together = None if one_device else threading.Barrier(2)
        encoders = [Timed({1: 1.0, 2: 3.0}), Timed({1: 2.0, 2: 2.0})]
        lanes = Lanes(encoders, one_device=one_device)  # type: ignore[arg-type]
        try:
            return await lanes.warm(limit_s=10)
        finally:
            lanes.stop()

    together: threading.Barrier | None = None
    assert asyncio.run(times(False)) == {1: 2.0, 2: 3.0}
    assert asyncio.run(times(True)) == {1: 4.0, 2: 6.0}
