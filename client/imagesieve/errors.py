"""Every error that the client raises, in one tree.

    ImagesieveError
    ├── RequestError              the same request would fail again
    │   ├── InvalidRequest        a field is missing, malformed or out of range
    │   ├── ImageEmpty, ImageTooLarge, ImageFormatUnsupported, ImageUndecodable
    │   ├── UnknownPolicy, UnknownCategory
    │   ├── RequestIdReused       same request_id, other content
    │   ├── ItemNotFound, LeaseLost, DecisionConflict, GroupChanged, StateConflict, CursorExpired
    │   ├── Unauthenticated, PermissionDenied
    │   └── NotBuilt              part of the contract, not of this server's release
    ├── Unavailable               no answer for now; the same request may be sent again
    │   ├── Unreachable           no server answered at all
    │   ├── Overloaded, DeadlineUnmeetable, DeadlinePassed, QuotaExceeded, ShuttingDown
    │   └── EncoderUnavailable, StoreUnavailable
    └── ServerFault               the server failed in a way it does not name

``Client.moderate`` raises nothing below ``Unavailable``: it answers UNDECIDED with the reason.
Every other method raises it. Knows no gRPC message; ``status.py`` builds these from one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One field of a request that breaks a rule."""

    field: str  # its path in the message
    description: str


class ImagesieveError(Exception):
    """Base of every error of this package.

    ``reason`` is stable and machine-readable. ``metadata`` holds short facts. ``code`` is the
    gRPC status, None where the client found the error before any call. ``retry_after_s`` is
    the server's hint in seconds, None where it gave none.
    """

    reason: str = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        code: grpc.StatusCode | None = None,
        retry_after_s: float | None = None,
        violations: tuple[FieldViolation, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.metadata: dict[str, str] = dict(metadata or {})
        self.code = code
        self.retry_after_s = retry_after_s
        self.violations = violations


# --- the same request would fail again --------------------------------------------------


class RequestError(ImagesieveError):
    """The caller must change the request, or its rights."""

    reason = "REQUEST_REFUSED"


class InvalidRequest(RequestError):
    """A field of the request breaks a rule; ``violations`` name each one that the server found."""

    reason = "INVALID_REQUEST"

    @property
    def field(self) -> str:
        """Path of the first field that breaks a rule, "" where the server named none."""
        named = self.metadata.get("field", "")
        return named or next((v.field for v in self.violations), "")


class ImageEmpty(RequestError):
    """The image has no bytes."""

    reason = "IMAGE_EMPTY"


class ImageTooLarge(RequestError):
    """The image has more bytes than the client sends or the server accepts."""

    reason = "IMAGE_TOO_LARGE"


class ImageFormatUnsupported(RequestError):
    """The bytes do not begin as an allowed format does."""

    reason = "IMAGE_FORMAT_UNSUPPORTED"


class ImageUndecodable(RequestError):
    """No picture could be made of the bytes, and the policy refuses such files."""

    reason = "IMAGE_UNDECODABLE"

    @property
    def detail(self) -> str:
        """Why, from the server's fixed list, for example TRUNCATED."""
        return self.metadata.get("detail", "")


class UnknownPolicy(RequestError):
    """No policy of that name is loaded."""

    reason = "UNKNOWN_POLICY"


class UnknownCategory(RequestError):
    """The policy has no category of that id."""

    reason = "UNKNOWN_CATEGORY"


class RequestIdReused(RequestError):
    """The request_id is known with other bytes, policy, categories, surface or mode."""

    reason = "REQUEST_ID_REUSED"


class ItemNotFound(RequestError):
    """There is no review item of that id."""

    reason = "ITEM_NOT_FOUND"


class LeaseLost(RequestError):
    """The token is not the item's present lease: it expired, was released or fenced out."""

    reason = "LEASE_LOST"


class DecisionConflict(RequestError):
    """Another decision was recorded with the same token."""

    reason = "DECISION_CONFLICT"


class GroupChanged(RequestError):
    """The group has members that would be closed and were not shown; look at it again."""

    reason = "GROUP_CHANGED"


class StateConflict(RequestError):
    """The item's state does not allow this change."""

    reason = "STATE_CONFLICT"


class CursorExpired(RequestError):
    """The cursor or page token points to something the server no longer keeps."""

    reason = "CURSOR_EXPIRED"


class Unauthenticated(RequestError):
    """The server does not know who is calling."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(RequestError):
    """The caller's role does not include this method."""

    reason = "PERMISSION_DENIED"


class NotBuilt(RequestError):
    """The contract names it; the server's release does not do it."""

    reason = "NOT_IMPLEMENTED"


# --- no answer for now ------------------------------------------------------------------


class Unavailable(ImagesieveError):
    """The request is fine, and the budget was spent without an answer."""

    reason = "UNAVAILABLE"


class Unreachable(Unavailable):
    """No server answered at all."""

    reason = "UNREACHABLE"


class Overloaded(Unavailable):
    """The server shed load."""

    reason = "OVERLOADED"


class DeadlineUnmeetable(Unavailable):
    """The server predicted that it could not answer within the timeout, and did not begin."""

    reason = "DEADLINE_UNMEETABLE"


class DeadlinePassed(Unavailable):
    """The timeout passed before an answer came."""

    reason = "DEADLINE_PASSED"


class QuotaExceeded(Unavailable):
    """A quota of the caller is used up."""

    reason = "QUOTA_EXCEEDED"

    @property
    def subject(self) -> str:
        """The quota's name."""
        return self.metadata.get("subject", "")


class ShuttingDown(Unavailable):
    """The server is draining."""

    reason = "SHUTTING_DOWN"


class EncoderUnavailable(Unavailable):
    """The server's encoder is down and the policy says to hold."""

    reason = "ENCODER_UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """The review queue cannot keep a flag at present."""

    reason = "STORE_UNAVAILABLE"


# --- everything else --------------------------------------------------------------------


class ServerFault(ImagesieveError):
    """The server failed without a reason that this client knows."""

    reason = "INTERNAL"
