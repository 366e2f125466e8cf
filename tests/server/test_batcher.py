"""The batcher's promises: batches form while busy, nobody waits forever, the dead take no slot."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from helpers.tiny_bundle import pictures, tiny_encoder, write_tiny_bundle
from helpers.waiting import soon, until
from imagesieve_server.core.errors import (
    DeadlinePassed,
    DeadlineUnmeetable,
    EncoderUnavailable,
    ImagesieveError,
    Overloaded,
    ShuttingDown,
)
from imagesieve_server.core.views import Embeddings
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.testing import FaultyRowEncoder as Faulty

pytestmark = pytest.mark.timeout(60)


class Gauges:
    """The metrics that a batcher reports, kept."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []  # rows, capacity
        self.dropped: list[tuple[str, int]] = []
        self.waiting = 0
        self.most_waiting = 0
        self.health: list[bool] = []
        self.failures: list[str] = []

    def batch(self, *, rows: int, capacity: int, seconds: float) -> None:
        assert seconds >= 0
        self.batches.append((rows, capacity))

    def encoder_queue(self, views: int) -> None:
        self.waiting = views
        self.most_waiting = max(self.most_waiting, views)

    def encoder_healthy(self, healthy: bool) -> None:
        self.health.append(healthy)

    def encoder_failed(self, reason: str) -> None:
        self.failures.append(reason)

    def encoder_dropped(self, reason: str, views: int) -> None:
        self.dropped.append((reason, views))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> OnnxImageEncoder:
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
    return tiny_encoder(bundle)


@pytest.fixture
def encoder(real: OnnxImageEncoder) -> Faulty:
    return Faulty(real)


@pytest.fixture
def gauges() -> Gauges:
    return Gauges()


@asynccontextmanager
async def started(
    encoder: Faulty,
    gauges: Gauges,
    options: BatcherOptions | None = None,
    *,
    on_down: Callable[[], None] = lambda: None,
) -> AsyncIterator[Batcher]:
    options = options or BatcherOptions(hang_timeout_s=20, recovery_interval_s=0.05)
    batcher = Batcher(
        encoder=encoder,
        metrics=gauges,  # type: ignore[arg-type]
        options=options,
        on_down=on_down,
    )
    await batcher.start()
    try:
        yield batcher
    finally:
        encoder.free.set()
        await batcher.close()


async def occupy(batcher: Batcher, encoder: Faulty) -> asyncio.Task[Embeddings]:
    """Hold the encoder with one picture's run, so that what follows has to wait."""
    encoder.free.clear()
    encoder.entered.clear()
    task = asyncio.create_task(batcher.encode(pictures(1), deadline=soon()))
    await until(encoder.entered.is_set)
    return task


