"""Does an embedding depend on what else is in the batch, or on the batch's size?

Knows batches and bits; refuses to know models: it is given a function from pixels to embeddings
and needs neither torch nor onnx. Each picture is run in every bucket beside black padding (first
row) and beside adversarial noise (last row).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from imagesieve_server.core.errors import BundleError
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.manifest import InvarianceReport, Precision
from imagesieve_server.offline.export.parity import LOGIT_SCALE

Embed = Callable[[Pixels], Embeddings]
"""uint8 [N, S, S, 3] to float32 [N, D], in one run of exactly N rows."""

_NOISE_SEED = 7


def measure_invariance(
    embed: Embed, *, pictures: Pixels, prompts: Embeddings, buckets: tuple[int, ...]
) -> InvarianceReport:
    """Run every picture [K, S, S, 3] in every bucket; logits are over prompt vectors [P, D]."""
    same = True
    by_bucket = []
    for bucket in buckets:
        firsts = []
        for picture in pictures:
            rows = [embed(batch)[row] for batch, row in _surroundings(picture, bucket)]
            same = same and all(np.array_equal(rows[0], other) for other in rows[1:])
            firsts.append(rows[0])
        by_bucket.append(np.asarray(firsts, dtype=np.float64) @ prompts.astype(np.float64).T)
    cosines = np.asarray(by_bucket)  # [buckets, K, P]
    spread = cosines.max(axis=0) - cosines.min(axis=0)
    return InvarianceReport(
        buckets=buckets,
        same_bits_within_bucket=bool(same),
        delta_logit_across_buckets=float(LOGIT_SCALE * spread.max()),
    )


def gate(report: InvarianceReport, *, precision: Precision) -> None:
    """Raise BundleError where a row depends on its neighbours or too much on the bucket."""
    if not report.same_bits_within_bucket:
        raise BundleError(
            "an embedding depends on what else is in the batch (dynamic quantisation does this): "
            "export int8 with static ranges"
        )
    if not report.delta_logit_across_buckets <= precision.bucket_tolerance:
        raise BundleError(
            f"the batch size moves a logit by {report.delta_logit_across_buckets:.2g}, the limit "
            f"for {precision} is {precision.bucket_tolerance:g}"
        )


def _surroundings(picture: Pixels, bucket: int) -> Iterator[tuple[Pixels, int]]:
    """Batches of one size with ``picture`` in them, and its row."""
    black = np.zeros((bucket, *picture.shape), dtype=np.uint8)
    black[0] = picture
    yield black, 0
    if bucket > 1:
        # Full-range noise: the widest activations a batch mate can have.
        chance = np.random.default_rng(_NOISE_SEED)
        noise = chance.choice(np.array([0, 255], dtype=np.uint8), size=black.shape)
        noise[-1] = picture
        yield noise, bucket - 1
