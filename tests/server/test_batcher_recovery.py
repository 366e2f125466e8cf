"""What a batcher does after a failure: everybody hears of it, whatever else goes wrong, and what
failed must work before callers are let in again."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from helpers.tiny_bundle import pictures, tiny_encoder, write_tiny_bundle
from helpers.waiting import soon, until
from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.batch_sizes import BucketTimes
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.health import Health
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.row_encoder import RowEncoder
from imagesieve_server.encoders.troubles import Troubles
from imagesieve_server.testing import FaultyRowEncoder as Faulty
from imagesieve_server.testing import RecordingMetrics

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def real(bundle: Bundle) -> OnnxImageEncoder:
    return tiny_encoder(bundle)


@pytest.fixture
def encoder(real: OnnxImageEncoder) -> Faulty:
    return Faulty(real)


@pytest.fixture
def metrics() -> RecordingMetrics:
    return RecordingMetrics()


@asynccontextmanager
async def started(
    encoder: RowEncoder,
    metrics: RecordingMetrics,
    *,
    on_down: Callable[[], None] = lambda: None,
    canary_interval_s: float = 600,
) -> AsyncIterator[Batcher]:
    batcher = Batcher(
        encoder=encoder,
        metrics=metrics,
        options=BatcherOptions(
            hang_timeout_s=20, recovery_interval_s=0.01, canary_interval_s=canary_interval_s
        ),
        on_down=on_down,
    )
    await batcher.start()
    try:
        yield batcher
    finally:
        await batcher.close()


def breaks(*_: object, **__: object) -> None:
    raise RuntimeError("broken")


class Held:
    """Where an encoder's thread waits until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.free = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        if not self.free.wait(20):
            raise TimeoutError


@pytest.mark.parametrize("part", ["metrics", "gauge", "on_down", "log"])
async def test_callers_of_a_failed_batch_hear_of_it_whatever_else_breaks(
    part: str, encoder: Faulty, metrics: RecordingMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And find the encoder down; work goes on once the canary passes."""
    on_down = {0: lambda: None}
    async with started(encoder, metrics, on_down=lambda: on_down[0]()) as batcher:
        with monkeypatch.context() as broken:
            broken.setattr(encoder, "on_run", breaks)
            encoder.on_canary = held = Held()
            if part == "on_down":
                broken.setitem(on_down, 0, breaks)
            elif part == "log":
                broken.setattr(Troubles, "failed", breaks)
            else:
                name = {"metrics": "encoder_failed", "gauge": "encoder_healthy"}[part]
                broken.setattr(metrics, name, breaks)
            with pytest.raises(EncoderUnavailable):
                await batcher.encode(pictures(1), deadline=soon())
            assert not batcher.healthy
        held.free.set()
        await until(lambda: batcher.healthy)
        assert len(await batcher.encode(pictures(1), deadline=soon())) == 1


async def test_who_waits_for_a_canary_that_fails_hears_of_it_whatever_else_breaks(
    encoder: Faulty, metrics: RecordingMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(encoder, metrics, canary_interval_s=0.01) as batcher:
        held = Held()

        def fails() -> None:
            held()
            breaks()

        encoder.on_canary = fails
        await until(held.reached.is_set)
        monkeypatch.setattr(metrics, "encoder_failed", breaks)
        waits = asyncio.create_task(batcher.encode(pictures(1), deadline=soon()))
        await until(lambda: {"views": 1} in metrics.named("encoder_queue"))
        held.free.set()
        with pytest.raises(EncoderUnavailable):
            await waits
        assert not batcher.healthy


async def test_a_loop_that_breaks_leaves_nobody_waiting(
    encoder: Faulty,
    metrics: RecordingMetrics,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The encoder is down for good, so that whatever watches it starts another process."""
    told: list[str] = []
    async with started(encoder, metrics, on_down=lambda: told.append("down")) as batcher:
        monkeypatch.setattr(BucketTimes, "choose", breaks)
        waiting = [batcher.encode(pictures(1), deadline=soon()) for _ in range(3)]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in found] == [EncoderUnavailable] * 3
        assert not batcher.healthy
        assert told == ["down"]
        assert metrics.named("encoder_healthy")[-1] == {"healthy": False}
        with pytest.raises(EncoderUnavailable):
            await batcher.encode(pictures(1), deadline=soon())
        (line,) = (record for record in caplog.records if "loop broke" in record.message)
        assert line.exc_info is not None
        assert str(line.exc_info[1]) == "broken"


