"""What the settings say of the encoder's batches reaches the batcher."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from imagesieve_server.assembly.judging import build_encoder
from imagesieve_server.config import Settings
from imagesieve_server.config import load as load_settings
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.testing import RecordingMetrics


def flat(self: BucketedEncoder) -> dict[int, float]:
    """As on a device whose rows cost the same in any batch."""
    return {bucket: 0.01 * bucket for bucket in self.buckets}


@pytest.mark.parametrize(("max_batch", "pays"), [("0", 1), ("8", 8)])
async def test_a_largest_batch_that_is_set_is_obeyed_and_else_what_pays_is_measured(
    max_batch: str, pays: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BucketedEncoder, "warm", flat)
    settings: Settings = load_settings(None, {"IMAGESIEVE__MODEL__MAX_BATCH": max_batch})
    async with contextlib.AsyncExitStack() as stack:
        metrics: Any = RecordingMetrics()
        batcher = await build_encoder(settings, metrics, stack, on_down=lambda: None)
        assert batcher.batch_that_pays == pays
