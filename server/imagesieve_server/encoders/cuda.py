"""The image encoder on a GPU by ONNX Runtime's CUDA provider: bound buffers, pinned memory, graphs.

Knows what CUDA needs of a session; refuses to know the batcher, and which precision is best: that
is chosen when the bundle is made.
"""

from __future__ import annotations

from imagesieve_server.encoders.bound_session import BoundSession
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.cuda_session import CUDA
from imagesieve_server.encoders.pinned_memory import HostPins, HostRows
from imagesieve_server.encoders.runtime import Opened, library

CUDA_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Batch sizes on a GPU, which is idle for most of a small one."""

_DEVICES = {CUDA: "cuda"}
_FIRST_RUNS = 3
"""Of each bucket: a CUDA graph is captured in the third run at the latest."""


class BoundImageEncoder(BucketedEncoder):
    """One open image encoder whose buffers stay on the session's device."""

    def __init__(
        self,
        *,
        bundle: Bundle,
        opened: Opened,
        buckets: tuple[int, ...] = CUDA_BUCKETS,
        pins: HostPins | None = None,
    ) -> None:
        """``opened``: a session over the bundle's image encoder, used by nobody else."""
        side = bundle.manifest.preprocessing.size
        staging = HostRows((max(buckets, default=0), side, side, 3), pins=pins)
        bound = BoundSession(
            ort=library(),
            session=opened.session,
            device=_DEVICES.get(opened.provider, "cpu"),
            buckets=tuple(sorted(set(buckets))),
            staging=staging,
            embedding_size=bundle.manifest.embedding_size,
        )
        super().__init__(
            bundle=bundle,
            buckets=buckets,
            provider=opened.provider,
            run_bucket=bound.run,
            first_runs=_FIRST_RUNS,
            note="; ".join(note for note in (opened.note, staging.note) if note),
        )