async def test_closing_is_no_broken_loop(
    encoder: Faulty, metrics: RecordingMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with started(encoder, metrics):
        pass
    await asyncio.sleep(0)
    assert not caplog.records


class SickInOneSize:
    """A device that is sick in one batch size; the four pictures of the canary fit in four."""

    def __init__(self, bundle: Bundle, real: OnnxImageEncoder) -> None:
        self._real = real
        self.fails_in = self.wrong_in = 0
        self.sizes: list[int] = []  # of all runs
        self.rows = Faulty(
            BucketedEncoder(
                bundle=bundle, buckets=real.buckets, provider="sick", run_bucket=self._run
            )
        )

    def _run(self, pixels: Pixels, bucket: int) -> Embeddings:
        self.sizes.append(bucket)
        if bucket == self.fails_in:
            raise RuntimeError("no memory for so many")
        found = self._real.run(pixels)
        return found[::-1] if bucket == self.wrong_in else found


@pytest.fixture
def device(bundle: Bundle, real: OnnxImageEncoder) -> SickInOneSize:
    return SickInOneSize(bundle, real)


@pytest.mark.parametrize("size", [1, 2, 8])
async def test_while_one_batch_size_fails_the_encoder_stays_down(
    size: int,
    device: SickInOneSize,
    metrics: RecordingMetrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Put back by a canary of another size it would fail the next batch, and the next, for ever."""
    caplog.set_level(logging.INFO)
    async with started(device.rows, metrics) as batcher:
        device.fails_in = size
        with pytest.raises(EncoderUnavailable):
            await batcher.encode(pictures(size), deadline=soon())
        await until(lambda: metrics.named("encoder_failed").count({"reason": "canary"}) >= 3)
        assert not batcher.healthy
        assert {"healthy": True} not in metrics.named("encoder_healthy")[1:]
        assert metrics.named("encoder_failed").count({"reason": "batch"}) == 1
        assert [record.message for record in caplog.records] == ["the encoder failed"]
        device.fails_in = 0
        await until(lambda: batcher.healthy)
        assert len(await batcher.encode(pictures(size), deadline=soon())) == size


async def test_wrong_numbers_of_one_batch_size_keep_the_encoder_down(
    device: SickInOneSize, metrics: RecordingMetrics
) -> None:
    async with started(device.rows, metrics) as batcher:
        device.fails_in = 8
        with pytest.raises(EncoderUnavailable):
            await batcher.encode(pictures(8), deadline=soon())
        device.wrong_in, device.fails_in = 8, 0
        before = len(metrics.named("encoder_failed"))
        await until(lambda: len(metrics.named("encoder_failed")) >= before + 3)
        assert not batcher.healthy


async def test_nan_beside_wrong_numbers_of_that_batch_size_fails_the_batch(
    device: SickInOneSize, metrics: RecordingMetrics
) -> None:
    device.rows.nan_where_first_pixel_is = 250
    async with started(device.rows, metrics) as batcher:
        device.wrong_in = 8
        with pytest.raises(EncoderUnavailable):
            await batcher.encode(pictures(8, first_red=250), deadline=soon())
        assert not batcher.healthy


async def test_once_it_is_well_the_canary_is_as_cheap_as_before(
    device: SickInOneSize, metrics: RecordingMetrics
) -> None:
    async with started(device.rows, metrics, canary_interval_s=0.01) as batcher:
        device.fails_in = 8
        with pytest.raises(EncoderUnavailable):
            await batcher.encode(pictures(8), deadline=soon())
        device.fails_in = 0
        await until(lambda: batcher.healthy)
        device.sizes.clear()
        await until(lambda: len(device.sizes) >= 3)
        assert set(device.sizes) == {4}


def test_every_batch_size_that_failed_is_doubtful_until_the_canary_passes() -> None:
    health = Health(metrics=RecordingMetrics(), on_down=lambda: None)
    assert health.doubtful == []
    for size in (8, 2, 8):
        health.failed("batch", RuntimeError("broken"), batch_size=size)
    health.failed("canary", RuntimeError("broken"))
    assert health.doubtful == [2, 8]
    health.passed()
    assert health.doubtful == []
