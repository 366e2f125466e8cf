"""The image encoder on ONNX Runtime: uint8 pixels in, unit embeddings out, in fixed buckets.

Knows one session that is given and gives arrays; refuses to know callers, deadlines, threads and
what the embeddings are for. Not safe for use by two threads at once: the batcher owns it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.runtime import Opened, RuntimeOptions, open_session

DEFAULT_BUCKETS = (1, 2, 4, 8, 16)
"""Batch sizes that are warmed at start; a batch is padded with black to the next one."""


class OnnxImageEncoder(BucketedEncoder):
    """One open image encoder."""

    def __init__(
        self,
        *,
        bundle: Bundle,
        options: RuntimeOptions,
        buckets: tuple[int, ...] = DEFAULT_BUCKETS,
        beside: OnnxImageEncoder | None = None,
    ) -> None:
        """Open the session. Raises MissingExtra or BundleError.

        ``beside``: an encoder whose session serves this one, too, on a thread of its own. The
        library allows runs at the same time, and the weights are in memory once.
        """
        opened = beside.opened if beside else open_session(bundle.image_encoder, options=options)
        self.opened: Opened = opened
        super().__init__(
            bundle=bundle,
            buckets=buckets,
            provider=opened.provider,
            run_bucket=partial(_run_padded, opened.session),
            first_runs=0,  # a CPU's first run is as its later ones, but for the pages it touches
            note=opened.note,
        )


def _run_padded(session: Any, pixels: Pixels, bucket: int) -> Embeddings:
    """No method: an encoder that held itself would keep the weights until cycles are collected."""
    if len(pixels) < bucket:
        padded = np.zeros((bucket, *pixels.shape[1:]), dtype=np.uint8)
        padded[: len(pixels)] = pixels
        pixels = padded
    (embeddings,) = session.run(["embeddings"], {"pixels": pixels})
    found: Embeddings = np.asarray(embeddings)
    return found
