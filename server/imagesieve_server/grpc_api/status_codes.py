"""One table from every named failure to what the caller receives.

It knows the classes of ``core/errors.py`` and ``google.rpc``'s details, and nothing of calls,
contexts or logging. Whatever is not in the table is INTERNAL with a fixed text: no internal
text can leave through here.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from imagesieve.v1 import moderation_pb2
from imagesieve_server.core import errors

DOMAIN = "imagesieve.dev"
"""ErrorInfo.domain of every failure."""
STATUS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
MAX_MESSAGE_CHARS = 320
"""A longer message is cut: statuses travel in headers, which peers limit to 8 KiB."""

_INTERNAL_TEXT = "internal error; the server's log has the details"


class Pushback(enum.Enum):
    """What the caller's retry policy is told."""

    NONE = "none"  # its own backoff decides
    DELAY = "delay"  # after the error's retry_after_s
    NEVER = "never"  # a retry by itself cannot help


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one class of failure goes on the wire, beside its ErrorInfo."""

    code: grpc.StatusCode
    field: str = ""  # BadRequest: the request's field at fault (an InvalidRequest names its own)
    retry_info: bool = False  # RetryInfo from the error's retry_after_s
    quota: bool = False  # QuotaFailure from the error's subject
    pushback: Pushback = Pushback.NONE


_Code = grpc.StatusCode

TABLE: Mapping[type[errors.ImagesieveError], Row] = {
    errors.InvalidRequest: Row(code=_Code.INVALID_ARGUMENT),
    errors.ImageEmpty: Row(code=_Code.INVALID_ARGUMENT, field="image"),
    errors.ImageTooLarge: Row(code=_Code.INVALID_ARGUMENT, field="image"),
    errors.ImageFormatUnsupported: Row(code=_Code.INVALID_ARGUMENT, field="image"),
    errors.ImageUndecodable: Row(code=_Code.INVALID_ARGUMENT, field="image"),
    errors.UnknownPolicy: Row(code=_Code.NOT_FOUND),
    errors.UnknownCategory: Row(code=_Code.INVALID_ARGUMENT, field="categories"),
    errors.RequestIdReused: Row(code=_Code.ALREADY_EXISTS),
    errors.ItemNotFound: Row(code=_Code.NOT_FOUND),
    errors.LeaseLost: Row(code=_Code.FAILED_PRECONDITION),
    errors.DecisionConflict: Row(code=_Code.FAILED_PRECONDITION),
    errors.GroupChanged: Row(code=_Code.FAILED_PRECONDITION),
    errors.ArrowNotAllowed: Row(code=_Code.FAILED_PRECONDITION),
    errors.CursorExpired: Row(code=_Code.OUT_OF_RANGE),
    errors.Unauthenticated: Row(code=_Code.UNAUTHENTICATED),
    errors.PermissionDenied: Row(code=_Code.PERMISSION_DENIED),
    errors.NotBuilt: Row(code=_Code.UNIMPLEMENTED),
    errors.Overloaded: Row(code=_Code.UNAVAILABLE, retry_info=True, pushback=Pushback.DELAY),
    errors.DeadlineUnmeetable: Row(
        code=_Code.UNAVAILABLE, retry_info=True, pushback=Pushback.NEVER
    ),
    errors.DeadlinePassed: Row(code=_Code.DEADLINE_EXCEEDED, pushback=Pushback.NEVER),
    errors.QuotaExceeded: Row(
        code=_Code.RESOURCE_EXHAUSTED, quota=True, retry_info=True, pushback=Pushback.NEVER
    ),
    errors.ShuttingDown: Row(code=_Code.UNAVAILABLE),
    errors.EncoderUnavailable: Row(code=_Code.UNAVAILABLE),
    errors.StoreUnavailable: Row(code=_Code.UNAVAILABLE),
}
"""A subclass without a row of its own goes by its nearest base that has one."""

_INTERNAL = Row(code=_Code.INTERNAL, pushback=Pushback.NEVER)


def row_of(error: BaseException) -> Row:
    """The table's row of an error; INTERNAL for whatever no row names."""
    for cls in type(error).__mro__:
        if cls in TABLE:
            return TABLE[cls]
    return _INTERNAL


