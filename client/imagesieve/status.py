"""From a gRPC status to an error of the tree.

The reason in ``google.rpc.ErrorInfo`` decides; the status code decides only where there is no
reason of ours (a proxy answered, the network failed, or the server is newer than this client).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from imagesieve import errors
from imagesieve.errors import FieldViolation, ImagesieveError
from imagesieve.hints import with_hint
from imagesieve.v1 import moderation_pb2 as pb

DOMAIN = "imagesieve.dev"
DETAILS_KEY = "grpc-status-details-bin"

BY_REASON: dict[str, type[ImagesieveError]] = {
    kind.reason: kind
    for kind in (
        errors.InvalidRequest,
        errors.ImageEmpty,
        errors.ImageTooLarge,
        errors.ImageFormatUnsupported,
        errors.ImageUndecodable,
        errors.UnknownPolicy,
        errors.UnknownCategory,
        errors.RequestIdReused,
        errors.ItemNotFound,
        errors.LeaseLost,
        errors.DecisionConflict,
        errors.GroupChanged,
        errors.StateConflict,
        errors.CursorExpired,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.NotBuilt,
        errors.Overloaded,
        errors.DeadlineUnmeetable,
        errors.DeadlinePassed,
        errors.QuotaExceeded,
        errors.ShuttingDown,
        errors.EncoderUnavailable,
        errors.StoreUnavailable,
        errors.ServerFault,
    )
}
"""Every reason the server sends."""

_Code = grpc.StatusCode

BY_CODE: dict[grpc.StatusCode, type[ImagesieveError]] = {
    _Code.INVALID_ARGUMENT: errors.InvalidRequest,
    _Code.NOT_FOUND: errors.RequestError,
    _Code.ALREADY_EXISTS: errors.RequestError,
    _Code.FAILED_PRECONDITION: errors.RequestError,
    _Code.OUT_OF_RANGE: errors.RequestError,
    _Code.UNAUTHENTICATED: errors.Unauthenticated,
    _Code.PERMISSION_DENIED: errors.PermissionDenied,
    _Code.UNIMPLEMENTED: errors.NotBuilt,
    _Code.UNAVAILABLE: errors.Unreachable,
    _Code.DEADLINE_EXCEEDED: errors.DeadlinePassed,
    # Without details it is a transport limit or the last resort against overload.
    _Code.RESOURCE_EXHAUSTED: errors.Unavailable,
    # A server that is stopped in the middle of a call leaves either of these behind.
    _Code.CANCELLED: errors.Unavailable,
    _Code.ABORTED: errors.Unavailable,
}
"""Where no reason of ours came; codes that are absent are a ServerFault."""

_SPECIFIC = frozenset(
    {_Code.INVALID_ARGUMENT, _Code.UNAUTHENTICATED, _Code.PERMISSION_DENIED}
    | {_Code.UNIMPLEMENTED, _Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED}
)
"""Codes whose class in BY_CODE has a fitting reason; others report the code's own name."""


@dataclass(slots=True)
class _Details:
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    violations: tuple[FieldViolation, ...] = ()


def error_from_status(
    code: grpc.StatusCode,
    message: str,
    trailers: Iterable[tuple[str, str | bytes]],
) -> ImagesieveError:
    """The typed error for a status that is not OK. ``trailers`` are its trailing metadata."""
    return _error(code, message, _read(dict(trailers).get(DETAILS_KEY, b"")))


def error_from_item(error: pb.ItemError) -> ImagesieveError:
    """The typed error for one item of a batch: as if its own call had failed."""
    code = _BY_NUMBER.get(error.code, grpc.StatusCode.UNKNOWN)
    retry = error.retry_after_seconds if error.HasField("retry_after_seconds") else None
    details = _Details(reason=error.reason, metadata=dict(error.metadata), retry_after_s=retry)
    return _error(code, error.message, details)


_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _error(code: grpc.StatusCode, message: str, details: _Details) -> ImagesieveError:
    kind = BY_REASON.get(details.reason)
    reason = details.reason
    if kind is None:
        kind = BY_CODE.get(code, errors.ServerFault)
        if reason and code is _Code.UNAVAILABLE:
            kind = errors.Unavailable  # a server did answer, with a reason newer than ours
        if not reason and code not in _SPECIFIC:
            reason = code.name
    if kind is errors.Unreachable:
        message = with_hint(message)
    return kind(
        message or code.name,
        reason=reason,
        metadata=details.metadata,
        code=code,
        retry_after_s=details.retry_after_s,
        violations=details.violations,
    )


def error_from_rpc(error: grpc.RpcError) -> ImagesieveError:
    """The typed error for what gRPC raised, from the blocking and the asyncio API alike."""
    trailers = cast(Iterable[tuple[str, str | bytes]], error.trailing_metadata() or ())
    return error_from_status(error.code(), error.details() or "", trailers)


def _read(raw: str | bytes) -> _Details:
    """The rich details, empty where the bytes are not a google.rpc.Status."""
    details = _Details()
    status = status_pb2.Status()
    try:
        status.ParseFromString(raw if isinstance(raw, bytes) else raw.encode())
        for packed in status.details:
            for kind, read in _READERS.items():
                message = kind()
                if packed.Unpack(message):
                    read(details, message)
    except DecodeError:  # some proxy's own words: the status code has to do
        return _Details()
    return details


def _read_info(details: _Details, info: error_details_pb2.ErrorInfo) -> None:
    if info.domain == DOMAIN:
        details.reason = info.reason
        details.metadata.update(info.metadata)


def _read_retry(details: _Details, retry: error_details_pb2.RetryInfo) -> None:
    details.retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()


def _read_bad_request(details: _Details, bad: error_details_pb2.BadRequest) -> None:
    details.violations = tuple(
        FieldViolation(field=v.field, description=v.description) for v in bad.field_violations
    )


def _read_quota(details: _Details, quota: error_details_pb2.QuotaFailure) -> None:
    subject = next((v.subject for v in quota.violations if v.subject), "")
    if subject:
        details.metadata.setdefault("subject", subject)


_READERS = {
    error_details_pb2.ErrorInfo: _read_info,
    error_details_pb2.RetryInfo: _read_retry,
    error_details_pb2.BadRequest: _read_bad_request,
    error_details_pb2.QuotaFailure: _read_quota,
}
