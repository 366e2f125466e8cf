"""Takes away what must not or need not be kept: rows first, then bytes that none refers to.

Legal deletion, the end of keeping, and files that nobody knows of. Bytes go only inside the
gate and the store's own hold, so that nobody makes a row that refers to them meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from imagesieve_server.core.review_afterwards import EraseRequest, Erasure
from imagesieve_server.review_queue.evidence import EvidenceStore
from imagesieve_server.review_queue.evidence_gate import EvidenceGate
from imagesieve_server.review_queue.store import ReviewStore
from imagesieve_server.review_queue.store_calls import StoreCalls

GARBAGE_AGE_S = 3600.0
"""A file that no row refers to is removed only when it is older than this, seconds: what
another server has just written may be about to get its row."""
UPKEEP_LIMIT = 200
"""Items, events or files of one step of upkeep: reviewers' calls come in between."""


class Removal:
    """The queue's removals, over the calls and the gate that all of the queue shares."""

    def __init__(self, *, calls: StoreCalls, evidence: EvidenceStore, gate: EvidenceGate) -> None:
        self._calls = calls
        self._evidence = evidence
        self._gate = gate

    async def erase(self, request: EraseRequest) -> Erasure:
        """Legal deletion: when this returns, rows are emptied and the file is gone."""
        sha256 = request.sha256
        if request.item_id and not sha256:
            sha256 = await self._bytes_of(request)
        async with self._gate.removing((request.tenant, sha256)):
            erasure = await self._calls.call(
                "erase", lambda store: store.erase(request), tells=request.tenant
            )
            await self._remove(request.tenant, sha256)
        return erasure

    async def retire(self, *, older_than_s: float, limit: int = UPKEEP_LIMIT) -> int:
        """End the keeping of items decided longer ago than that, ``limit`` at most; how many
        pictures went with them."""
        free = await self._calls.call(
            "retire", lambda store: store.retire(older_than_s=older_than_s, limit=limit)
        )
        for tenant, sha256 in free:
            async with self._gate.removing((tenant, sha256)):
                await self._remove(tenant, sha256, older_than_s=GARBAGE_AGE_S)
        return len(free)

    async def drop_events(self, *, older_than_s: float, limit: int = UPKEEP_LIMIT) -> int:
        """Remove decision events older than that, ``limit`` at most of each tenant."""
        return await self._calls.call(
            "drop_events", lambda store: store.drop_events(older_than_s=older_than_s, limit=limit)
        )

    async def sweep_evidence(self, *, part: int) -> int:
        """Remove files of one part that no row refers to and that are over an hour old, and
        what killed writes left; how many files went."""
        async with self._calls.bounded("sweep"):
            await self._calls.in_files(self._evidence.sweep)
            older = partial(self._evidence.older, part=part, older_than_s=GARBAGE_AGE_S)
            found = await self._calls.in_files(older)
        removed = 0
        for tenant, sha256s in found.items():
            for begin in range(0, len(sha256s), UPKEEP_LIMIT):
                some = sha256s[begin : begin + UPKEEP_LIMIT]
                garbage = await self._calls.call("sweep", partial(_unreferenced, tenant, some))
                for sha256 in garbage:
                    async with self._gate.removing((tenant, sha256)):
                        removed += await self._remove(tenant, sha256, older_than_s=GARBAGE_AGE_S)
        return removed

    async def _remove(self, tenant: str, sha256: str, *, older_than_s: float = 0.0) -> bool:
        """Remove a file that no row refers to; inside the gate and the store's own hold, so
        that neither this server nor another one makes a row meanwhile."""
        remove = partial(
            self._evidence.remove, tenant=tenant, sha256=sha256, older_than_s=older_than_s
        )
        return await self._calls.call(
            "sweep", lambda store: store.remove_unreferenced(tenant, sha256, remove)
        )

    async def _bytes_of(self, request: EraseRequest) -> str:
        item = await self._calls.call(
            "get", lambda store: store.get(tenant=request.tenant, item_id=request.item_id)
        )
        return item.sha256


def _unreferenced(tenant: str, sha256s: Sequence[str], store: ReviewStore) -> Sequence[str]:
    return store.unreferenced(tenant, sha256s)