def is_named(error: BaseException) -> bool:
    """Whether the table has a row for it."""
    return row_of(error) is not _INTERNAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Everything the wire says about one failure."""

    code: grpc.StatusCode
    message: str
    reason: str  # ErrorInfo.reason
    metadata: Mapping[str, str]  # ErrorInfo.metadata
    field: str = ""  # at fault, with ``problem``
    problem: str = ""
    retry_after_s: float | None = None
    quota: str = ""  # the quota's name
    pushback: Pushback = Pushback.NONE

    def status(self) -> status_pb2.Status:
        """The ``google.rpc.Status``: one ErrorInfo, then the details that apply."""
        status = status_pb2.Status(code=code_number(self.code), message=self.message)
        status.details.extend(_packed(detail) for detail in self._details())
        return status

    def _details(self) -> list[Message]:
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)
        ]
        if self.field:
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=self.field, description=self.problem
            )
            details.append(error_details_pb2.BadRequest(field_violations=[violation]))
        if self.quota:
            quota = error_details_pb2.QuotaFailure.Violation(
                subject=self.quota, description=self.message
            )
            details.append(error_details_pb2.QuotaFailure(violations=[quota]))
        if self.retry_after_s is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(_milliseconds(self.retry_after_s))
            details.append(retry)
        return details

    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """The trailing metadata of a failed call."""
        trailers: list[tuple[str, str | bytes]] = [(STATUS_KEY, self.status().SerializeToString())]
        if self.pushback is Pushback.NEVER:
            trailers.append((PUSHBACK_KEY, "-1"))
        elif self.pushback is Pushback.DELAY and self.retry_after_s is not None:
            trailers.append((PUSHBACK_KEY, str(_milliseconds(self.retry_after_s))))
        return tuple(trailers)

    def item_error(self) -> moderation_pb2.ItemError:
        """The same failure as that of one item of a batch or stream."""
        return moderation_pb2.ItemError(
            code=code_number(self.code),
            message=self.message,
            reason=self.reason,
            metadata=self.metadata,
            retry_after_seconds=self.retry_after_s,
        )


def failure_of(error: BaseException, *, incident: str = "") -> Failure:
    """What the caller is told of an error.

    ``incident`` names the log line of an error that the table does not know; it is all the
    caller learns of it.
    """
    row = row_of(error)
    if row is _INTERNAL or not isinstance(error, errors.ImagesieveError):
        return Failure(
            code=_INTERNAL.code,
            message=_INTERNAL_TEXT,
            reason=errors.ImagesieveError.reason,
            metadata={"incident": incident} if incident else {},
            pushback=_INTERNAL.pushback,
        )
    invalid = error if isinstance(error, errors.InvalidRequest) else None
    text = _cut(error.message)
    return Failure(
        code=row.code,
        message=text,
        reason=error.reason,
        metadata={key: _cut(v) for key, v in error.metadata.items() if key != errors.CAUSE},
        field=invalid.field if invalid else row.field,
        problem=_cut(invalid.problem) if invalid else text,
        retry_after_s=_retry_after_s(error) if row.retry_info else None,
        quota=error.subject if row.quota and isinstance(error, errors.QuotaExceeded) else "",
        pushback=row.pushback,
    )


def code_number(code: grpc.StatusCode) -> int:
    """The ``google.rpc.Code`` of a status."""
    number: int = code.value[0]
    return number


def _retry_after_s(error: errors.ImagesieveError) -> float | None:
    retryable = errors.Overloaded | errors.DeadlineUnmeetable | errors.QuotaExceeded
    return error.retry_after_s if isinstance(error, retryable) else None


def _milliseconds(seconds: float) -> int:
    """Rounded up: nobody is sent back too early."""
    return max(0, math.ceil(seconds * 1000))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
