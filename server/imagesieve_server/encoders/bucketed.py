"""What every encoder of rows shares: rows go in fixed batch sizes, unsound rows come out as NaN.

Knows buckets, a bundle's canary and what a sound embedding is; refuses to know what runs a
bucket: it is given a function. Not safe for use by two threads at once: the batcher owns it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import numpy as np

from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.scoring import UNIT_TOLERANCE
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.bundle import Bundle

RunBucket = Callable[[Pixels, int], Embeddings]
"""uint8 [N, S, S, 3] and a bucket ≥ N to float32 [N or more, D]; the rest of the batch is black."""

_TIMED_S = 0.3
_TIMED_RUNS = 8


class BucketedEncoder:
    """A row encoder over one function that runs one bucket."""

    def __init__(
        self,
        *,
        bundle: Bundle,
        buckets: tuple[int, ...],
        provider: str,
        run_bucket: RunBucket,
        first_runs: int = 1,
        note: str = "",
        precision: str = "",
        canary_tolerance: float | None = None,
    ) -> None:
        """``provider``: the library's name of where it runs. ``first_runs``: of each bucket that
        are slower than those after them. ``note``: for the log, why it runs there.
        ``precision`` and ``canary_tolerance``: where they are not those of the bundle."""
        if not buckets or min(buckets) < 1:
            raise ValueError("buckets must be positive")
        manifest = bundle.manifest
        self._run_bucket = run_bucket
        self._first_runs = first_runs
        self._canary = bundle.canary
        self._tolerance = (
            manifest.precision.canary_tolerance if canary_tolerance is None else canary_tolerance
        )
        self._size = manifest.preprocessing.size
        self.note = note
        self.buckets: tuple[int, ...] = tuple(sorted(set(buckets)))
        self.spec = EncoderSpec(
            fingerprint=bundle.fingerprint,
            name=manifest.name,
            embedding_size=manifest.embedding_size,
            preprocessing=manifest.preprocessing,
            logit_scale=manifest.logit_scale,
            logit_bias=manifest.logit_bias,
            precision=precision or manifest.precision.value,
            provider=provider,
        )

    def warm(self) -> Mapping[int, float]:
        """Run every bucket, the largest first, and return seconds per run by bucket.

        Of short runs the least of several, or chance would say which batch pays. Raises
        EncoderUnavailable.
        """
        seconds = {}
        for bucket in reversed(self.buckets):
            for _ in range(self._first_runs):
                self._infer(self._blank(bucket))
            seconds[bucket] = self._least_seconds(bucket)
        return seconds

    def lone_run_s(self) -> float:
        """Seconds of a run of the smallest bucket. Raises EncoderUnavailable."""
        return self._least_seconds(min(self.buckets))

    def _blank(self, rows: int) -> Pixels:
        return np.zeros((rows, self._size, self._size, 3), dtype=np.uint8)

    def _least_seconds(self, bucket: int) -> float:
        """Of a run: the least of as many as take ``_TIMED_S`` together, at most ``_TIMED_RUNS``."""
        pixels = self._blank(bucket)
        found: list[float] = []
        while not found or (sum(found) < _TIMED_S and len(found) < _TIMED_RUNS):
            began = time.perf_counter()
            self._infer(pixels)
            found.append(time.perf_counter() - began)
        return min(found)

    def run(self, pixels: Pixels) -> Embeddings:
        """Encode uint8 [N, S, S, 3] to float32 [N, D].

        Rows are unit length, or all NaN where the graph gave something that is not a finite
        unit vector. N above the largest bucket is done in several runs. Raises
        EncoderUnavailable where the runtime fails, ValueError for another shape or type.
        """
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (self._size, self._size, 3):
            raise ValueError(f"expected uint8 [N, {self._size}, {self._size}, 3]")
        largest = self.buckets[-1]
        parts = [
            _only_sound_rows(self._infer(pixels[start : start + largest]))
            for start in range(0, len(pixels), largest)
        ]
        if not parts:
            return np.empty((0, self.spec.embedding_size), dtype=np.float32)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def check_canary(self, batch_size: int = 0) -> None:
        """Recompute the bundle's canary on this device, in the smallest bucket that holds it.

        With ``batch_size`` in batches of so many rows, each filled by its pictures, in turn.
        Raises EncoderUnavailable where an embedding is further than the precision's tolerance
        (Euclidean; λ times it bounds the change of any logit) from the bundle's.
        """
        count = len(self._canary.pixels)
        step = batch_size or count
        which = np.arange(math.ceil(count / step) * step) % count
        runs = [
            self.run(self._canary.pixels[which[start : start + step]])
            for start in range(0, len(which), step)
        ]
        expected = self._canary.embeddings[which]
        distance = np.linalg.norm(np.concatenate(runs) - expected, axis=1).max()
        if not distance <= self._tolerance:  # also where it is NaN
            facts = {"distance": f"{distance:.3g}", "tolerance": f"{self._tolerance:.3g}"}
            raise EncoderUnavailable(
                "the encoder does not reproduce the bundle's canary on this device",
                metadata=facts | ({"batch_size": str(batch_size)} if batch_size else {}),
            )

    def _infer(self, pixels: Pixels) -> Embeddings:
        """The rows' embeddings as the graph gives them."""
        bucket = next(size for size in self.buckets if size >= len(pixels))
        try:
            embeddings = self._run_bucket(pixels, bucket)
        except Exception as problem:  # the library raises a class of its own per kind of failure
            raise EncoderUnavailable("the encoder failed on a batch") from problem
        found = np.asarray(embeddings)[: len(pixels)]
        if found.shape != (len(pixels), self.spec.embedding_size) or found.dtype != np.float32:
            raise EncoderUnavailable("the encoder gave embeddings of another shape or type")
        return found


def _only_sound_rows(embeddings: Embeddings) -> Embeddings:
    """Replace every row that is not a finite unit vector by NaN, which core answers REVIEW."""
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
        sound = np.abs(lengths - 1.0) <= UNIT_TOLERANCE
    if sound.all():
        return embeddings
    return np.where(sound[:, np.newaxis], embeddings, np.float32(np.nan))
