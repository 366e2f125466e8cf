"""The encoder on a real GPU; `make test-gpu` runs this and fails where there is none."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.tiny_bundle import pictures, write_tiny_bundle
from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.bundle import Bundle, load_bundle
from imagesieve_server.encoders.cuda_session import CUDA, SESSION_ENTRIES
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.opening import Serving, ServingOptions, open_encoders
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions, open_session
from imagesieve_server.testing import RecordingMetrics

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]

CPU = RuntimeOptions(provider=Provider.CPU)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def demo() -> Bundle:
    return load_bundle(Path(DEMO_BUNDLE))


def on_gpu(bundle: Bundle, *, graphs: bool = True, **options: int) -> Serving:
    runtime = RuntimeOptions(provider=Provider.CUDA, cuda_graphs=graphs)
    return open_encoders(bundle, ServingOptions(runtime=runtime, **options))


def test_two_sessions_on_one_device_with_pinned_memory(tiny: Bundle) -> None:
    serving = on_gpu(tiny)
    assert [encoder.spec.provider for encoder in serving.encoders] == [CUDA, CUDA]
    assert serving.one_device
    assert serving.note == "", "memory must be pinned where there is a GPU"
    assert serving.encoders[0].buckets[-1] == 128


def test_the_library_knows_every_session_entry(tiny: Bundle) -> None:
    assert SESSION_ENTRIES
    options = RuntimeOptions(provider=Provider.CUDA)
    assert open_session(tiny.image_encoder, options=options).provider == CUDA


@pytest.mark.parametrize("graphs", [True, False])
def test_the_same_embeddings_as_on_the_cpu(tiny: Bundle, graphs: bool) -> None:
    """Every bucket, full and padded, after other batches have used the same buffers."""
    (encoder,) = on_gpu(tiny, graphs=graphs, sessions=1, max_batch=8).encoders
    encoder.warm()
    encoder.check_canary()
    plain = OnnxImageEncoder(bundle=tiny, options=CPU)
    for count in (8, 1, 3, 8, 2, 5, 17):
        pixels = pictures(count, seed=count)
        assert encoder.run(pixels) == pytest.approx(plain.run(pixels), abs=1e-4)


def test_graphs_give_the_bits_of_runs_without(tiny: Bundle) -> None:
    (with_graphs,) = on_gpu(tiny, sessions=1, max_batch=8).encoders
    (without,) = on_gpu(tiny, graphs=False, sessions=1, max_batch=8).encoders
    for encoder in (with_graphs, without):
        encoder.warm()
    for count in (1, 2, 7, 8):
        pixels = pictures(count, seed=count)
        assert np.array_equal(with_graphs.run(pixels), without.run(pixels))


def test_a_row_does_not_depend_on_its_batch(demo: Bundle) -> None:
    """Bits within a bucket; a tenth of a logit at λ = 100 between buckets."""
    (encoder,) = on_gpu(demo, sessions=1, max_batch=16).encoders
    encoder.warm()
    side = demo.manifest.preprocessing.size
    batch = pictures(16, side=side)
    alone = encoder.run(batch[:1])
    together = encoder.run(batch)
    other = batch.copy()
    other[1:] = 255 - other[1:]
    assert np.array_equal(encoder.run(other)[0], together[0])
    assert np.linalg.norm(alone[0] - together[0]) <= demo.manifest.precision.bucket_tolerance / 100


def test_the_demo_model_reproduces_its_canary(demo: Bundle) -> None:
    for encoder in on_gpu(demo).encoders:
        encoder.warm()
        encoder.check_canary()


async def test_callers_through_two_sessions(tiny: Bundle) -> None:
    """Each gets its own rows while both sessions replay their graphs."""
    serving = await asyncio.to_thread(on_gpu, tiny)
    metrics = RecordingMetrics()
    batcher = Batcher(
        encoder=serving.encoders[0],
        beside=serving.encoders[1:],
        metrics=metrics,
        options=BatcherOptions(one_device=True),
    )
    await batcher.start()
    plain = OnnxImageEncoder(bundle=tiny, options=CPU)
    try:
        assert batcher.healthy
        asked = [pictures(1 + n % 9, seed=n) for n in range(400)]
        deadline = time.monotonic() + 60
        found = await asyncio.gather(*(batcher.encode(p, deadline=deadline) for p in asked))
        for pixels, rows in zip(asked, found, strict=True):
            assert rows == pytest.approx(plain.run(pixels), abs=1e-4)
        assert batcher.healthy
    finally:
        await batcher.close()
