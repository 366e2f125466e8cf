"""Claims: who gets which item next. Several at once are one commit, each answered for itself."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from imagesieve_server.core.errors import InvalidRequest, RequestError
from imagesieve_server.core.golden import GoldenPlan
from imagesieve_server.core.review import LEASE_MAX_S, Cause, ClaimRequest, Lease
from imagesieve_server.review_queue import checks, goldens, leasing, moves, reading
from imagesieve_server.review_queue.backend import Overtaken
from imagesieve_server.review_queue.rows import ClaimRow, ItemRow, Transaction


def claim(
    tx: Transaction, requests: Sequence[ClaimRequest], *, plan: GoldenPlan
) -> list[Lease | RequestError | None]:
    """For each request the first ready item by rank, leased, or as ``plan`` says a golden one in
    its place, or the lease that its claim_id already has; None where nothing is ready, or what is
    wrong with the request."""
    results: dict[int, Lease | RequestError | None] = {}
    for tenant in sorted({request.tenant for request in requests}):
        asked = {n: each for n, each in enumerate(requests) if each.tenant == tenant}
        results |= _of_tenant(tx, tenant, asked, plan)
    return [results[number] for number in range(len(requests))]


def _of_tenant(
    tx: Transaction, tenant: str, asked: dict[int, ClaimRequest], plan: GoldenPlan
) -> dict[int, Lease | RequestError | None]:
    results: dict[int, Lease | RequestError | None] = {}
    for number, request in asked.items():
        try:
            _check(request)
        except RequestError as problem:
            results[number] = problem
    asked = {number: request for number, request in asked.items() if number not in results}
    if not asked:
        return results
    tx.hold(tenant, [f"claim {request.claim_id}" for request in asked.values()])
    leasing.expire(tx, tenant)
    claims = _Claims(tx, tenant, list(asked.values()), plan)
    rows: dict[int, ItemRow] = {}
    for number, request in asked.items():
        try:
            row = claims.taken(request)
        except RequestError as problem:
            results[number] = problem
            continue
        results[number] = None
        if row is not None:
            rows[number] = row
    claims.keep()
    items = reading.items_of(tx, tenant, list(rows.values()))
    for (number, row), item in zip(rows.items(), items, strict=True):
        results[number] = leasing.lease_of(row, item)
    return results


class _Claims:
    """The living claims of some requests, and those that are made."""

    def __init__(
        self, tx: Transaction, tenant: str, requests: Sequence[ClaimRequest], plan: GoldenPlan
    ) -> None:
        self._tx = tx
        self._plan = plan
        self._tenant = tenant
        ids = sorted({request.claim_id for request in requests})
        self._living = dict(tx.live_claims(tenant, ids))
        self._made: list[ClaimRow] = []

    def taken(self, request: ClaimRequest) -> ItemRow | None:
        """The item that is the request's now. Raises InvalidRequest."""
        living = self._living.get(request.claim_id)
        if living is None:
            return self._next(request)
        if living.reviewer != request.reviewer:
            raise InvalidRequest("claim_id", "belongs to another reviewer's claim")
        if request.item_id not in ("", living.item_id):
            raise InvalidRequest("claim_id", "belongs to a claim of another item")
        row = moves.require_item(self._tx, self._tenant, living.item_id)
        if row.token != living.token:
            raise Overtaken("the lease ended at the same moment; try again")
        return row

    def keep(self) -> None:
        """Write what was made."""
        self._tx.add_claims(self._made)

    def _next(self, request: ClaimRequest) -> ItemRow | None:
        ready = self._tx.next_ready(
            self._tenant,
            tier=request.tier,
            categories=request.categories,
            reviewer=request.reviewer,
            item_id=request.item_id,
            excluding=request.excluding,
        )
        if ready is None:
            return None
        ready = goldens.instead_of(self._tx, ready, request, self._plan)
        now, token = self._tx.now(), secrets.token_urlsafe(24)
        fields = {
            "token": token,
            "claimed_by": request.reviewer,
            "claimed_at": now,
            "lease_until": now + request.lease_s,
        }
        row = moves.move(
            self._tx, ready, Cause.CLAIM, now=now, actor=request.reviewer, changes=fields
        )
        claimed = ClaimRow(
            tenant=self._tenant,
            token=token,
            claim_id=request.claim_id,
            item_id=row.item_id,
            reviewer=request.reviewer,
            claimed_at=now,
        )
        self._made.append(claimed)
        self._living[request.claim_id] = claimed
        return row


def _check(request: ClaimRequest) -> None:
    checks.text("claim_id", request.claim_id, required=True)
    checks.text("reviewer", request.reviewer, required=True)
    checks.text("item_id", request.item_id)
    checks.texts("categories", request.categories)
    checks.texts("excluding", request.excluding)
    checks.within("tier", request.tier, low=1, high=99)
    checks.within("lease_s", request.lease_s, low=leasing.LEASE_MIN_S, high=LEASE_MAX_S)
