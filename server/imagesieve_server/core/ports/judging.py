"""What judges images: decoders, encoder, policies, and who looks on.

Deadlines are seconds of the monotonic clock (``time.monotonic``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from imagesieve_server.core.kept import JudgedImage
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.views import (
    DecodedImage,
    Embeddings,
    Pixels,
    Preprocessing,
    Preview,
    PreviewPlan,
    ViewPlan,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """What the rest of the server must know of a model bundle."""

    fingerprint: str  # sha256 over the bundle's manifest; the model_version
    name: str
    embedding_size: int  # D
    preprocessing: Preprocessing
    logit_scale: float  # λ, already exponentiated
    logit_bias: float
    precision: str  # what it computes in: fp32 | fp16 | bf16 | int8
    provider: str  # where it runs, for example CPUExecutionProvider


class Place(Protocol):
    """The room that one admitted image takes among those in flight."""

    def take_views(self, views: int) -> None:
        """The image was decoded to so many views. Raises Overloaded, DeadlineUnmeetable."""
        ...


class ImageDecoder(Protocol):
    """Bytes to views."""

    async def decode(self, data: bytes, *, plan: ViewPlan, deadline: float) -> DecodedImage:
        """Decode one image.

        Raises ImageEmpty, ImageTooLarge, ImageFormatUnsupported, ImageUndecodable,
        DeadlinePassed, Overloaded.
        """
        ...


class PreviewMaker(Protocol):
    """Bytes to a picture that is safe to show: pixels that a decoder made, never the file."""

    async def preview(self, data: bytes, *, plan: PreviewPlan, deadline: float) -> Preview:
        """Decode one picture of a file, reduced.

        Raises as ``ImageDecoder.decode`` does.
        """
        ...


class Encoder(Protocol):
    """Views to unit embeddings. (``encoders/batcher.py`` implements it over a ``RowEncoder``.)"""

    @property
    def spec(self) -> EncoderSpec: ...

    @property
    def healthy(self) -> bool:
        """False from an encoder error or a differing canary until a canary passes."""
        ...

    async def encode(self, pixels: Pixels, *, deadline: float) -> Embeddings:
        """Encode uint8 [V, S, S, 3] to float32 [V, D], row by row independent of each other.

        Raises EncoderUnavailable, DeadlinePassed, DeadlineUnmeetable, Overloaded.
        """
        ...


class PolicySource(Protocol):
    """The policies in force."""

    def get(self, name: str) -> Policy:
        """The policy of that name, the default one for "". Raises UnknownPolicy."""
        ...

    def all(self) -> Sequence[Policy]:
        """Every policy in force, by name."""
        ...


class Onlooker(Protocol):
    """Sees every image that was scored, once its answer is certain; dry runs excepted."""

    def see(self, image: JudgedImage) -> None:
        """Never waits and never raises: no answer is late or lost for an onlooker."""
        ...


class EmbeddingStore(Onlooker, Protocol):
    """Keeps what it sees, as far as there is room, for judging it again."""

    async def erase(self, *, tenant: str, sha256: str) -> int:
        """Remove an image's embeddings, those not yet written included; how many views.

        Raises StoreUnavailable where some may still be there.
        """
        ...
