"""The queue as the pipeline sees it: awaitable, and never acknowledged before it is durable.

Evidence goes to the disk first, in a few threads; then its row, by the one thread that owns
the store. Knows nothing of rows, rules or files.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial

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
from imagesieve_server.review_queue.claim_groups import ClaimGroups
from imagesieve_server.review_queue.evidence import EvidenceStore
from imagesieve_server.review_queue.evidence_gate import EvidenceGate
from imagesieve_server.review_queue.lookups import Lookups
from imagesieve_server.review_queue.quality_counts import QualityCounts
from imagesieve_server.review_queue.recording import Asked
from imagesieve_server.review_queue.removal import UPKEEP_LIMIT, Removal
from imagesieve_server.review_queue.signals import Signals, is_set_within
from imagesieve_server.review_queue.store import ReviewStore
from imagesieve_server.review_queue.store_calls import StoreCalls
from imagesieve_server.review_queue.store_thread import (
    CallJob,
    FlagJob,
    StoreMetrics,
    StoreThreads,
)


class QueueWriter:
    """``core.ports.ReviewQueue`` over a store and an evidence store.

    ``patience_s`` bounds every call, seconds: a disk that hangs is StoreUnavailable, too.
    ``idle_s`` is how often a watch looks at the store although nobody told it to, seconds.
    ``several_servers``: others may remove what this one is about to refer to, and keep requests
    that this one has not seen.
    All methods belong to one event loop. ``metrics`` is called from several threads.
    """

    def __init__(
        self,
        *,
        store: ReviewStore,
        evidence: EvidenceStore,
        metrics: StoreMetrics,
        evidence_threads: int = 4,
        max_group: int = 256,
        patience_s: float = 30.0,
        idle_s: float = 10.0,
        store_threads: int = 1,
        several_servers: bool = False,
    ) -> None:
        self._evidence = evidence
        self._idle_s = idle_s
        self._several_servers = several_servers
        self._quality = QualityCounts(count=metrics.review_quality)
        self._signals = Signals()
        self._gate = EvidenceGate()
        self.calls = StoreCalls(
            threads=StoreThreads(
                store=store, metrics=metrics, max_group=max_group, threads=store_threads
            ),
            evidence_threads=evidence_threads,
            gate=self._gate,
            signals=self._signals,
            metrics=metrics,
            patience_s=patience_s,
        )
        self._claims = ClaimGroups(calls=self.calls)
        self._lookups = Lookups(calls=self.calls, several_servers=several_servers)
        self._removal = Removal(calls=self.calls, evidence=evidence, gate=self._gate)

    @property
    def waiting(self) -> int:
        """Calls that wait for the store: what the next group may be."""
        return self.calls.waiting + self._claims.waiting + self._lookups.waiting

    async def submit(self, flag: Flag, evidence: bytes) -> Recorded:
        """Keep a flag: when this returns, evidence and row survive a power cut.

        Raises InvalidRequest, RequestIdReused, StoreUnavailable. After StoreUnavailable, or
        where the caller gave up, the flag may have been kept all the same: repeating it with
        the same request_id is safe.
        """
        self._lookups.about_to_keep(flag.tenant, flag.request_id)
        key = (flag.tenant, flag.sha256)
        put = partial(self._evidence.put, tenant=flag.tenant, sha256=flag.sha256, data=evidence)
        async with self.calls.bounded("submit"), self._gate.storing(key):
            await self.calls.in_files(put, storing=key)
            job = FlagJob(flag=flag)
            if flag.reuse_decision:  # it may be decided at once
                job.future.add_done_callback(self.calls.teller(flag.tenant))
            recorded = await self.calls.done(job, job.future)
            if self._several_servers:
                await self._put_if_gone(flag, put)
            return recorded

    async def _put_if_gone(self, flag: Flag, put: Callable[[], None]) -> None:
        """Another server may have removed the bytes between their putting and their row. From
        the row on nobody does, so one more look is enough. Those that were deleted by law since
        then stay away."""
        has = partial(self._evidence.has, tenant=flag.tenant, sha256=flag.sha256)
        if not await self.calls.in_files(has):
            job = CallJob(
                operation="submit",
                call=lambda store: store.put_referenced(flag.tenant, flag.sha256, put),
            )
            await self.calls.done(job, job.future)

    async def add_counts(self, counts: Sequence[AuditCount]) -> None:
        """Add to what was counted of ALLOWs; durable when this returns."""
        await self.calls.call("add_counts", lambda store: store.add_counts(counts))

    def is_new(self, *, tenant: str, request_id: str) -> bool:
        """See ``Lookups.is_new``."""
        return self._lookups.is_new(tenant, request_id)

    async def answer_of(
        self, *, tenant: str, request_id: str, request_digest: str
    ) -> Recorded | None:
        """What is kept of a flagged request, None where it is not known. Those that ask while
        the store is read share the next read."""
        return await self._lookups.answer_of(
            Asked(tenant=tenant, request_id=request_id, digest=request_digest)
        )

    async def learn_requests(self) -> None:
        """See ``Lookups.learn``."""
        await self._lookups.learn()

    async def claim(self, request: ClaimRequest) -> Lease | None:
        return await self._claims.claim(request)

    async def extend(self, *, tenant: str, item_id: str, token: str, lease_s: float) -> Lease:
        return await self.calls.call(
            "extend",
            lambda store: store.extend(
                tenant=tenant, item_id=item_id, token=token, lease_s=lease_s
            ),
        )

    async def release(self, *, tenant: str, item_id: str, token: str) -> Item:
        return await self.calls.call(
            "release", lambda store: store.release(tenant=tenant, item_id=item_id, token=token)
        )

    async def decide(self, request: DecideRequest) -> DecisionRecord:
        return await self.calls.call(
            "decide", lambda store: self._quality.decide(store, request), tells=request.tenant
        )

    async def requeue(self, *, tenant: str, item_id: str, actor: str = "") -> Item:
        """``actor`` is who asked, for the item's history."""
        return await self.calls.call(
            "requeue", lambda store: store.requeue(tenant=tenant, item_id=item_id, actor=actor)
        )

    async def get(self, *, tenant: str, item_id: str) -> Item:
        return await self.calls.call("get", lambda store: store.get(tenant=tenant, item_id=item_id))

    async def list(self, request: ListRequest) -> ItemPage:
        return await self.calls.call("list", lambda store: store.list(request))

    async def stats(self, *, tenant: str | None) -> QueueStats:
        return await self.calls.call("stats", lambda store: store.stats(tenant=tenant))

    async def similar(self, *, tenant: str, item_id: str, limit: int = 20) -> Sequence[Alike]:
        """Decided items that look like this one; see the port."""
        return await self.calls.call(
            "similar",
            lambda store: store.similar(tenant=tenant, item_id=item_id, limit=limit),
        )

    async def reopen(self, request: ReopenRequest) -> Item:
        return await self.calls.call("reopen", lambda store: store.reopen(request))

    def wake(self, tenant: str | None) -> None:
        """Somebody heard of a decision of this tenant, or cannot say of which (None)."""
        if tenant is None:
            self._signals.give_all()
        else:
            self._signals.give(tenant)

    async def watch(
        self, *, tenant: str, cursor: str = "", from_oldest: bool = False
    ) -> AsyncGenerator[EventPage, None]:
        """Decision events as they are made; see the port."""
        page = await self._events(tenant, cursor, from_oldest)
        yield page
        idle = False
        while True:
            signal = self._signals.of(tenant)  # before the look: nothing is slept through
            page = await self._events(tenant, page.cursor)
            if page.events or idle:
                yield page
                idle = False
            else:
                idle = not await is_set_within(signal, self._idle_s)

    async def _events(self, tenant: str, cursor: str, from_oldest: bool = False) -> EventPage:
        return await self.calls.call(
            "events",
            lambda store: store.events(tenant=tenant, cursor=cursor, from_oldest=from_oldest),
        )

    async def erase(self, request: EraseRequest) -> Erasure:
        """Legal deletion: when this returns, rows are emptied and the file is gone."""
        return await self._removal.erase(request)

    async def retire(self, *, older_than_s: float, limit: int = UPKEEP_LIMIT) -> int:
        """See ``Removal.retire``."""
        return await self._removal.retire(older_than_s=older_than_s, limit=limit)

    async def drop_events(self, *, older_than_s: float, limit: int = UPKEEP_LIMIT) -> int:
        """See ``Removal.drop_events``."""
        return await self._removal.drop_events(older_than_s=older_than_s, limit=limit)

    async def sweep_evidence(self, *, part: int) -> int:
        """See ``Removal.sweep_evidence``."""
        return await self._removal.sweep_evidence(part=part)

    async def expire_leases(self) -> int:
        """End every lease that is over; to be called now and then, so that what nobody
        claims is seen to be ready."""
        return await self.calls.call("expire_leases", lambda store: store.expire_leases())

    async def evidence(self, *, tenant: str, sha256: str) -> bytes:
        """The original bytes, verified. Raises ItemNotFound, StoreUnavailable."""
        async with self.calls.bounded("evidence"):
            return await self.calls.in_files(
                partial(self._evidence.get, tenant=tenant, sha256=sha256)
            )

    async def close(self) -> None:
        """Refuse new calls, finish those begun, close the store. Repeated, it waits again."""
        await self.calls.close()
