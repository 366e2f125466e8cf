"""What a caller is told in every case that was thought of: the rows of docs/reference/statuses.md.

``tests/end_to_end/test_statuses.py`` makes each case happen over a real server and compares.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one caller is told."""

    status: str  # the gRPC code
    reason: str = ""  # ErrorInfo.reason; "" where gRPC itself answers, without details
    details: tuple[str, ...] = ()  # google.rpc messages beside the ErrorInfo
    pushback: str = ""  # grpc-retry-pushback-ms: "" (none), "-1" or "delay"
    answer: str = ""  # what an OK says


def ok(answer: str) -> Told:
    return Told(status="OK", answer=answer)


def invalid(reason: str) -> Told:
    return Told(status="INVALID_ARGUMENT", reason=reason, details=("BadRequest",))


PASSED = Told(status="DEADLINE_EXCEEDED", reason="DEADLINE_PASSED", pushback="-1")
BY_ITS_OWN_CLOCK = Told(status="DEADLINE_EXCEEDED")
OVERLOADED = Told(
    status="UNAVAILABLE", reason="OVERLOADED", details=("RetryInfo",), pushback="delay"
)
UNMEETABLE = Told(
    status="UNAVAILABLE", reason="DEADLINE_UNMEETABLE", details=("RetryInfo",), pushback="-1"
)
REUSED = Told(status="ALREADY_EXISTS", reason="REQUEST_ID_REUSED")
STORE = Told(status="UNAVAILABLE", reason="STORE_UNAVAILABLE")
ENCODER = Told(status="UNAVAILABLE", reason="ENCODER_UNAVAILABLE")

CASES: dict[str, Told] = {
    # --- time
    "no deadline, and no answer within ten seconds": PASSED,
    "a deadline of 1 ms (the caller's own clock)": BY_ITS_OWN_CLOCK,
    "a message that is not sent before the deadline": PASSED,
    # --- the image
    "21 MiB": invalid("IMAGE_TOO_LARGE"),
    "60 MiB (above the transport's 48 MiB)": Told(status="RESOURCE_EXHAUSTED"),
    "0 bytes": invalid("IMAGE_EMPTY"),
    "a text file": invalid("IMAGE_FORMAT_UNSUPPORTED"),
    "a location in place of bytes": Told(status="UNIMPLEMENTED", reason="NOT_IMPLEMENTED"),
    "a truncated JPEG, `on_undecodable: review`": ok("REVIEW UNDECODABLE"),
    "a truncated file, `on_undecodable: reject`": invalid("IMAGE_UNDECODABLE"),
    "more undecodable files than the hour's quota": Told(
        status="RESOURCE_EXHAUSTED",
        reason="QUOTA_EXCEEDED",
        details=("QuotaFailure", "RetryInfo"),
        pushback="-1",
    ),
    # --- the request
    "no request_id": invalid("INVALID_REQUEST"),
    "an unknown category": invalid("UNKNOWN_CATEGORY"),
    "an unknown policy": Told(status="NOT_FOUND", reason="UNKNOWN_POLICY"),
    "65 images in one batch": invalid("INVALID_REQUEST"),
    "an unknown method": Told(status="UNIMPLEMENTED"),
    "an ALLOW's request_id with other bytes": REUSED,
    "a flag's request_id with other bytes": REUSED,
    "Moderate repeated after a lost answer": ok("the same answer"),
    # --- review
    "Claim repeated after a lost answer": ok("the same lease"),
    "Decide repeated after a lost answer": ok("the same record"),
    "Decide repeated with other content": Told(
        status="FAILED_PRECONDITION", reason="DECISION_CONFLICT"
    ),
    "Decide with a token that is not the lease's": Told(
        status="FAILED_PRECONDITION", reason="LEASE_LOST"
    ),
    "an item nobody knows": Told(status="NOT_FOUND", reason="ITEM_NOT_FOUND"),
    "Requeue of an item that is decided": Told(
        status="FAILED_PRECONDITION", reason="STATE_CONFLICT"
    ),
    "WatchDecisions with a cursor that is none": Told(
        status="OUT_OF_RANGE", reason="CURSOR_EXPIRED"
    ),
    # --- load
    "no room": OVERLOADED,
    "no room, and the turn comes after the deadline": UNMEETABLE,
    "a deadline before the predicted wait is over": UNMEETABLE,
    "2 000 callers at once, those without a place": OVERLOADED,
    "a caller that disappears in the middle of a stream": Told(status="CANCELLED"),
    # --- a part is down
    "encoder down, `on_unavailable: hold`": ENCODER,
    "encoder down, `on_unavailable: review`": ok("REVIEW UNSCORED degraded"),
    "encoder down, `on_unavailable: allow`": ok("ALLOW POLICY_FAIL_OPEN degraded"),
    "store down, an ordinary image": ok("ALLOW"),
    "store down, a flagged image": STORE,
    "store down, a reviewer": STORE,
    "a fault of the server": Told(status="INTERNAL", reason="INTERNAL", pushback="-1"),
    # --- the end
    "a stream on a server that drains": Told(status="UNAVAILABLE", reason="SHUTTING_DOWN"),
    "a new call on a server that drains": Told(status="UNAVAILABLE"),
}
"""Every case, by what the caller does or meets."""

ELSEWHERE = {
    "UNAUTHENTICATED": "who calls",
    "PERMISSION_DENIED": "roles",
    "GROUP_CHANGED": "groups of look-alikes",
}
"""Reasons without a case here, and what they are about."""


def rows() -> list[tuple[str, ...]]:
    """The table of the documentation."""
    return [
        (
            case,
            told.status,
            f"`{told.reason}`" if told.reason else told.answer,
            ", ".join(told.details),
            told.pushback,
        )
        for case, told in CASES.items()
    ]
