"""Every failure that imagesieve names, in one tree.

    ImagesieveError
    ├── RequestError              the caller must change the request
    │   ├── InvalidRequest        a field is missing, malformed or out of range
    │   ├── ImageEmpty, ImageTooLarge, ImageFormatUnsupported
    │   ├── ImageUndecodable      right magic, broken inside (the policy may queue it instead)
    │   ├── UnknownPolicy, UnknownCategory
    │   ├── RequestIdReused       same request_id, other content
    │   ├── ItemNotFound, LeaseLost, DecisionConflict, ArrowNotAllowed, CursorExpired
    │   ├── GroupChanged          a group is not what the person who closes it was shown
    │   ├── Unauthenticated, PermissionDenied
    │   └── NotBuilt              part of the contract, not of this release
    ├── CapacityError             the caller may try again
    │   ├── Overloaded            shed load, with a retry delay
    │   ├── DeadlineUnmeetable    refused early: it cannot be done in time
    │   ├── DeadlinePassed        it ran out during the work
    │   ├── QuotaExceeded
    │   └── ShuttingDown
    ├── DependencyError           a part of the server is down
    │   ├── EncoderUnavailable
    │   └── StoreUnavailable
    └── StartupError              an operator must change a file or an installation
        ├── ConfigError, BundleError, PolicyError, MissingExtra
        ├── TooFewLabels          labelled pictures are too few for what was asked of them
        ├── LabelsError           a label file, or a picture that it names
        ├── StoreNotUsable        the queue's database or evidence folder
        ├── EmbeddingsDamaged     a file among the kept embeddings is broken or foreign
        └── NotComparable         policies or kept images that say nothing about each other

Each class carries its ``reason`` — the stable code that goes on the wire as
``google.rpc.ErrorInfo.reason`` and into metrics. ``grpc_api/status_codes.py`` is the one
table from these classes to gRPC status codes. Messages are written for the caller: they
never contain internal text such as a stack trace, a path of the server or a library's words.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import ClassVar

CAUSE = "cause"
"""The key of an error's metadata under which a library's own words stand."""


class ImagesieveError(Exception):
    """Base of every named failure.

    ``metadata`` holds short machine-readable facts (string to string) that are safe to send
    to the caller; but for ``CAUSE``, a library's own words, which are for operators only and
    never sent.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})

    @property
    def for_operators(self) -> str:
        """The message, and a library's own words where they were kept as ``CAUSE``."""
        cause = self.metadata.get(CAUSE, "")
        return f"{self.message} ({cause})" if cause else self.message


class UndecodableDetail(enum.StrEnum):
    """Why no picture could be made of a file; also the label of the failure metric."""

    TRUNCATED = "TRUNCATED"  # the data end before the picture does
    OVER_CAPS = "OVER_CAPS"  # the header announces more pixels, sides or frames than allowed
    DECODE_ERROR = "DECODE_ERROR"  # the codec refused it
    WORKER_KILLED = "WORKER_KILLED"  # a decode worker died on it (memory, crash)
    TIMED_OUT = "TIMED_OUT"  # it used up its wall-clock or CPU budget
    QUARANTINED = "QUARANTINED"  # its bytes killed fresh workers before


# --- the caller must change the request -------------------------------------------------


class RequestError(ImagesieveError):
    """The same request would fail again."""


class InvalidRequest(RequestError):
    """A field of the request breaks a rule; ``field`` is its path in the message."""

    reason = "INVALID_REQUEST"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}", metadata={"field": field})
        self.field = field
        self.problem = problem


class ImageEmpty(RequestError):
    """The image has no bytes."""

    reason = "IMAGE_EMPTY"


class ImageTooLarge(RequestError):
    """The image has more bytes than the server accepts."""

    reason = "IMAGE_TOO_LARGE"


class ImageFormatUnsupported(RequestError):
    """The bytes do not begin with the magic of an allowed format."""

    reason = "IMAGE_FORMAT_UNSUPPORTED"


class ImageUndecodable(RequestError):
    """The magic is an allowed format's, but no picture could be made of the bytes.

    ``detail`` says why, from a fixed list. Whether the caller sees this error or a REVIEW
    verdict is the policy's ``on_undecodable``.
    """

    reason = "IMAGE_UNDECODABLE"

    def __init__(self, message: str, *, detail: UndecodableDetail) -> None:
        super().__init__(message, metadata={"detail": detail.value})
        self.detail = detail


class UnknownPolicy(RequestError):
    """No policy of that name is loaded."""

    reason = "UNKNOWN_POLICY"


class UnknownCategory(RequestError):
    """The policy has no category of that id."""

    reason = "UNKNOWN_CATEGORY"


class RequestIdReused(RequestError):
    """The request_id is known with other bytes, policy, categories, surface or mode."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id {request_id!r} was used before with another image, policy, category "
            "list, surface or mode; make a new id for a new request",
            metadata={"request_id": request_id},
        )


class ItemNotFound(RequestError):
    """The tenant has no review item of that id."""

    reason = "ITEM_NOT_FOUND"


class LeaseLost(RequestError):
    """The token is not the item's present lease: it expired, was released or was fenced out."""

    reason = "LEASE_LOST"


