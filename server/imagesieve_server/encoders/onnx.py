"""The image encoder on ONNX Runtime: uint8 pixels in, unit embeddings out, in fixed buckets.

Knows one session, its batch buckets and its canary; refuses to know callers, deadlines, threads
and what the embeddings are for. Not safe for use by two threads at once: the batcher owns it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.scoring import UNIT_TOLERANCE
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.runtime import RuntimeOptions, open_session

DEFAULT_BUCKETS = (1, 2, 4, 8, 16)
"""Batch sizes that are warmed at start; a batch is padded with black to the next one."""


class OnnxImageEncoder:
    """One open image encoder."""

    def __init__(
        self,
        *,
        bundle: Bundle,
        options: RuntimeOptions,
        buckets: tuple[int, ...] = DEFAULT_BUCKETS,
    ) -> None:
        """Open the session. Raises MissingExtra or BundleError."""
        if not buckets or min(buckets) < 1:
            raise ValueError("buckets must be positive")
        manifest = bundle.manifest
        opened = open_session(bundle.image_encoder, options=options)
        self._session = opened.session
        self._canary = bundle.canary
        self._tolerance = manifest.precision.canary_tolerance
        self._size = manifest.preprocessing.size
        self.note = opened.note
        self.buckets: tuple[int, ...] = tuple(sorted(set(buckets)))
        self.spec = EncoderSpec(
            fingerprint=bundle.fingerprint,
            name=manifest.name,
            embedding_size=manifest.embedding_size,
            preprocessing=manifest.preprocessing,
            logit_scale=manifest.logit_scale,
            logit_bias=manifest.logit_bias,
            precision=manifest.precision.value,
            provider=opened.provider,
        )

    def warm(self) -> Mapping[int, float]:
        """Run every bucket, the largest first, and return seconds per run by bucket.

        Raises EncoderUnavailable.
        """
        seconds = {}
        for bucket in reversed(self.buckets):
            blank = np.zeros((bucket, self._size, self._size, 3), dtype=np.uint8)
            self._infer(blank)  # the first run of a shape allocates and plans
            began = time.perf_counter()
            self._infer(blank)
            seconds[bucket] = time.perf_counter() - began
        return seconds

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
            self._run_bucket(pixels[start : start + largest])
            for start in range(0, len(pixels), largest)
        ]
        if not parts:
            return np.empty((0, self.spec.embedding_size), dtype=np.float32)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def check_canary(self) -> None:
        """Recompute the bundle's canary on this device.

        Raises EncoderUnavailable where an embedding is further than the precision's tolerance
        (Euclidean; λ times it bounds the change of any logit) from the bundle's.
        """
        found = self.run(self._canary.pixels)
        distance = np.linalg.norm(found - self._canary.embeddings, axis=1).max()
        if not distance <= self._tolerance:  # also where it is NaN
            raise EncoderUnavailable(
                "the encoder does not reproduce the bundle's canary on this device",
                metadata={"distance": f"{distance:.3g}", "tolerance": f"{self._tolerance:.3g}"},
            )

    def _run_bucket(self, pixels: Pixels) -> Embeddings:
        count = len(pixels)
        bucket = next(size for size in self.buckets if size >= count)
        padded = np.zeros((bucket, self._size, self._size, 3), dtype=np.uint8)
        padded[:count] = pixels
        return _only_sound_rows(self._infer(padded)[:count])

    def _infer(self, pixels: Pixels) -> Embeddings:
        try:
            (embeddings,) = self._session.run(["embeddings"], {"pixels": pixels})
        except Exception as problem:  # the library raises a class of its own per kind of failure
            raise EncoderUnavailable("the encoder failed on a batch") from problem
        found = np.asarray(embeddings)
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