async def outcome(task: asyncio.Task[Embeddings]) -> type[Exception]:
    (result,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(result, ImagesieveError), result
    return type(result)


async def test_each_caller_gets_its_own_rows(
    real: OnnxImageEncoder, encoder: Faulty, gauges: Gauges
) -> None:
    """Thirty callers with one to nine views each, through batches that mix and split them."""
    async with started(encoder, gauges) as batcher:
        asked = [pictures(1 + n % 9, first_red=n) for n in range(30)]
        found = await asyncio.gather(*(batcher.encode(p, deadline=soon()) for p in asked))
        for pixels, rows in zip(asked, found, strict=True):
            assert rows == pytest.approx(real.run(pixels), abs=1e-6)
        assert sum(rows for rows, _ in gauges.batches) == sum(map(len, asked))
        assert gauges.waiting == 0


async def test_no_delay_while_idle(encoder: Faulty, gauges: Gauges) -> None:
    """A lone picture runs alone and at once: nobody waits for a batch to fill."""
    async with started(encoder, gauges) as batcher:
        for _ in range(5):
            began = time.monotonic()
            await batcher.encode(pictures(1), deadline=soon())
            assert time.monotonic() - began < 1.0
        assert gauges.batches == [(1, 1)] * 5


async def test_views_of_different_callers_share_a_batch(encoder: Faulty, gauges: Gauges) -> None:
    async with started(encoder, gauges) as batcher:
        first = await occupy(batcher, encoder)
        others = [
            asyncio.create_task(batcher.encode(pictures(2), deadline=soon())) for _ in range(4)
        ]
        await until(lambda: gauges.waiting == 8)
        encoder.free.set()
        await asyncio.gather(first, *others)
        assert gauges.batches == [(1, 1), (8, 8)]


async def test_no_views_need_no_encoder(encoder: Faulty, gauges: Gauges) -> None:
    async with started(encoder, gauges) as batcher:
        assert (await batcher.encode(pictures(0), deadline=soon())).shape == (0, 12)
        assert gauges.batches == []


async def test_the_earliest_deadline_runs_first(encoder: Faulty, gauges: Gauges) -> None:
    async with started(encoder, gauges) as batcher:
        first = await occupy(batcher, encoder)
        late = asyncio.create_task(batcher.encode(pictures(8, first_red=1), deadline=soon(19)))
        await until(lambda: gauges.waiting == 8)
        early = asyncio.create_task(batcher.encode(pictures(8, first_red=2), deadline=soon(9)))
        await until(lambda: gauges.waiting == 16)
        encoder.free.set()
        await asyncio.gather(first, late, early)
        order = [pixels[0, 0, 0, 0] for pixels in encoder.seen[1:]]
        assert order == [2, 1]


async def test_a_caller_that_is_gone_takes_no_slot(encoder: Faulty, gauges: Gauges) -> None:
    async with started(encoder, gauges) as batcher:
        first = await occupy(batcher, encoder)
        gone = asyncio.create_task(batcher.encode(pictures(3, first_red=77), deadline=soon()))
        stays = asyncio.create_task(batcher.encode(pictures(1, first_red=5), deadline=soon()))
        await until(lambda: gauges.waiting == 4)
        gone.cancel()
        await until(lambda: gauges.waiting == 1)  # room for others at once
        encoder.free.set()
        await asyncio.gather(first, stays)
        assert gauges.dropped == [("cancelled", 3)]
        assert not any((pixels[:, 0, 0, 0] == 77).any() for pixels in encoder.seen)


async def test_a_deadline_that_passes_while_waiting(encoder: Faulty, gauges: Gauges) -> None:
    async with started(encoder, gauges) as batcher:
        first = await occupy(batcher, encoder)
        began = time.monotonic()
        with pytest.raises(DeadlinePassed):
            await batcher.encode(pictures(2, first_red=77), deadline=soon(0.2))
        assert 0.1 < time.monotonic() - began < 2.0
        assert gauges.dropped == [("deadline", 2)]
        encoder.free.set()
        await first
        assert not any((pixels[:, 0, 0, 0] == 77).any() for pixels in encoder.seen)


async def test_a_deadline_that_passes_during_the_run(encoder: Faulty, gauges: Gauges) -> None:
    """The caller is answered at its deadline, and the batch's other callers get their rows."""
    async with started(encoder, gauges) as batcher:
        first = await occupy(batcher, encoder)
        mate = asyncio.create_task(batcher.encode(pictures(1), deadline=soon()))
        with pytest.raises(DeadlinePassed):
            await batcher.encode(pictures(1), deadline=soon(0.2))
        encoder.free.set()
        assert np.isfinite(await mate).all()
        await first


async def test_a_deadline_in_the_past(encoder: Faulty, gauges: Gauges) -> None:
    async with started(encoder, gauges) as batcher:
        with pytest.raises(DeadlinePassed):
            await batcher.encode(pictures(1), deadline=soon(-1))
        assert encoder.seen == []


async def test_a_deadline_that_the_queue_makes_unmeetable(encoder: Faulty, gauges: Gauges) -> None:
    """At 10 ms a view, 250 views do not fit before a deadline 2.2 s away; 30 do."""
    async with started(encoder, gauges) as batcher:
        first = await occupy(batcher, encoder)
        ahead = asyncio.create_task(batcher.encode(pictures(100), deadline=soon(2.0)))
        await until(lambda: gauges.waiting == 100)
        with pytest.raises(DeadlineUnmeetable):
            await batcher.encode(pictures(150), deadline=soon(2.2))
        fits = asyncio.create_task(batcher.encode(pictures(30), deadline=soon(2.2)))
        await until(lambda: gauges.waiting == 130)
        encoder.free.set()
        await asyncio.gather(first, ahead, fits)


async def test_a_full_queue_sheds_load_with_a_delay(encoder: Faulty, gauges: Gauges) -> None:
    options = BatcherOptions(max_waiting_views=10)
    async with started(encoder, gauges, options) as batcher:
        first = await occupy(batcher, encoder)
        waiting = asyncio.create_task(batcher.encode(pictures(8), deadline=soon()))
        await until(lambda: gauges.waiting == 8)
        with pytest.raises(Overloaded) as caught:
            await batcher.encode(pictures(3), deadline=soon())
        assert 0.01 < caught.value.retry_after_s < 1.0
        assert gauges.waiting == 8
        encoder.free.set()
        await asyncio.gather(first, waiting)


async def test_a_failing_batch_fails_its_callers_and_no_other(
    encoder: Faulty, gauges: Gauges
) -> None:
    def break_once() -> None:
        encoder.on_run = lambda: None
        raise EncoderUnavailable("broken once")

    async with started(encoder, gauges) as batcher:
        first = await occupy(batcher, encoder)
        encoder.on_run = break_once
        later = asyncio.create_task(batcher.encode(pictures(1), deadline=soon()))
        await until(lambda: gauges.waiting == 1)
        encoder.free.set()
        assert await outcome(first) is EncoderUnavailable
        assert np.isfinite(await later).all()  # the canary passed, so work goes on
        assert gauges.health == [True, False, True]
        assert gauges.failures == ["batch"]


async def test_an_error_of_any_kind_is_named(encoder: Faulty, gauges: Gauges) -> None:
    def surprise() -> None:
        encoder.on_run = lambda: None
        raise RuntimeError("internal words")

    async with started(encoder, gauges) as batcher:
        encoder.on_run = surprise
        with pytest.raises(EncoderUnavailable) as caught:
            await batcher.encode(pictures(1), deadline=soon())
        assert "internal words" not in caught.value.message
        await until(lambda: batcher.healthy)
        assert np.isfinite(await batcher.encode(pictures(1), deadline=soon())).all()


async def test_whoever_keeps_embeddings_hears_that_they_may_be_wrong(
    encoder: Faulty, gauges: Gauges
) -> None:
    """Before the callers of the failed batch do, so that none of them keeps what it got."""
    told: list[str] = []

    def surprise() -> None:
        encoder.on_run = lambda: None
        raise RuntimeError("a sick device")

    async with started(encoder, gauges, on_down=lambda: told.append("down")) as batcher:
        await batcher.encode(pictures(1), deadline=soon())
        assert told == []
        encoder.on_run = surprise
        with pytest.raises(EncoderUnavailable):
            await batcher.encode(pictures(1), deadline=soon())
        assert told == ["down"]


async def test_while_the_canary_fails_calls_are_refused_until_it_passes(
    encoder: Faulty, gauges: Gauges
) -> None:
    def fail() -> None:
        raise EncoderUnavailable("sick")

    async with started(encoder, gauges) as batcher:
        first = await occupy(batcher, encoder)
        queued = asyncio.create_task(batcher.encode(pictures(2), deadline=soon()))
        await until(lambda: gauges.waiting == 2)
        encoder.on_run, encoder.on_canary = fail, fail
        encoder.free.set()
        assert await outcome(first) is EncoderUnavailable
        assert await outcome(queued) is EncoderUnavailable  # not left waiting
        assert not batcher.healthy
        with pytest.raises(EncoderUnavailable):
            await batcher.encode(pictures(1), deadline=soon())
        encoder.on_run = encoder.on_canary = lambda: None
        await until(lambda: batcher.healthy)
        assert np.isfinite(await batcher.encode(pictures(1), deadline=soon())).all()


async def test_a_canary_that_fails_at_start_starts_down(encoder: Faulty, gauges: Gauges) -> None:
    def fail() -> None:
        raise EncoderUnavailable("sick")

    encoder.on_canary = fail
    async with started(encoder, gauges) as batcher:
        assert not batcher.healthy
        encoder.on_canary = lambda: None
        await until(lambda: batcher.healthy)


async def test_the_canary_is_checked_again_while_idle(encoder: Faulty, gauges: Gauges) -> None:
    checks: list[float] = []
    encoder.on_canary = lambda: checks.append(time.monotonic())
    options = BatcherOptions(canary_interval_s=0.05)
    async with started(encoder, gauges, options):
        await until(lambda: len(checks) >= 3)


async def test_the_canary_is_checked_again_under_steady_load(
    encoder: Faulty, gauges: Gauges
) -> None:
    checks: list[float] = []
    encoder.on_canary = lambda: checks.append(time.monotonic())
    options = BatcherOptions(canary_interval_s=0.05)
    async with started(encoder, gauges, options) as batcher:
        while len(checks) < 3:
            await batcher.encode(pictures(1), deadline=soon())


async def test_a_hang_fails_everyone_at_once_and_heals(encoder: Faulty, gauges: Gauges) -> None:
    options = BatcherOptions(hang_timeout_s=0.3, recovery_interval_s=0.05)
    async with started(encoder, gauges, options) as batcher:
        first = await occupy(batcher, encoder)
        queued = asyncio.create_task(batcher.encode(pictures(1), deadline=soon()))
        began = time.monotonic()
        assert await outcome(first) is EncoderUnavailable
        assert await outcome(queued) is EncoderUnavailable
        assert time.monotonic() - began < 5.0
        assert not batcher.healthy
        with pytest.raises(EncoderUnavailable):
            await batcher.encode(pictures(1), deadline=soon())
        encoder.free.set()  # the run comes back after all
        await until(lambda: batcher.healthy)
        assert np.isfinite(await batcher.encode(pictures(1), deadline=soon())).all()


async def test_one_picture_that_gives_nan_harms_no_other(encoder: Faulty, gauges: Gauges) -> None:
    """The canary passes, so the NaN is the picture's own: it goes to its caller, for core."""
    encoder.nan_where_first_pixel_is = 250
    async with started(encoder, gauges) as batcher:
        first = await occupy(batcher, encoder)
        bad = asyncio.create_task(batcher.encode(pictures(1, first_red=250), deadline=soon()))
        good = asyncio.create_task(batcher.encode(pictures(1), deadline=soon()))
        await until(lambda: gauges.waiting == 2)
        encoder.free.set()
        await first
        assert np.isnan(await bad).all()
        assert np.isfinite(await good).all()
        assert gauges.batches[-1] == (2, 2)
        assert batcher.healthy


async def test_nan_from_a_sick_device_fails_the_batch(encoder: Faulty, gauges: Gauges) -> None:
    def fail() -> None:
        raise EncoderUnavailable("sick")

    encoder.nan_where_first_pixel_is = 250
    async with started(encoder, gauges) as batcher:
        encoder.on_canary = fail
        with pytest.raises(EncoderUnavailable):
            await batcher.encode(pictures(1, first_red=250), deadline=soon())
        assert not batcher.healthy


async def test_pixels_of_another_shape_never_reach_a_batch(encoder: Faulty, gauges: Gauges) -> None:
    async with started(encoder, gauges) as batcher:
        with pytest.raises(ValueError, match="expected uint8"):
            await batcher.encode(np.zeros((1, 9, 9, 3), dtype=np.uint8), deadline=soon())
        assert batcher.healthy


async def test_closing_fails_who_waits_and_refuses_who_comes(
    encoder: Faulty, gauges: Gauges
) -> None:
    async with started(encoder, gauges) as batcher:
        first = await occupy(batcher, encoder)
        queued = asyncio.create_task(batcher.encode(pictures(1), deadline=soon()))
        await until(lambda: gauges.waiting == 1)
        await batcher.close()
        assert await outcome(first) is ShuttingDown
        assert await outcome(queued) is ShuttingDown
        with pytest.raises(ShuttingDown):
            await batcher.encode(pictures(1), deadline=soon())


async def test_closing_ends_the_thread(encoder: Faulty, gauges: Gauges) -> None:
    others = set(threading.enumerate())  # of tests before this one, some still ending

    def own() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name == "encoder" and t not in others]

    async with started(encoder, gauges) as batcher:
        await batcher.encode(pictures(1), deadline=soon())
        assert len(own()) == 1
    await until(lambda: not own())


def test_warm_up_that_fails_stops_the_start(tmp_path: Path, real: OnnxImageEncoder) -> None:
    class Cold(Faulty):
        def warm(self) -> Mapping[int, float]:
            raise EncoderUnavailable("out of memory")

    async def start() -> None:
        batcher = Batcher(
            encoder=Cold(real),
            metrics=Gauges(),  # type: ignore[arg-type]
            options=BatcherOptions(),
        )
        try:
            await batcher.start()
        finally:
            await batcher.close()

    with pytest.raises(EncoderUnavailable, match="out of memory"):
        asyncio.run(start())