class DecisionConflict(RequestError):
    """A decision with the same token but other content was recorded before."""

    reason = "DECISION_CONFLICT"


class GroupChanged(RequestError):
    """A group has members to be closed that the person who closes it was not shown."""

    reason = "GROUP_CHANGED"


class ArrowNotAllowed(RequestError):
    """The item's state does not allow this change (the table is in ``core/review.py``)."""

    reason = "STATE_CONFLICT"


class CursorExpired(RequestError):
    """The cursor points before the oldest event kept, or was not made by this server."""

    reason = "CURSOR_EXPIRED"


class Unauthenticated(RequestError):
    """The caller did not prove who it is."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(RequestError):
    """The caller is known, but its role does not include this method."""

    reason = "PERMISSION_DENIED"


class NotBuilt(RequestError):
    """The contract names it; this release does not do it yet."""

    reason = "NOT_IMPLEMENTED"


# --- the caller may try again -----------------------------------------------------------


class CapacityError(ImagesieveError):
    """The request is fine; there is no room or no time for it now."""


class Overloaded(CapacityError):
    """Load was shed. ``retry_after_s`` is the delay in seconds after which to try again."""

    reason = "OVERLOADED"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineUnmeetable(CapacityError):
    """The predicted wait is longer than the caller's deadline; no work was begun.

    A repeat within the same deadline cannot help; a new call ``retry_after_s`` seconds later
    can.
    """

    reason = "DEADLINE_UNMEETABLE"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlinePassed(CapacityError):
    """The caller's deadline passed while the work was under way."""

    reason = "DEADLINE_PASSED"


class QuotaExceeded(CapacityError):
    """A tenant's quota is used up. ``subject`` names the quota."""

    reason = "QUOTA_EXCEEDED"

    def __init__(self, message: str, *, subject: str, retry_after_s: float) -> None:
        super().__init__(message, metadata={"subject": subject})
        self.subject = subject
        self.retry_after_s = retry_after_s


class ShuttingDown(CapacityError):
    """The server is draining; another replica can answer."""

    reason = "SHUTTING_DOWN"


# --- a part of the server is down -------------------------------------------------------


class DependencyError(ImagesieveError):
    """A part that the answer depends on does not work at present."""


class EncoderUnavailable(DependencyError):
    """The encoder failed, timed out, or its canary differs."""

    reason = "ENCODER_UNAVAILABLE"


class StoreUnavailable(DependencyError):
    """The review queue cannot keep a flag at present, so no flagged verdict may leave."""

    reason = "STORE_UNAVAILABLE"


# --- an operator must change something --------------------------------------------------


class StartupError(ImagesieveError):
    """Found while reading files or building the server; never sent to a caller."""


class ConfigError(StartupError):
    """A setting is unknown, malformed or impossible."""

    reason = "CONFIG_INVALID"


class BundleError(StartupError):
    """A model bundle is incomplete, altered, or fails its checks."""

    reason = "BUNDLE_INVALID"


class MissingExtra(StartupError):
    """A command needs packages that are not installed; the message names the extra."""

    reason = "MISSING_EXTRA"


class TooFewLabels(StartupError):
    """What was asked cannot be said from so few labelled pictures; the message names the number
    that is needed."""

    reason = "TOO_FEW_LABELS"


class StoreNotUsable(StartupError):
    """The queue's store is not writable, in use by another server, or of another schema."""

    reason = "STORE_NOT_USABLE"


class EmbeddingsDamaged(StartupError):
    """A file of the embedding store cannot be read, or is no file of it. ``file`` is its path."""

    reason = "EMBEDDINGS_DAMAGED"

    def __init__(self, problem: str, *, file: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = file
        self.problem = problem


class NotComparable(StartupError):
    """Two policies, or policies and kept images, cannot be compared; the message says why."""

    reason = "NOT_COMPARABLE"


class PolicyError(StartupError):
    """A policy file breaks a rule. ``file``, ``line`` (1-based, None if unknown) and ``field``."""

    reason = "POLICY_INVALID"

    def __init__(
        self, problem: str, *, file: str = "", line: int | None = None, field: str = ""
    ) -> None:
        where = file + (f":{line}" if line is not None else "")
        super().__init__(": ".join(part for part in (where, field, problem) if part))
        self.file = file
        self.line = line
        self.field = field
        self.problem = problem


class LabelsError(StartupError):
    """A label file breaks a rule. ``file``, ``line`` (1-based, None if unknown) and ``column``."""

    reason = "LABELS_INVALID"

    def __init__(
        self, problem: str, *, file: str = "", line: int | None = None, column: str = ""
    ) -> None:
        where = file + (f":{line}" if line is not None else "")
        named = f"column {column!r}" if column else ""
        super().__init__(": ".join(part for part in (where, named, problem) if part))
        self.file = file
        self.line = line
        self.column = column
        self.problem = problem
