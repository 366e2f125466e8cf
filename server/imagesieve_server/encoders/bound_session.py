"""A session whose inputs and outputs stay where they are: one set of buffers for each bucket.

Knows ONNX Runtime's IOBinding, and that a replayed CUDA graph reads and writes the addresses of
its capture; refuses to know bundles, threads and which device it is, which it is told by name: on
``cpu`` the same code runs in ordinary memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.encoders.pinned_memory import HostRows


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Everything of one bucket; none of it ever moves."""

    binding: Any  # onnxruntime.IOBinding
    options: Any  # onnxruntime.RunOptions with the bucket's graph id
    pixels: Any  # onnxruntime.OrtValue, uint8 [B, S, S, 3]
    embeddings: Any  # onnxruntime.OrtValue, float32 [B, D]


class BoundSession:
    """Runs buckets of one session. Where it captures graphs, all calls come from one thread."""

    def __init__(
        self,
        *,
        ort: Any,
        session: Any,
        device: str,
        buckets: tuple[int, ...],
        staging: HostRows,
        embedding_size: int,
    ) -> None:
        """``staging`` has the rows of the largest bucket and its shape says how large they are."""
        self._session = session
        self._staging = staging.pixels
        row = self._staging.shape[1:]
        self._bound: dict[int, Bound] = {}
        # Id 0 is what the library takes where none is given, and −1 is "no graph".
        for graph, bucket in enumerate(sorted(buckets, reverse=True), start=1):
            options = ort.RunOptions()
            options.add_run_config_entry("gpu_graph_id", str(graph))
            make = ort.OrtValue.ortvalue_from_shape_and_type
            pixels = make([bucket, *row], np.uint8, device, 0)
            embeddings = make([bucket, embedding_size], np.float32, device, 0)
            binding = session.io_binding()
            binding.bind_ortvalue_input("pixels", pixels)
            binding.bind_ortvalue_output("embeddings", embeddings)
            self._bound[bucket] = Bound(
                binding=binding, options=options, pixels=pixels, embeddings=embeddings
            )

    def addresses(self) -> dict[int, tuple[int, int]]:
        """Where each bucket's input and output lie on the device."""
        return {
            bucket: (bound.pixels.data_ptr(), bound.embeddings.data_ptr())
            for bucket, bound in self._bound.items()
        }

    def run(self, pixels: Pixels, bucket: int) -> Embeddings:
        """uint8 [N, S, S, 3] in a batch of ``bucket`` ≥ N rows, the rest black, to [N, D].

        Raises what the library raises.
        """
        count = len(pixels)
        staged = self._staging[:bucket]
        staged[:count] = pixels
        staged[count:] = 0
        bound = self._bound[bucket]
        bound.pixels.update_inplace(staged)
        self._session.run_with_iobinding(bound.binding, bound.options)
        # A copy: in the host's memory the array would be the buffer of the next run.
        return np.array(bound.embeddings.numpy()[:count], dtype=np.float32)
