"""What every Encoder promises, over the batcher and over another process's batcher alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest

from helpers.shared_encoder import remote_over
from helpers.tiny_bundle import SIZE, pictures, tiny_encoder, write_tiny_bundle
from helpers.waiting import soon, until
from imagesieve_server.core.errors import (
    DeadlinePassed,
    DeadlineUnmeetable,
    EncoderUnavailable,
    Overloaded,
    ShuttingDown,
)
from imagesieve_server.core.views import Pixels
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.shared_encoder.remote import RemoteEncoder
from imagesieve_server.testing import FaultyRowEncoder, RecordingMetrics

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> OnnxImageEncoder:
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
    return tiny_encoder(bundle)


@pytest.fixture
def device(real: OnnxImageEncoder) -> FaultyRowEncoder:
    return FaultyRowEncoder(real)


@pytest.fixture(params=["batcher", "remote"])
async def encoder(
    request: pytest.FixtureRequest, device: FaultyRowEncoder
) -> AsyncIterator[Batcher | RemoteEncoder]:
    batcher = Batcher(
        encoder=device,
        metrics=RecordingMetrics(),
        options=BatcherOptions(max_waiting_views=64, hang_timeout_s=20, recovery_interval_s=0.05),
    )
    async with AsyncExitStack() as stack:
        await batcher.start()
        stack.push_async_callback(batcher.close)
        stack.callback(device.free.set)
        if request.param == "batcher":
            yield batcher
        else:
            yield await stack.enter_async_context(remote_over(batcher))


async def occupy(encoder: Batcher | RemoteEncoder, device: FaultyRowEncoder) -> asyncio.Task[None]:
    """Hold the device with one picture's run, so that what follows has to wait."""
    device.free.clear()
    device.entered.clear()

    async def one() -> None:
        await encoder.encode(pictures(1), deadline=soon())

    task = asyncio.create_task(one())
    await until(device.entered.is_set)
    return task


async def test_it_knows_its_model(
    encoder: Batcher | RemoteEncoder, device: FaultyRowEncoder
) -> None:
    assert encoder.spec == device.spec
    assert encoder.healthy
    assert encoder.rows_per_s == pytest.approx(100.0)


async def test_each_caller_gets_its_own_rows(
    encoder: Batcher | RemoteEncoder, real: OnnxImageEncoder
) -> None:
    asked = [pictures(1 + n % 9, first_red=n) for n in range(24)]
    answers = []
    for some in (asked[:8], asked[8:16], asked[16:]):  # no more than may wait
        calls = (encoder.encode(pixels, deadline=soon()) for pixels in some)
        answers += await asyncio.gather(*calls)
    for pixels, rows in zip(asked, answers, strict=True):
        assert rows.dtype == np.float32
        assert rows == pytest.approx(real.run(pixels), abs=1e-6)


async def test_no_views_give_no_rows(encoder: Batcher | RemoteEncoder) -> None:
    assert (await encoder.encode(pictures(0), deadline=soon())).shape == (0, 12)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, SIZE, SIZE, 3), dtype=np.float32),
        np.zeros((1, SIZE + 1, SIZE, 3), dtype=np.uint8),
        np.zeros((SIZE, SIZE, 3), dtype=np.uint8),
    ],
)
async def test_pixels_of_another_kind_are_refused(
    encoder: Batcher | RemoteEncoder, pixels: Pixels
) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        await encoder.encode(pixels, deadline=soon())


async def test_a_deadline_in_the_past(
    encoder: Batcher | RemoteEncoder, device: FaultyRowEncoder
) -> None:
    with pytest.raises(DeadlinePassed):
        await encoder.encode(pictures(1), deadline=soon(-1))
    assert device.seen == []


async def test_a_deadline_that_passes_while_waiting(
    encoder: Batcher | RemoteEncoder, device: FaultyRowEncoder
) -> None:
    first = await occupy(encoder, device)
    with pytest.raises(DeadlinePassed):
        await encoder.encode(pictures(2, first_red=77), deadline=soon(0.3))
    device.free.set()
    await first
    await encoder.encode(pictures(1), deadline=soon())
    assert not any((pixels[:, 0, 0, 0] == 77).any() for pixels in device.seen)


