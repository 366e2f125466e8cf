"""What turns rows of pixels into embeddings on some device: all that the batcher drives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.views import Embeddings, Pixels


class RowEncoder(Protocol):
    """One session of a model. All calls come from one thread, the same each time: a CUDA graph
    belongs to the thread that captured it."""

    @property
    def spec(self) -> EncoderSpec: ...

    def warm(self) -> Mapping[int, float]:
        """Run every bucket; seconds per run by bucket."""
        ...

    def run(self, pixels: Pixels) -> Embeddings:
        """uint8 [N, S, S, 3] to float32 [N, D]; a row that is not sound is NaN."""
        ...

    def check_canary(self, batch_size: int = 0) -> None:
        """Raises EncoderUnavailable where the encoder does not reproduce its bundle's canary, in
        batches of that size; 0: in as few rows as it has."""
        ...
