"""A row encoder with faults: any encoder, whose runs can be held, broken or made to give NaN.

Wraps what the batcher drives, so that the failures of a device are tested on the real thing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np

from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.row_encoder import RowEncoder

_HELD_AT_MOST_S = 30.0  # a test that forgets to let go must not hang


class FaultyRowEncoder:
    """Passes everything on until told otherwise. Faults are set from any thread."""

    def __init__(self, real: RowEncoder) -> None:
        self._real = real
        self.free = threading.Event()  # runs wait for it
        self.free.set()
        self.on_run: Callable[[], None] = lambda: None  # may raise
        self.on_canary: Callable[[], None] = lambda: None  # may raise
        self.nan_where_first_pixel_is = -1  # red of a picture's first pixel; -1: none
        self.seen: list[Pixels] = []  # the pixels of every run, canaries not included
        self.entered = threading.Event()  # a run has begun

    @property
    def spec(self) -> EncoderSpec:
        return self._real.spec

    def warm(self) -> Mapping[int, float]:
        """Warm the real one; the times told, whatever it took, are ten milliseconds a row in the
        largest bucket and more in smaller ones: of a device on which larger batches pay."""
        buckets = sorted(self._real.warm())
        return {bucket: 0.005 * (bucket + buckets[-1]) for bucket in buckets}

    def run(self, pixels: Pixels) -> Embeddings:
        """As ``RowEncoder.run``, with the faults."""
        self.seen.append(pixels)
        self.entered.set()
        if not self.free.wait(_HELD_AT_MOST_S):
            raise TimeoutError("nobody let the run go on")
        self.on_run()
        found = self._real.run(pixels)
        found[pixels[:, 0, 0, 0] == self.nan_where_first_pixel_is] = np.nan
        return found

    def check_canary(self, batch_size: int = 0) -> None:
        """As ``RowEncoder.check_canary``, with the faults."""
        self.on_canary()
        self._real.check_canary(batch_size)
