"""The fake server's methods as a table: messages in, the state's answers out. No sockets.

A method that is absent here is UNIMPLEMENTED, as gRPC says it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from imagesieve.backlog import BATCH_ITEMS
from imagesieve.errors import ImagesieveError, InvalidRequest
from imagesieve.policy_results import HealthStatus
from imagesieve.review_wire import (
    DECISION,
    ERASURE,
    EVENT,
    ITEM,
    OUTCOMES,
    PAGE,
    REOPEN_CAUSES,
    STATES,
)
from imagesieve.testing.group_services import GROUP_ROWS
from imagesieve.testing.quality_services import QUALITY_ROWS
from imagesieve.testing.rules import ReceivedRequest
from imagesieve.testing.state import FakeState, NoAnswer
from imagesieve.testing.statuses import item_error_of
from imagesieve.v1 import moderation_pb2 as mpb
from imagesieve.v1 import policy_pb2 as ppb
from imagesieve.v1 import review_pb2 as rpb
from imagesieve.wire import POLICY, RELOAD, RESULT

Metadata: TypeAlias = Mapping[str, str | bytes]

_HEALTH_NUMBERS = {
    HealthStatus.UNKNOWN: 0,
    HealthStatus.SERVING: 1,
    HealthStatus.NOT_SERVING: 2,
    HealthStatus.SERVICE_UNKNOWN: 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method; ``streams`` where it answers again and again, until nobody listens."""

    service: str
    name: str
    request: type[Message]
    work: Callable[..., Any]  # state and request to a message, or with ``active`` to several
    streams: bool = False

    @property
    def is_about_images(self) -> bool:
        """Whether ``work`` takes the images that arrived instead of the message."""
        return self.request in (mpb.ModerateRequest, mpb.ModerateBatchRequest)


def received(request: mpb.ModerateRequest, metadata: Metadata) -> ReceivedRequest:
    """A Moderate message as a test sees it."""
    return ReceivedRequest(
        request_id=request.request_id,
        image=request.image,
        policy=request.policy,
        categories=tuple(request.categories),
        surface=request.surface,
        content_ref=request.content_ref,
        uploader_ref=request.uploader_ref,
        labels=dict(request.labels),
        dry_run=request.mode == mpb.MODERATE_MODE_DRY_RUN,
        metadata=dict(metadata),
    )


def arrivals(request: Any, metadata: Metadata) -> tuple[ReceivedRequest, ...]:
    """The images that a message asks about; none for the methods that are about no image."""
    if isinstance(request, mpb.ModerateRequest):
        return (received(request, metadata),)
    if isinstance(request, mpb.ModerateBatchRequest):
        return tuple(received(one, metadata) for one in request.requests)
    return ()


def _moderate(state: FakeState, requests: Sequence[ReceivedRequest]) -> Message:
    answer: Message = RESULT.write(state.moderate(requests[0]))
    return answer


def _moderate_batch(state: FakeState, requests: Sequence[ReceivedRequest]) -> Message:
    if not 1 <= len(requests) <= BATCH_ITEMS:
        raise InvalidRequest(f"requests: 1 to {BATCH_ITEMS}", metadata={"field": "requests"})
    return mpb.ModerateBatchResponse(results=[_result(state, one) for one in requests])


def _result(state: FakeState, request: ReceivedRequest) -> mpb.ModerateResult:
    result = mpb.ModerateResult(request_id=request.request_id)
    try:
        result.response.CopyFrom(RESULT.write(state.moderate(request)))
    except ImagesieveError as error:
        result.error.CopyFrom(item_error_of(error))
    except NoAnswer as silence:
        result.error.CopyFrom(item_error_of(silence.error))
    return result


def _claim(state: FakeState, request: rpb.ClaimRequest) -> Message:
    lease = state.queue.claim(
        claim_id=request.claim_id,
        reviewer=request.reviewer,
        categories=tuple(request.categories),
        tier=request.tier,
        lease_s=request.lease_seconds,
        item_id=request.item_id,
    )
    if lease is None:
        return rpb.ClaimResponse()
    return rpb.ClaimResponse(
        item=ITEM.write(lease.item),
        token=lease.token,
        lease_until=_timestamp(lease.lease_until),
        image=state.image(lease.item.item_id) if request.include_image else b"",
    )


def _extend(state: FakeState, request: rpb.ExtendRequest) -> Message:
    until = state.queue.extend(request.item_id, request.token, request.lease_seconds)
    return rpb.ExtendResponse(lease_until=_timestamp(until))


def _release(state: FakeState, request: rpb.ReleaseRequest) -> Message:
    item = state.queue.release(request.item_id, request.token)
    return rpb.ReleaseResponse(item=ITEM.write(item))


def _decide(state: FakeState, request: rpb.DecideRequest) -> Message:
    decision = state.queue.decide(
        request.item_id,
        request.token,
        OUTCOMES.of(request.outcome),
        labels=tuple(request.labels),
        note=request.note,
        reviewer=request.reviewer,
    )
    return rpb.DecideResponse(decision=DECISION.write(decision))


