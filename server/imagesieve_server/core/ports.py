"""What the pipeline needs from the outside, as protocols.

Adapters (images, encoders, policy_files, review_queue, embedding_store, metrics) implement
these and never import each other. Each port has a real version, a fake in
``imagesieve_server.testing``, and a contract test over both. Deadlines are seconds of the
monotonic clock (``time.monotonic``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from imagesieve_server.core.kept import JudgedImage
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.review import (
    AuditCount,
    ClaimRequest,
    DecideRequest,
    DecisionRecord,
    Flag,
    Item,
    ItemPage,
    Lease,
    ListRequest,
    QueueStats,
    Recorded,
)
from imagesieve_server.core.review_afterwards import EraseRequest, Erasure, ReopenRequest
from imagesieve_server.core.review_events import EventPage
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
    precision: str  # fp32 | fp16 | int8
    provider: str  # the ONNX Runtime provider in use, for example CPUExecutionProvider


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


class ReviewQueue(Protocol):
    """The durable queue, as the pipeline and the gRPC services use it.

    Every method raises StoreUnavailable where the store does not answer.
    """

    async def answer_of(
        self, *, tenant: str, request_id: str, request_digest: str
    ) -> Recorded | None:
        """What the store keeps of a flagged request, None where it is not known.

        Raises RequestIdReused where it is known with another digest.
        """
        ...

    async def submit(self, flag: Flag, evidence: bytes) -> Recorded:
        """Keep a flag: when this returns, evidence and row survive a power cut.

        Raises RequestIdReused, InvalidRequest.
        """
        ...

    async def add_counts(self, counts: Sequence[AuditCount]) -> None:
        """Add to what was counted of ALLOWs; durable when this returns."""
        ...

    async def claim(self, request: ClaimRequest) -> Lease | None:
        """Lease the first item by rank, or the one asked for; None where none is ready."""
        ...

    async def extend(self, *, tenant: str, item_id: str, token: str, lease_s: float) -> Lease:
        """Prolong a lease to now + lease_s, at most LEASE_MAX_S after its claim.

        Raises ItemNotFound, LeaseLost.
        """
        ...

    async def release(self, *, tenant: str, item_id: str, token: str) -> Item:
        """Give an item back; repeated, it returns the present state.

        Raises ItemNotFound, LeaseLost (another token holds it).
        """
        ...

    async def decide(self, request: DecideRequest) -> DecisionRecord:
        """Record a decision; repeated with the same content it returns the same record.

        Raises ItemNotFound, LeaseLost, DecisionConflict.
        """
        ...

    async def requeue(self, *, tenant: str, item_id: str, actor: str = "") -> Item:
        """Put a parked item back; repeated, it returns the present state. ``actor`` asked for it.

        Raises ItemNotFound, ArrowNotAllowed.
        """
        ...

    async def reopen(self, request: ReopenRequest) -> Item:
        """Review a decided item again; where the contested decision is not in effect any more
        it returns the present state.

        Raises ItemNotFound, InvalidRequest, ArrowNotAllowed.
        """
        ...

    async def erase(self, request: EraseRequest) -> Erasure:
        """Legal deletion; repeated, it returns the same.

        Raises ItemNotFound, InvalidRequest.
        """
        ...

    async def get(self, *, tenant: str, item_id: str) -> Item:
        """Raises ItemNotFound."""
        ...

    async def list(self, request: ListRequest) -> ItemPage:
        """Raises InvalidRequest for a page token that is not ours."""
        ...

    async def stats(self, *, tenant: str | None) -> QueueStats: ...

    def watch(
        self, *, tenant: str, cursor: str = "", from_oldest: bool = False
    ) -> AsyncIterator[EventPage]:
        """Decision events as they are made, behind the cursor; without one from now on, or,
        with ``from_oldest``, from the oldest kept. Never ends by itself.

        The first page comes at once, and one without events now and then while nothing is
        decided. Nothing is read ahead of what is taken. Raises CursorExpired.
        """
        ...

    async def evidence(self, *, tenant: str, sha256: str) -> bytes:
        """The original bytes. Raises ItemNotFound."""
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


class Metrics(Protocol):
    """What the parts count and time. The series stand in ``metrics/catalogue.py``."""

    def stage_seconds(self, stage: str, seconds: float) -> None:
        """Time spent by one image in a stage: admit, decode, encode, score, keep."""
        ...

    def batch(self, *, rows: int, capacity: int, seconds: float) -> None:
        """One encoder batch: real rows, bucket size, and the run's seconds."""
        ...

    def encoder_queue(self, views: int) -> None:
        """Views waiting for the encoder."""
        ...

    def encoder_healthy(self, healthy: bool) -> None: ...

    def encoder_failed(self, reason: str) -> None:
        """The encoder failed once: "batch" (an error, or a run that hangs) or "canary"."""
        ...

    def encoder_dropped(self, reason: str, views: int) -> None:
        """Views dropped before the encoder: cancelled, deadline."""
        ...

    def decode_failed(self, reason: str) -> None:
        """One image without a picture; ``reason`` from UndecodableDetail or an error's reason."""
        ...

    def decode_workers(self, *, busy: int, alive: int) -> None: ...

    def decode_worker_died(self, reason: str) -> None: ...

    def image_quarantined(self) -> None:
        """Bytes were put into quarantine: they are not decoded any more for a while."""
        ...

    def image_views(self, views: int) -> None:
        """Views of one decoded image."""
        ...

    def quota_refused(self, quota: str) -> None:
        """One image was refused because its tenant's quota is used up."""
        ...

    def verdict(self, *, policy: str, verdict: str, degraded: bool) -> None: ...

    def category_score(
        self, *, policy: str, policy_version: str, category: str, log_odds: float, band: str
    ) -> None: ...

    def reason(self, *, policy: str, code: str) -> None: ...

    def audit_sample(self, *, policy: str, result: str) -> None:
        """One selected ALLOW: kept for review, counted (a further upload of a picture that was
        kept), or dropped."""
        ...

    def policies(self, policies: Sequence[Policy]) -> None:
        """The set of policies in force changed."""
        ...

    def policy_reload(self, *, ok: bool) -> None: ...

    def model(self, spec: EncoderSpec) -> None: ...

    def store_commit(self, *, flags: int, seconds: float) -> None:
        """One group commit: how many flags it carried."""
        ...

    def store_error(self, operation: str) -> None: ...

    def store_healthy(self, healthy: bool) -> None:
        """Whether the store answered when it was last asked."""
        ...

    def disk_free(self, folder: str, size_bytes: int) -> None:
        """Room left where "database", "evidence" or "embeddings" lie, bytes."""
        ...

    def queue(self, stats: QueueStats) -> None: ...
