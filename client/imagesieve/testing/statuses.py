"""From an error of the tree to a gRPC status: what a server would send for it."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2, status_pb2

from imagesieve import errors
from imagesieve.errors import ImagesieveError
from imagesieve.status import DETAILS_KEY, DOMAIN
from imagesieve.v1 import moderation_pb2

PUSHBACK_KEY = "grpc-retry-pushback-ms"

_Code = grpc.StatusCode

CODES: dict[type[ImagesieveError], grpc.StatusCode] = {
    errors.UnknownPolicy: _Code.NOT_FOUND,
    errors.RequestIdReused: _Code.ALREADY_EXISTS,
    errors.ItemNotFound: _Code.NOT_FOUND,
    errors.LeaseLost: _Code.FAILED_PRECONDITION,
    errors.DecisionConflict: _Code.FAILED_PRECONDITION,
    errors.GroupChanged: _Code.FAILED_PRECONDITION,
    errors.StateConflict: _Code.FAILED_PRECONDITION,
    errors.CursorExpired: _Code.OUT_OF_RANGE,
    errors.Unauthenticated: _Code.UNAUTHENTICATED,
    errors.PermissionDenied: _Code.PERMISSION_DENIED,
    errors.NotBuilt: _Code.UNIMPLEMENTED,
    errors.RequestError: _Code.INVALID_ARGUMENT,
    errors.DeadlinePassed: _Code.DEADLINE_EXCEEDED,
    errors.QuotaExceeded: _Code.RESOURCE_EXHAUSTED,
    errors.Unavailable: _Code.UNAVAILABLE,
    errors.ImagesieveError: _Code.INTERNAL,
}
"""A class without a row goes by its nearest base that has one."""


def code_of(error: ImagesieveError) -> grpc.StatusCode:
    """The status code of an error."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def trailers_of(
    error: ImagesieveError, *, pushback_ms: int | None = None
) -> tuple[tuple[str, str | bytes], ...]:
    """The trailing metadata of an error: its rich details, and what its retries are told."""
    status = status_pb2.Status(code=code_of(error).value[0], message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    status.details.add().Pack(info)
    if error.violations:
        bad = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad.field_violations.add(field=violation.field, description=violation.description)
        status.details.add().Pack(bad)
    if isinstance(error, errors.QuotaExceeded):
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(subject=error.subject, description=error.message)
        status.details.add().Pack(quota)
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after_s * 1000))
        status.details.add().Pack(retry)
    trailers: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status.SerializeToString())]
    if pushback_ms is not None:
        trailers.append((PUSHBACK_KEY, str(pushback_ms)))
    return tuple(trailers)


def item_error_of(error: ImagesieveError) -> moderation_pb2.ItemError:
    """The error of one item of a batch."""
    return moderation_pb2.ItemError(
        code=code_of(error).value[0],
        message=error.message,
        reason=error.reason,
        metadata=error.metadata,
        retry_after_seconds=error.retry_after_s,
    )
