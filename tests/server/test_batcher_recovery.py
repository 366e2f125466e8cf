"""What a batcher does after a failure: everybody hears of it, whatever else goes wrong."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from helpers.tiny_bundle import pictures, write_tiny_bundle
from helpers.waiting import soon, until
from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.encoders.batch_sizes import BucketTimes
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.row_encoder import RowEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.encoders.troubles import Troubles
from imagesieve_server.testing import FaultyRowEncoder as Faulty
from imagesieve_server.testing import RecordingMetrics

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def real(bundle: Bundle) -> OnnxImageEncoder:
    options = RuntimeOptions(provider=Provider.CPU, threads=1)
    return OnnxImageEncoder(bundle=bundle, options=options, buckets=(1, 2, 4, 8))


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
