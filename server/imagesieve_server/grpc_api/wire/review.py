"""The review queue's requests, items and decisions to messages and back."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TypedDict

from google.protobuf.timestamp_pb2 import Timestamp

from imagesieve.v1 import moderation_pb2, review_pb2
from imagesieve_server.core import answer, review, review_afterwards
from imagesieve_server.core.errors import InvalidRequest
from imagesieve_server.core.review_events import DecisionEvent
from imagesieve_server.core.verdict import ReasonCode
from imagesieve_server.grpc_api.wire import checks, enums
from imagesieve_server.grpc_api.wire.moderation import response_of
from imagesieve_server.grpc_api.wire.seen import Reader, as_seen, withhold

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500
MAX_TIER = 100
MAX_AGE_S = 100 * 365 * 86_400.0

log = logging.getLogger(__name__)


def read_claim(message: review_pb2.ClaimRequest, *, tenant: str, name: str) -> review.ClaimRequest:
    """Check and convert; ``name`` is the caller's proved name. Raises InvalidRequest."""
    return review.ClaimRequest(
        tenant=tenant,
        reviewer=proved_name("reviewer", message.reviewer, name, required=True),
        claim_id=checks.text("claim_id", message.claim_id, limit=checks.MAX_ID, required=True),
        categories=checks.texts("categories", message.categories, required=False),
        tier=checks.within("tier", message.tier, low=0, high=MAX_TIER) or 1,
        lease_s=lease_seconds(message.lease_seconds),
        item_id=checks.text("item_id", message.item_id, limit=checks.MAX_ID),
    )


def lease_seconds(value: int) -> float:
    """A lease's length; 0 is the default. Raises InvalidRequest."""
    limit = int(review.LEASE_MAX_S)
    return float(checks.within("lease_seconds", value, low=0, high=limit) or review.LEASE_S)


def item_id(value: str) -> str:
    """Raises InvalidRequest."""
    return checks.text("item_id", value, limit=checks.MAX_ID, required=True)


def token(value: str) -> str:
    """Raises InvalidRequest."""
    return checks.text("token", value, limit=checks.MAX_TOKEN, required=True)


def read_decide(
    message: review_pb2.DecideRequest, *, tenant: str, name: str
) -> review.DecideRequest:
    """Check and convert; ``name`` is the caller's proved name. Raises InvalidRequest."""
    return review.DecideRequest(
        tenant=tenant,
        item_id=item_id(message.item_id),
        token=token(message.token),
        reviewer=proved_name("reviewer", message.reviewer, name, required=True),
        outcome=enums.from_wire(enums.OUTCOMES, message.outcome, field="outcome"),
        labels=checks.texts("labels", message.labels),
        note=checks.text("note", message.note, limit=checks.MAX_NOTE),
    )


def read_reopen(
    message: review_pb2.ReopenRequest, *, tenant: str, name: str
) -> review_afterwards.ReopenRequest:
    """Check and convert; ``name`` is the caller's proved name. Raises InvalidRequest."""
    return review_afterwards.ReopenRequest(
        tenant=tenant,
        item_id=item_id(message.item_id),
        cause=enums.from_wire(enums.REOPEN_CAUSES, message.cause, field="cause"),
        decision_id=checks.text("decision_id", message.decision_id, limit=checks.MAX_ID),
        note=checks.text("note", message.note, limit=checks.MAX_NOTE),
        actor=name or checks.text("reopened_by", message.reopened_by, limit=checks.MAX_ID),
    )


def read_erase(
    message: review_pb2.EraseRequest, *, tenant: str, name: str
) -> review_afterwards.EraseRequest:
    """Check and convert; ``name`` is the caller's proved name. Raises InvalidRequest."""
    return review_afterwards.EraseRequest(
        tenant=tenant,
        sha256=checks.text("sha256", message.sha256, limit=checks.MAX_ID),
        item_id=checks.text("item_id", message.item_id, limit=checks.MAX_ID),
        reason=checks.text("reason", message.reason, limit=checks.MAX_NOTE, required=True),
        actor=name or checks.text("erased_by", message.erased_by, limit=checks.MAX_ID),
    )


def read_list(message: review_pb2.ListRequest, *, tenant: str, blind: bool) -> review.ListRequest:
    """Check and convert; ``blind``: for a caller who must not know what tells an audit sample
    from a flag. Raises InvalidRequest."""
    size = checks.within("page_size", message.page_size, low=0, high=MAX_PAGE_SIZE)
    if len(message.states) > len(enums.STATES):
        raise InvalidRequest("states", "names a state twice")
    told = bool(message.reason or message.min_age_seconds or message.max_age_seconds)
    return review.ListRequest(
        tenant=tenant,
        states=tuple(
            enums.from_wire(enums.STATES, state, field=f"states[{index}]")
            for index, state in enumerate(message.states)
        ),
        category=checks.text("category", message.category, limit=checks.MAX_ID),
        reason=_reason(message.reason),
        min_age_s=_age("min_age_seconds", message.min_age_seconds),
        max_age_s=_age("max_age_seconds", message.max_age_seconds),
        told_only=blind and told,
        page_size=size or DEFAULT_PAGE_SIZE,
        page_token=checks.text("page_token", message.page_token, limit=checks.MAX_PAGE_TOKEN),
    )


def _reason(code: str) -> ReasonCode | None:
    if not code:
        return None
    try:
        return ReasonCode(code)
    except ValueError:
        known = ", ".join(ReasonCode)
        raise InvalidRequest("reason", f"is not known; known: {known}") from None


