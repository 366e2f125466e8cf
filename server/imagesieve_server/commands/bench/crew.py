"""The encoder as it serves: every session on a thread of its own, all at work at once.

What a session captured in a CUDA graph another thread could not replay, and nothing may be
captured beside a run: sessions are warmed one after the other, each on the thread that uses it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.views import Pixels
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.encoders.opening import Serving


class Crew:
    """Open encoders of one bundle, warm."""

    def __init__(self, serving: Serving) -> None:
        """Warms them. Raises EncoderUnavailable."""
        self._members = [
            (encoder, ThreadPoolExecutor(1, thread_name_prefix="crew"))
            for encoder in serving.encoders
        ]
        first = serving.encoders[0]
        self.at_once = 1 if serving.one_device else len(serving.encoders)
        """Batches that make each other no slower."""
        self.spec: EncoderSpec = first.spec
        self.buckets: tuple[int, ...] = first.buckets
        times = [thread.submit(encoder.warm).result() for encoder, thread in self._members]
        self.seconds: Mapping[int, float] = times[0]  # of one run by bucket, nothing beside it

    def timed_again(self) -> Mapping[int, float]:
        """Seconds of one run of the first session by bucket, as they are now."""
        encoder, thread = self._members[0]
        return thread.submit(encoder.warm).result()

    def views_per_s(self, seconds: float) -> float:
        """Views per second of all together, at their largest batch."""
        size = self.spec.preprocessing.size
        shape = (max(self.buckets), size, size, 3)
        pixels = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
        started = time.perf_counter()
        work = [
            thread.submit(_rate_until, encoder, pixels, started, started + seconds)
            for encoder, thread in self._members
        ]
        return sum(member.result() for member in work)


def _rate_until(encoder: BucketedEncoder, pixels: Pixels, started: float, end: float) -> float:
    """Views a second until the first run that ends after ``end``, which is another moment for each
    session: by one clock for all of them the first to end would seem to rest."""
    done = 0
    while time.perf_counter() < end:
        encoder.run(pixels)
        done += len(pixels)
    return done / (time.perf_counter() - started)
