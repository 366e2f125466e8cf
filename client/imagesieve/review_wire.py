"""The tables of the review queue's messages."""

from __future__ import annotations

from imagesieve import review_results
from imagesieve.review_results import ItemState, Outcome, ReopenCause
from imagesieve.tables import MAYBE, PAIRS, TEXTS, TIME, EnumField, Many, One, Table, plain
from imagesieve.v1 import review_pb2 as pb
from imagesieve.wire import RESULT, VERDICTS

STATES = EnumField(
    {
        pb.ITEM_STATE_READY: ItemState.READY,
        pb.ITEM_STATE_LEASED: ItemState.LEASED,
        pb.ITEM_STATE_PARKED: ItemState.PARKED,
        pb.ITEM_STATE_DECIDED: ItemState.DECIDED,
        pb.ITEM_STATE_EXPIRED: ItemState.EXPIRED,
    },
    fallback=ItemState.UNKNOWN,
)
OUTCOMES = EnumField(
    {
        pb.OUTCOME_APPROVE: Outcome.APPROVE,
        pb.OUTCOME_REJECT: Outcome.REJECT,
        pb.OUTCOME_ESCALATE: Outcome.ESCALATE,
    },
    fallback=Outcome.UNKNOWN,
)
REOPEN_CAUSES = EnumField(
    {
        pb.REOPEN_CAUSE_APPEAL: ReopenCause.APPEAL,
        pb.REOPEN_CAUSE_UNDO: ReopenCause.UNDO,
        pb.REOPEN_CAUSE_OVERTURN: ReopenCause.OVERTURN,
    },
    fallback=ReopenCause.UNKNOWN,
)

DECISION = Table(
    review_results.Decision,
    pb.Decision,
    plain("decision_id", "item_id", "round", "note", "reviewer", "effective", "supersedes")
    | plain("cause", "policy_version", "model_version")
    | {"outcome": OUTCOMES, "labels": TEXTS, "decided_at": TIME},
)
ITEM = Table(
    review_results.Item,
    pb.Item,
    plain("item_id", "sha256", "policy", "policy_version", "model_version", "category")
    | plain("severity", "score", "media_type", "size_bytes", "surface", "content_ref")
    | plain("uploader_ref", "submissions", "round", "tier", "reviews_needed", "expiries")
    | plain("claimed_by", "group_id", "opened_by", "opening_note", "attached_to")
    | {
        "state": STATES,
        "verdict": VERDICTS,
        "reasons": TEXTS,
        "answer": One(RESULT),
        "enqueued_at": TIME,
        "due_at": TIME,
        "labels": PAIRS,
        "claimed_at": TIME,
        "lease_until": TIME,
        "decisions": Many(DECISION),
        "earlier": One(DECISION),
    },
)
PAGE = Table(
    review_results.ItemPage,
    pb.ListResponse,
    plain("next_page_token") | {"items": Many(ITEM)},
)
ERASURE = Table(
    review_results.Erasure, pb.EraseResponse, plain("sha256") | {"decisions": Many(DECISION)}
)
EVENT = Table(
    review_results.DecisionEvent,
    pb.WatchDecisionsResponse,
    plain("request_id", "cursor", "sha256", "content_ref", "uploader_ref", "surface")
    | {"decision": One(DECISION), "labels": PAIRS},
)


def read_event(
    message: pb.WatchDecisionsResponse,
) -> tuple[str, review_results.DecisionEvent | None]:
    """The cursor, and the event where there is one."""
    event = EVENT.read(message) if message.HasField("decision") else None
    return message.cursor, event


def read_lease(message: pb.ClaimResponse) -> review_results.Lease | None:
    """The lease, None where nothing is ready."""
    if not message.HasField("item"):
        return None
    return review_results.Lease(
        item=ITEM.read(message.item, image=message.image),
        token=message.token,
        lease_until=TIME.read(message, "lease_until"),
    )


def read_stats(message: pb.StatsResponse) -> review_results.QueueStats:
    return review_results.QueueStats(
        ready=message.ready,
        leased=message.leased,
        parked=message.parked,
        oldest_ready_age_s=MAYBE.read(message, "oldest_ready_age_seconds"),
        awaiting_second_review=message.awaiting_second_review,
    )