def _age(field: str, seconds: float) -> float:
    if not 0 <= seconds <= MAX_AGE_S:  # NaN is neither
        raise InvalidRequest(field, f"must be from 0 to {MAX_AGE_S:.0f}")
    return seconds


class WatchStart(TypedDict):
    """Where a watch begins."""

    cursor: str
    from_oldest: bool


def read_watch(message: review_pb2.WatchDecisionsRequest) -> WatchStart:
    """Check and convert. Raises InvalidRequest."""
    if message.cursor and message.from_oldest:
        raise InvalidRequest("from_oldest", "has no meaning beside a cursor")
    cursor = checks.text("cursor", message.cursor, limit=checks.MAX_PAGE_TOKEN)
    return WatchStart(cursor=cursor, from_oldest=message.from_oldest)


def event_of(event: DecisionEvent) -> review_pb2.WatchDecisionsResponse:
    """One event as a message."""
    return review_pb2.WatchDecisionsResponse(
        decision=decision_of(event.decision),
        cursor=event.cursor,
        sha256=event.sha256,
        content_ref=event.content_ref,
        uploader_ref=event.uploader_ref,
        surface=event.surface,
        labels=event.labels,
        request_id=event.request_id,
    )


def item_of(item: review.Item, reader: Reader) -> review_pb2.Item:
    """The item as a message, as ``reader`` may see it."""
    message = _whole(as_seen(item, reader))
    withhold(message, item, reader)
    return message


def appealed(item: review.Item) -> review_pb2.Item:
    """What an uploader who appealed is told: where the item stands, and nothing of reviewers."""
    return review_pb2.Item(
        item_id=item.item_id,
        sha256=item.sha256,
        state=enums.STATES[item.state],
        round=item.round,
        opened_by=item.opened_by,
        attached_to=item.attached_to,
    )


def _whole(item: review.Item) -> review_pb2.Item:
    return review_pb2.Item(
        item_id=item.item_id,
        sha256=item.sha256,
        state=enums.STATES[item.state],
        verdict=enums.VERDICTS[item.verdict],
        policy=item.policy,
        policy_version=item.policy_version,
        model_version=item.model_version,
        reasons=[str(reason) for reason in item.reasons],
        category=item.category,
        severity=item.severity,
        score=item.score,
        answer=_answer(item),
        media_type=item.media_type,
        size_bytes=item.size_bytes,
        enqueued_at=timestamp(item.enqueued_at),
        due_at=timestamp(item.due_at),
        surface=item.surface,
        content_ref=item.content_ref,
        uploader_ref=item.uploader_ref,
        labels=item.labels,
        submissions=item.submissions,
        round=item.round,
        tier=item.tier,
        reviews_needed=item.reviews_needed,
        expiries=item.expiries,
        claimed_by=item.claimed_by,
        claimed_at=timestamp(item.claimed_at),
        lease_until=timestamp(item.lease_until),
        decisions=[decision_of(decision) for decision in item.decisions],
        opened_by=item.opened_by,
        opening_note=item.opening_note,
        attached_to=item.attached_to,
        group_id=item.group_id,
        earlier=decision_of(item.earlier) if item.earlier else None,
    )


def decision_of(record: review.DecisionRecord) -> review_pb2.Decision:
    """One decision as a message."""
    return review_pb2.Decision(
        decision_id=record.decision_id,
        item_id=record.item_id,
        round=record.round,
        outcome=enums.OUTCOMES[record.outcome],
        labels=record.labels,
        note=record.note,
        reviewer=record.reviewer,
        decided_at=timestamp(record.decided_at),
        effective=record.effective,
        supersedes=record.supersedes,
        cause=record.cause,
        policy_version=record.policy_version,
        model_version=record.model_version,
    )


def stats_of(stats: review.QueueStats, reader: Reader) -> review_pb2.StatsResponse:
    """The counts as a message; ages by the store's clock. Whoever claims an item and sees that
    one less awaits a second review would know that it is one."""
    told = reader.settles or not reader.decides
    oldest = stats.oldest_ready_at
    return review_pb2.StatsResponse(
        ready=stats.by_state.get(review.State.READY, 0),
        leased=stats.by_state.get(review.State.LEASED, 0),
        parked=stats.by_state.get(review.State.PARKED, 0),
        oldest_ready_age_seconds=None if oldest is None else max(0.0, stats.now - oldest),
        awaiting_second_review=stats.second_reviews if told else 0,
    )


def timestamp(seconds: float | None) -> Timestamp | None:
    """Seconds since the epoch to microseconds' precision; None stays absent."""
    if seconds is None:
        return None
    stamp = Timestamp()
    stamp.FromMicroseconds(round(seconds * 1e6))
    return stamp


def proved_name(field: str, claimed: str, proved: str, *, required: bool = False) -> str:
    """The proved name; without one the caller's word is all there is.

    Another name beside a proved one is refused: the record would not say what its writer meant.
    """
    name = checks.text(field, claimed, limit=checks.MAX_ID, required=required and not proved)
    if proved and name not in ("", proved):
        raise InvalidRequest(field, "must be empty or the caller's own name")
    return proved or name


def _answer(item: review.Item) -> moderation_pb2.ModerateResponse | None:
    """The stored answer; absent where it cannot be read, for the item must stay reviewable."""
    if not item.answer:
        return None
    try:
        stored = answer.from_json(item.answer)
    except (ValueError, KeyError, TypeError):
        log.warning("stored answer cannot be read", extra={"item_id": item.item_id})
        return None
    return response_of(replace(stored, item_id=item.item_id))
