"""The review queue, as the pipeline, the gRPC services and the console use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from imagesieve_server.core.groups import Alike
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


class ReviewQueue(Protocol):
    """The durable queue, as the pipeline and the gRPC services use it.

    Every method raises StoreUnavailable where the store does not answer.
    """

    def is_new(self, *, tenant: str, request_id: str) -> bool:
        """Whether it certainly keeps nothing of a request, as far as that is known without a look
        into the store. Raises nothing."""
        ...

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

    async def similar(self, *, tenant: str, item_id: str, limit: int = 20) -> Sequence[Alike]:
        """Decided items that look like this one, the nearest first; none where its picture
        cannot be compared. What ``Item.blind`` withholds is the caller's to withhold.

        Raises ItemNotFound.
        """
        ...

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