def _get(state: FakeState, request: rpb.GetRequest) -> Message:
    item = state.queue.get(request.item_id)
    image = state.image(item.item_id) if request.include_image else b""
    return rpb.GetResponse(item=ITEM.write(item), image=image)


def _list(state: FakeState, request: rpb.ListRequest) -> Message:
    page = state.queue.list(
        states=tuple(STATES.of(number) for number in request.states),
        category=request.category,
        reason=request.reason,
        min_age_s=request.min_age_seconds,
        max_age_s=request.max_age_seconds,
        page_size=request.page_size,
        page_token=request.page_token,
    )
    answer: Message = PAGE.write(page)
    return answer


def _stats(state: FakeState, request: rpb.StatsRequest) -> Message:
    stats = state.queue.stats()
    return rpb.StatsResponse(
        ready=stats.ready,
        leased=stats.leased,
        parked=stats.parked,
        oldest_ready_age_seconds=stats.oldest_ready_age_s,
    )


def _requeue(state: FakeState, request: rpb.RequeueRequest) -> Message:
    return rpb.RequeueResponse(item=ITEM.write(state.queue.requeue(request.item_id)))


def _reopen(state: FakeState, request: rpb.ReopenRequest) -> Message:
    item = state.queue.reopen(
        request.item_id,
        REOPEN_CAUSES.of(request.cause),
        decision_id=request.decision_id,
        note=request.note,
    )
    return rpb.ReopenResponse(item=ITEM.write(item))


def _erase(state: FakeState, request: rpb.EraseRequest) -> Message:
    erasure = state.queue.erase(
        sha256=request.sha256,
        item_id=request.item_id,
        reason=request.reason,
        erased_by=request.erased_by,
    )
    for decision in erasure.decisions:
        state.forget_image(decision.item_id)
    answer: Message = ERASURE.write(erasure)
    return answer


def _watch(
    state: FakeState, request: rpb.WatchDecisionsRequest, active: Callable[[], bool]
) -> Iterator[Message]:
    with state.lock:
        events, cursor = state.queue.events(request.cursor, from_oldest=request.from_oldest)
        ended = state.watches_ended
    yield rpb.WatchDecisionsResponse(cursor=request.cursor or ("" if events else cursor))
    while active() and state.watches_ended == ended:
        for event in events:
            yield EVENT.write(event)
        with state.called:
            events, cursor = state.queue.events(cursor, from_oldest=False)
            if not events:
                state.called.wait(0.1)  # and look whether somebody still listens


def _get_policy(state: FakeState, request: ppb.GetPolicyRequest) -> Message:
    return ppb.GetPolicyResponse(policy=POLICY.write(state.policy(request.name)))


def _list_policies(state: FakeState, request: ppb.ListPoliciesRequest) -> Message:
    return ppb.ListPoliciesResponse(policies=[POLICY.write(p) for p in state.policies])


def _reload_policies(state: FakeState, request: ppb.ReloadPoliciesRequest) -> Message:
    answer: Message = RELOAD.write(state.reload())
    return answer


def _health(state: FakeState, request: StringValue) -> Message:
    return Int32Value(value=_HEALTH_NUMBERS[state.health])


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _methods(service: str, *rows: tuple[str, type[Message], Any]) -> tuple[Method, ...]:
    return tuple(
        Method(service=service, name=name, request=request, work=work)
        for name, request, work in rows
    )


METHODS: tuple[Method, ...] = (
    *_methods(
        "imagesieve.v1.ModerationService",
        ("Moderate", mpb.ModerateRequest, _moderate),
        ("ModerateBatch", mpb.ModerateBatchRequest, _moderate_batch),
    ),
    *_methods(
        "imagesieve.v1.ReviewService",
        ("Claim", rpb.ClaimRequest, _claim),
        ("Extend", rpb.ExtendRequest, _extend),
        ("Release", rpb.ReleaseRequest, _release),
        ("Decide", rpb.DecideRequest, _decide),
        ("Get", rpb.GetRequest, _get),
        ("List", rpb.ListRequest, _list),
        ("Stats", rpb.StatsRequest, _stats),
        ("Requeue", rpb.RequeueRequest, _requeue),
        ("Reopen", rpb.ReopenRequest, _reopen),
        ("Erase", rpb.EraseRequest, _erase),
        *GROUP_ROWS,
    ),
    Method(
        service="imagesieve.v1.ReviewService",
        name="WatchDecisions",
        request=rpb.WatchDecisionsRequest,
        work=_watch,
        streams=True,
    ),
    *_methods("imagesieve.v1.QualityService", *QUALITY_ROWS),
    *_methods(
        "imagesieve.v1.PolicyService",
        ("GetPolicy", ppb.GetPolicyRequest, _get_policy),
        ("ListPolicies", ppb.ListPoliciesRequest, _list_policies),
        ("ReloadPolicies", ppb.ReloadPoliciesRequest, _reload_policies),
    ),
    # As in the client's own health call, protobuf's wrappers stand for the health messages.
    *_methods("grpc.health.v1.Health", ("Check", StringValue, _health)),
)