async def test_a_full_queue_sheds_load_with_a_delay(
    encoder: Batcher | RemoteEncoder, device: FaultyRowEncoder
) -> None:
    first = await occupy(encoder, device)
    waiting = asyncio.create_task(encoder.encode(pictures(60), deadline=soon()))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await encoder.encode(pictures(8), deadline=soon())
    assert caught.value.retry_after_s > 0
    device.free.set()
    await asyncio.gather(first, waiting)


async def test_a_deadline_that_the_queue_makes_unmeetable(
    encoder: Batcher | RemoteEncoder, device: FaultyRowEncoder
) -> None:
    """At 10 ms a view, 60 views do not fit before a deadline half a second away."""
    first = await occupy(encoder, device)
    ahead = asyncio.create_task(encoder.encode(pictures(20), deadline=soon(0.35)))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineUnmeetable):
        await encoder.encode(pictures(40), deadline=soon(0.4))
    device.free.set()
    await asyncio.gather(first, ahead, return_exceptions=True)


async def test_a_caller_that_is_gone_takes_no_slot(
    encoder: Batcher | RemoteEncoder, device: FaultyRowEncoder
) -> None:
    first = await occupy(encoder, device)
    gone = [
        asyncio.create_task(encoder.encode(pictures(20, first_red=77), deadline=soon()))
        for _ in range(3)
    ]
    await asyncio.sleep(0.05)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    await asyncio.sleep(0.05)  # the word travels
    stays = asyncio.create_task(encoder.encode(pictures(60, first_red=5), deadline=soon()))
    await asyncio.sleep(0.05)
    device.free.set()
    await asyncio.gather(first, stays)
    assert not any((pixels[:, 0, 0, 0] == 77).any() for pixels in device.seen)


async def test_while_the_device_is_sick_calls_are_refused_until_it_is_well(
    encoder: Batcher | RemoteEncoder, device: FaultyRowEncoder
) -> None:
    def fail() -> None:
        raise RuntimeError("internal words")

    first = await occupy(encoder, device)
    queued = asyncio.create_task(encoder.encode(pictures(2), deadline=soon()))
    await asyncio.sleep(0.05)
    device.on_run = device.on_canary = fail
    device.free.set()
    for call in (first, queued):
        with pytest.raises(EncoderUnavailable) as caught:
            await call
        assert "internal words" not in caught.value.message
    assert not encoder.healthy
    with pytest.raises(EncoderUnavailable):
        await encoder.encode(pictures(1), deadline=soon())
    device.on_run = device.on_canary = lambda: None
    await until(lambda: encoder.healthy)
    assert np.isfinite(await encoder.encode(pictures(1), deadline=soon())).all()


async def test_a_strange_picture_is_its_callers_alone(
    encoder: Batcher | RemoteEncoder, device: FaultyRowEncoder
) -> None:
    device.nan_where_first_pixel_is = 77
    first = await occupy(encoder, device)
    strange = asyncio.create_task(encoder.encode(pictures(1, first_red=77), deadline=soon()))
    mate = asyncio.create_task(encoder.encode(pictures(1, first_red=5), deadline=soon()))
    await asyncio.sleep(0.02)
    device.free.set()
    await first
    assert np.isnan(await strange).all()
    assert np.isfinite(await mate).all()


async def test_closing_fails_those_who_wait(
    encoder: Batcher | RemoteEncoder, device: FaultyRowEncoder
) -> None:
    first = await occupy(encoder, device)
    queued = asyncio.create_task(encoder.encode(pictures(2), deadline=soon()))
    await asyncio.sleep(0.02)
    await encoder.close()
    for call in (first, queued):
        with pytest.raises(ShuttingDown):
            await call
    with pytest.raises(ShuttingDown):
        await encoder.encode(pictures(1), deadline=soon())
