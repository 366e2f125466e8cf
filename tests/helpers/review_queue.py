"""What tests of the review queue share: flags, a clock that is moved by hand, a desk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from imagesieve_server.core.review import (
    ClaimRequest,
    DecideRequest,
    DecisionRecord,
    Flag,
    Item,
    Lease,
    Outcome,
    Recorded,
)
from imagesieve_server.core.verdict import ReasonCode, Verdict
from imagesieve_server.review_queue.store import RuledStore


class ManualClock:
    """A clock that stands until it is moved, forwards or backwards."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@dataclasses.dataclass(kw_only=True)
class Desk:
    """A store with the shortest words for what tests do to it."""

    store: RuledStore
    clock: ManualClock
    claims: int = 0

    def flag(self, request_id: str, content: str = "", **fields: Any) -> Flag:
        return make_flag(request_id, content, **fields)

    def keep(self, request_id: str, content: str = "", **fields: Any) -> Recorded:
        """Record one flag; a refusal is raised."""
        (result,) = self.store.record([self.flag(request_id, content, **fields)])
        if isinstance(result, Exception):
            raise result
        return result

    def item(self, item_id: str) -> Item:
        return self.store.get(tenant="t", item_id=item_id)

    def claim(self, **fields: Any) -> Lease | None:
        self.claims += 1
        asked = {
            "tenant": "t",
            "reviewer": "ann",
            "claim_id": f"claim-{self.claims}",
            **fields,
        }
        return self.store.claim(ClaimRequest(**asked))

    def lease(self, **fields: Any) -> Lease:
        lease = self.claim(**fields)
        assert lease is not None
        return lease

    def decide(
        self, lease: Lease, outcome: Outcome = Outcome.REJECT, **fields: Any
    ) -> DecisionRecord:
        said = {
            "tenant": lease.item.tenant,
            "item_id": lease.item.item_id,
            "token": lease.token,
            "reviewer": "ann",
            "outcome": outcome,
            **fields,
        }
        return self.store.decide(DecideRequest(**said))

    def park(self) -> Lease:
        """Let the first item expire until it is parked; the lease is its last one."""
        for _ in range(5):
            lease = self.lease()
            self.clock.advance(601.0)
            self.store.expire_leases()
        return lease


def make_flag(request_id: str, content: str = "", **fields: Any) -> Flag:
    """A flag; without ``content`` the bytes are the request's own."""
    data = content or request_id
    plain: dict[str, Any] = {
        "tenant": "t",
        "request_id": request_id,
        "request_digest": f"digest of {data}",
        "sha256": hashlib.sha256(data.encode()).hexdigest(),
        "size_bytes": len(data),
        "media_type": "image/jpeg",
        "verdict": Verdict.REVIEW,
        "policy": "demo",
        "policy_version": "p1",
        "model_version": "m1",
        "reasons": (ReasonCode.CATEGORY_REVIEW,),
        "category": "weapons",
        "severity": 2,
        "score": 0.5,
        "answer": json.dumps({"request_id": request_id, "item_id": ""}),
        "surface": "avatar",
        "content_ref": f"content of {request_id}",
        "uploader_ref": "u1",
        "labels": {"lang": "de"},
    }
    return Flag(**{**plain, **fields})
