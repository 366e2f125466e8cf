"""The review queue's calls as values. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from google.protobuf.message import Message

from imagesieve.calls import Call, StreamCall
from imagesieve.review_results import (
    Decision,
    DecisionEvent,
    Erasure,
    Item,
    ItemPage,
    ItemState,
    Lease,
    Outcome,
    QueueStats,
    ReopenCause,
)
from imagesieve.review_wire import (
    DECISION,
    ERASURE,
    ITEM,
    OUTCOMES,
    PAGE,
    REOPEN_CAUSES,
    STATES,
    read_event,
    read_lease,
    read_stats,
)
from imagesieve.tables import TIME
from imagesieve.v1 import review_pb2 as pb

_REVIEW = "/imagesieve.v1.ReviewService/"

_WithItem = TypeVar("_WithItem", pb.ReleaseResponse, pb.RequeueResponse, pb.ReopenResponse)


def claim(
    *,
    reviewer: str,
    categories: Sequence[str],
    tier: int,
    lease_s: int,
    include_image: bool,
    item_id: str,
    claim_id: str | None,
    timeout_s: float,
) -> Call[pb.ClaimResponse, Lease | None]:
    """The claim_id is fixed before the first attempt: a repeated attempt gets the same lease."""
    return Call(
        path=_REVIEW + "Claim",
        request=pb.ClaimRequest(
            claim_id=claim_id or uuid.uuid4().hex,
            reviewer=reviewer,
            categories=categories,
            tier=tier,
            lease_seconds=lease_s,
            include_image=include_image,
            item_id=item_id,
        ),
        answer=pb.ClaimResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: read_lease(answer),
    )


def extend(
    item_id: str, token: str, *, lease_s: int, timeout_s: float
) -> Call[pb.ExtendResponse, datetime | None]:
    return Call(
        path=_REVIEW + "Extend",
        request=pb.ExtendRequest(item_id=item_id, token=token, lease_seconds=lease_s),
        answer=pb.ExtendResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: TIME.read(answer, "lease_until"),
    )


def release(item_id: str, token: str, *, timeout_s: float) -> Call[pb.ReleaseResponse, Item]:
    request = pb.ReleaseRequest(item_id=item_id, token=token)
    return _item_call("Release", request, pb.ReleaseResponse, timeout_s)


def decide(
    item_id: str,
    token: str,
    outcome: Outcome,
    *,
    labels: Sequence[str],
    note: str,
    reviewer: str,
    timeout_s: float,
) -> Call[pb.DecideResponse, Decision]:
    return Call(
        path=_REVIEW + "Decide",
        request=pb.DecideRequest(
            item_id=item_id,
            token=token,
            outcome=OUTCOMES.number(outcome),
            labels=labels,
            note=note,
            reviewer=reviewer,
        ),
        answer=pb.DecideResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: DECISION.read(answer.decision),
    )


def get(item_id: str, *, include_image: bool, timeout_s: float) -> Call[pb.GetResponse, Item]:
    return Call(
        path=_REVIEW + "Get",
        request=pb.GetRequest(item_id=item_id, include_image=include_image),
        answer=pb.GetResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: ITEM.read(answer.item, image=answer.image),
    )


def list_page(
    *,
    states: Sequence[ItemState],
    category: str,
    reason: str = "",
    min_age_s: float = 0.0,
    max_age_s: float = 0.0,
    page_size: int,
    page_token: str,
    timeout_s: float,
) -> Call[pb.ListResponse, ItemPage]:
    return Call(
        path=_REVIEW + "List",
        request=pb.ListRequest(
            states=[STATES.number(state) for state in states],
            category=category,
            reason=reason,
            min_age_seconds=min_age_s,
            max_age_seconds=max_age_s,
            page_size=page_size,
            page_token=page_token,
        ),
        answer=pb.ListResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: PAGE.read(answer),
    )


def stats(*, timeout_s: float) -> Call[pb.StatsResponse, QueueStats]:
    return Call(
        path=_REVIEW + "Stats",
        request=pb.StatsRequest(),
        answer=pb.StatsResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: read_stats(answer),
    )


def requeue(item_id: str, *, timeout_s: float) -> Call[pb.RequeueResponse, Item]:
    request = pb.RequeueRequest(item_id=item_id)
    return _item_call("Requeue", request, pb.RequeueResponse, timeout_s)


def reopen(
    item_id: str,
    cause: ReopenCause,
    *,
    decision_id: str,
    note: str,
    reopened_by: str,
    timeout_s: float,
) -> Call[pb.ReopenResponse, Item]:
    request = pb.ReopenRequest(
        item_id=item_id,
        cause=REOPEN_CAUSES.number(cause),
        decision_id=decision_id,
        note=note,
        reopened_by=reopened_by,
    )
    return _item_call("Reopen", request, pb.ReopenResponse, timeout_s)


def erase(
    *, sha256: str, item_id: str, reason: str, erased_by: str, timeout_s: float
) -> Call[pb.EraseResponse, Erasure]:
    return Call(
        path=_REVIEW + "Erase",
        request=pb.EraseRequest(sha256=sha256, item_id=item_id, reason=reason, erased_by=erased_by),
        answer=pb.EraseResponse,
        timeout_s=timeout_s,
        read=lambda answer, _: ERASURE.read(answer),
    )


def watch(
    *, cursor: str, from_oldest: bool
) -> StreamCall[pb.WatchDecisionsResponse, tuple[str, DecisionEvent | None]]:
    return StreamCall(
        path=_REVIEW + "WatchDecisions",
        request=pb.WatchDecisionsRequest(cursor=cursor, from_oldest=from_oldest),
        answer=pb.WatchDecisionsResponse,
        read=read_event,
    )


def _item_call(
    method: str, request: Message, answer: type[_WithItem], timeout_s: float
) -> Call[_WithItem, Item]:
    return Call(
        path=_REVIEW + method,
        request=request,
        answer=answer,
        timeout_s=timeout_s,
        read=lambda message, _: ITEM.read(message.item),
    )
