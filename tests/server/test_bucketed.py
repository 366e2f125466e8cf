"""The canary of an encoder of buckets: in the batch size that suits it, or in the one asked for."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.tiny_bundle import write_tiny_bundle
from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions

BUCKETS = (1, 3, 4, 8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


class Device:
    """Notes its runs; gives another embedding in one row of one bucket."""

    def __init__(self, bundle: Bundle) -> None:
        options = RuntimeOptions(provider=Provider.CPU, threads=1)
        self._real = OnnxImageEncoder(bundle=bundle, options=options, buckets=BUCKETS)
        self.runs: list[tuple[int, int]] = []  # rows, bucket
        self.wrong = (0, 0)  # row, bucket
        self.encoder = BucketedEncoder(
            bundle=bundle, buckets=BUCKETS, provider="a device", run_bucket=self._run
        )

    def _run(self, pixels: Pixels, bucket: int) -> Embeddings:
        self.runs.append((len(pixels), bucket))
        found = self._real.run(pixels)
        row, wrong_bucket = self.wrong
        if bucket == wrong_bucket:
            found[row] = np.roll(found[row], 1)
        return found


@pytest.fixture
def device(bundle: Bundle) -> Device:
    return Device(bundle)


@pytest.mark.parametrize(
    ("batch_size", "runs"),
    [(0, [(4, 4)]), (1, [(1, 1)] * 4), (3, [(3, 3)] * 2), (4, [(4, 4)]), (8, [(8, 8)])],
)
def test_the_canary_fills_batches_of_the_size_asked_for(
    device: Device, bundle: Bundle, batch_size: int, runs: list[tuple[int, int]]
) -> None:
    assert len(bundle.canary.pixels) == 4
    device.encoder.check_canary(batch_size)
    assert device.runs == runs


@pytest.mark.parametrize("bucket", BUCKETS)
def test_one_wrong_row_is_seen_in_its_batch_size_only(device: Device, bucket: int) -> None:
    for row in range(bucket):
        device.wrong = (row, bucket)
        for other in set(BUCKETS) - {bucket}:
            device.encoder.check_canary(other)
        with pytest.raises(EncoderUnavailable, match="canary") as caught:
            device.encoder.check_canary(bucket)
        assert caught.value.metadata["batch_size"] == str(bucket)
