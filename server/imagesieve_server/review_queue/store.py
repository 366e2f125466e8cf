"""The queue's store: what it promises, and the rules bound to a backend.

Every method is one transaction and is synchronous; ``writer.py`` makes it awaitable. When a
method that writes returns, its result is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from imagesieve_server.core.errors import RequestError, RequestIdReused, StoreUnavailable
from imagesieve_server.core.golden import Golden, GoldenPlan, GoldenRequest
from imagesieve_server.core.groups import Alike
from imagesieve_server.core.near_duplicates import Grouping
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
from imagesieve_server.review_queue import (
    claiming,
    deciding,
    erasing,
    events,
    goldens,
    grouping,
    leasing,
    listing,
    reading,
    recording,
    reopening,
)
from imagesieve_server.review_queue.backend import Backend, Overtaken
from imagesieve_server.review_queue.recording import Asked
from imagesieve_server.review_queue.rows import AuditRow, EventRow, Transaction

T = TypeVar("T")

GROUPING = Grouping()
"""How look-alikes are grouped where nobody says otherwise."""

TRIES = 10
"""Transactions that others overtook, before it is given up: each time another one got through."""


class ReviewStore(Protocol):
    """Every method raises StoreUnavailable where the store does not answer."""

    def record(self, flags: Sequence[Flag]) -> list[Recorded | RequestError]:
        """Keep a group of flags in one transaction; a bad one is answered with its error
        (InvalidRequest, RequestIdReused) at its place and leaves the others alone."""
        ...

    def answers_of(self, asked: Sequence[Asked]) -> list[Recorded | RequestIdReused | None]:
        """What is kept of each of these requests, None where nothing is."""
        ...

    def requests_after(self, name: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """(tenant, request_id) of kept requests, in their order, from ``name`` on without it."""
        ...

    def claim(self, request: ClaimRequest) -> Lease | None: ...

    def claims(self, requests: Sequence[ClaimRequest]) -> list[Lease | RequestError | None]:
        """Several in one transaction; a bad one is answered with its error (InvalidRequest) at
        its place and leaves the others alone."""
        ...

    def extend(self, *, tenant: str, item_id: str, token: str, lease_s: float) -> Lease: ...

    def release(self, *, tenant: str, item_id: str, token: str) -> Item: ...

    def decide(self, request: DecideRequest) -> DecisionRecord: ...

    def requeue(self, *, tenant: str, item_id: str, actor: str = "") -> Item: ...

    def get(self, *, tenant: str, item_id: str) -> Item: ...

    def list(self, request: ListRequest) -> ItemPage: ...

    def stats(self, *, tenant: str | None) -> QueueStats: ...

    def expire_leases(self) -> int:
        """End every lease that is over, of all tenants, and forget old claims; how many
        leases. (A claim ends its tenant's by itself; this keeps figures and lists true while
        nobody claims.)"""
        ...

    def history(self, *, tenant: str, item_id: str) -> tuple[AuditRow, ...]: ...

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Look at the rows of one moment."""
        ...

    def add_counts(self, counts: Sequence[AuditCount]) -> None:
        """Add to what was counted of ALLOWs."""
        ...

    def counts(self, *, tenant: str) -> Sequence[AuditCount]: ...

    def similar(self, *, tenant: str, item_id: str, limit: int) -> Sequence[Alike]: ...

    def reopen(self, request: ReopenRequest) -> Item: ...

    def erase(self, request: EraseRequest) -> Erasure:
        """Legal deletion. The file is the caller's to remove, after this."""
        ...

    def mark_golden(self, request: GoldenRequest) -> Golden: ...

    def unmark_golden(self, request: GoldenRequest) -> None: ...

    def goldens_listed(self, tenant: str) -> Sequence[Golden]: ...

    def retire(self, *, older_than_s: float, limit: int) -> Sequence[tuple[str, str]]:
        """End the keeping of items decided longer ago than that; the bytes (tenant, sha256)
        that nothing refers to any more."""
        ...

    def drop_events(self, *, older_than_s: float, limit: int) -> int:
        """Remove each tenant's oldest events; how many."""
        ...

    def unreferenced(self, tenant: str, sha256s: Sequence[str]) -> Sequence[str]:
        """Those of the bytes that no row refers to."""
        ...

    def remove_unreferenced(self, tenant: str, sha256: str, remove: Callable[[], bool]) -> bool:
        """Call ``remove`` for bytes that no row refers to, while none can come to; what it
        said, False where a row does refer to them."""
        ...

    def put_referenced(self, tenant: str, sha256: str, put: Callable[[], None]) -> bool:
        """Call ``put`` for bytes that a row refers to, while it cannot cease to; whether it did."""
        ...

    def events(self, *, tenant: str, cursor: str = "", from_oldest: bool = False) -> EventPage:
        """The events behind the cursor, a page of them; without one, none and the present
        place, or the oldest kept. Raises CursorExpired."""
        ...

    def decision_events(self, *, tenant: str, after: int, limit: int) -> tuple[EventRow, ...]:
        """The tenant's events behind position ``after`` (0: from the first), in order."""
        ...

    def chain_problems(self, *, tenant: str, item_id: str) -> tuple[str, ...]: ...

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Rules that stand elsewhere, in one transaction; they may be run more than once."""
        ...

    def close(self) -> None: ...


class RuledStore:
    """The one implementation of ``ReviewStore``: the rules over a backend's transactions.

    ``backend`` is public for maintenance that needs rows; whoever writes through it answers
    for the rules. ``grouping`` None: look-alikes are not looked for. ``goldens``, how often golden
    items are given out, is set by whoever opens it.
    """

    def __init__(self, *, backend: Backend, grouping: Grouping | None = GROUPING) -> None:
        self.backend = backend
        self._grouping = grouping
        self.goldens = GoldenPlan()

    def record(self, flags: Sequence[Flag]) -> list[Recorded | RequestError]:
        return self.transact(lambda tx: recording.record(tx, flags, grouping=self._grouping))

    def answers_of(self, asked: Sequence[Asked]) -> list[Recorded | RequestIdReused | None]:
        with self.backend.read() as tx:
            return recording.answers_of(tx, asked)

    def requests_after(self, name: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        with self.backend.read() as tx:
            return tx.requests_after(name, limit)

    def claim(self, request: ClaimRequest) -> Lease | None:
        (result,) = self.claims([request])
        if isinstance(result, RequestError):
            raise result
        return result

    def claims(self, requests: Sequence[ClaimRequest]) -> list[Lease | RequestError | None]:
        return self.transact(lambda tx: claiming.claim(tx, requests, plan=self.goldens))

    def extend(self, *, tenant: str, item_id: str, token: str, lease_s: float) -> Lease:
        return self.transact(
            lambda tx: leasing.extend(
                tx, tenant=tenant, item_id=item_id, token=token, lease_s=lease_s
            )
        )

    def release(self, *, tenant: str, item_id: str, token: str) -> Item:
        return self.transact(
            lambda tx: leasing.release(tx, tenant=tenant, item_id=item_id, token=token)
        )

    def decide(self, request: DecideRequest) -> DecisionRecord:
        return self.transact(lambda tx: deciding.decide(tx, request))

    def requeue(self, *, tenant: str, item_id: str, actor: str = "") -> Item:
        return self.transact(
            lambda tx: leasing.requeue(tx, tenant=tenant, item_id=item_id, actor=actor)
        )

    def get(self, *, tenant: str, item_id: str) -> Item:
        with self.backend.read() as tx:
            return reading.get(tx, tenant=tenant, item_id=item_id)

    def list(self, request: ListRequest) -> ItemPage:
        with self.backend.read() as tx:
            return listing.page(tx, request)

    def stats(self, *, tenant: str | None) -> QueueStats:
        with self.backend.read() as tx:
            return reading.stats(tx, tenant)

    def similar(self, *, tenant: str, item_id: str, limit: int) -> Sequence[Alike]:
        with self.backend.read() as tx:
            return grouping.similar(tx, tenant=tenant, item_id=item_id, limit=limit)

    def expire_leases(self) -> int:
        return self.transact(lambda tx: leasing.upkeep(tx))

    def reopen(self, request: ReopenRequest) -> Item:
        return self.transact(lambda tx: reopening.reopen(tx, request))

    def erase(self, request: EraseRequest) -> Erasure:
        with self.backend.read() as tx:  # bytes are held before their items are locked
            asked = replace(request, sha256=erasing.bytes_of(tx, request), item_id="")
        erasure = self.transact(lambda tx: erasing.erase(tx, asked))
        self.backend.forget()
        return erasure

    def mark_golden(self, request: GoldenRequest) -> Golden:
        return self.transact(lambda tx: goldens.mark(tx, request))

    def unmark_golden(self, request: GoldenRequest) -> None:
        self.transact(lambda tx: goldens.unmark(tx, request))

    def goldens_listed(self, tenant: str) -> Sequence[Golden]:
        return self.read(lambda tx: goldens.listed(tx, tenant))

    def retire(self, *, older_than_s: float, limit: int) -> Sequence[tuple[str, str]]:
        return self.transact(lambda tx: erasing.retire(tx, older_than_s=older_than_s, limit=limit))

    def drop_events(self, *, older_than_s: float, limit: int) -> int:
        return self.transact(
            lambda tx: erasing.drop_events(tx, older_than_s=older_than_s, limit=limit)
        )

    def unreferenced(self, tenant: str, sha256s: Sequence[str]) -> Sequence[str]:
        with self.backend.read() as tx:
            return erasing.unreferenced(tx, tenant, sha256s)

    def remove_unreferenced(self, tenant: str, sha256: str, remove: Callable[[], bool]) -> bool:
        def if_free(tx: Transaction) -> bool:
            tx.hold(tenant, [sha256])
            return bool(erasing.unreferenced(tx, tenant, [sha256])) and remove()

        return self.transact(if_free)

    def put_referenced(self, tenant: str, sha256: str, put: Callable[[], None]) -> bool:
        def if_needed(tx: Transaction) -> bool:
            tx.hold(tenant, [sha256])
            needed = not erasing.unreferenced(tx, tenant, [sha256])
            if needed:
                put()
            return needed

        return self.transact(if_needed)

    def history(self, *, tenant: str, item_id: str) -> tuple[AuditRow, ...]:
        with self.backend.read() as tx:
            return reading.history(tx, tenant=tenant, item_id=item_id)

    def add_counts(self, counts: Sequence[AuditCount]) -> None:
        self.transact(lambda tx: tx.add_counts(counts))

    def counts(self, *, tenant: str) -> Sequence[AuditCount]:
        with self.backend.read() as tx:
            return tx.counts(tenant)

    def events(self, *, tenant: str, cursor: str = "", from_oldest: bool = False) -> EventPage:
        with self.backend.read() as tx:
            return events.page(tx, tenant=tenant, cursor=cursor, from_oldest=from_oldest)

    def decision_events(self, *, tenant: str, after: int, limit: int) -> tuple[EventRow, ...]:
        with self.backend.read() as tx:
            return tuple(tx.events(tenant, after=after, limit=limit))

    def chain_problems(self, *, tenant: str, item_id: str) -> tuple[str, ...]:
        with self.backend.read() as tx:
            return reading.chain_problems(tx, tenant=tenant, item_id=item_id)

    def close(self) -> None:
        self.backend.close()

    def read(self, work: Callable[[Transaction], T]) -> T:
        """One transaction that changes nothing."""
        with self.backend.read() as tx:
            return work(tx)

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """One transaction. The rules change nothing but through it, so that one which was
        overtaken by another server's can be done again from the start."""
        for _ in range(TRIES):
            try:
                with self.backend.write() as tx:
                    return work(tx)
            except Overtaken as problem:
                overtaken = problem
        raise StoreUnavailable("the review queue is too busy; try again") from overtaken
