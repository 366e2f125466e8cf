"""From what the wire says to an error of the tree: every reason, and statuses without one."""

from __future__ import annotations

import pickle

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

import imagesieve.errors as client_errors
from imagesieve import (
    AsyncClient,
    Client,
    FieldViolation,
    ImagesieveError,
    ImageUndecodable,
    InvalidRequest,
    QuotaExceeded,
    RequestError,
    ServerFault,
    Unavailable,
    Unreachable,
)
from imagesieve.status import BY_REASON, DETAILS_KEY, error_from_status
from imagesieve.testing import FakeServer
from imagesieve.testing.statuses import trailers_of
from imagesieve_server.core import errors as server_errors
from imagesieve_server.grpc_api.status_codes import failure_of

KINDS = sorted(BY_REASON.values(), key=lambda kind: kind.reason)


def tree(root: type[BaseException]) -> set[type[BaseException]]:
    return {root}.union(*(tree(kind) for kind in root.__subclasses__()))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.reason)
def test_every_reason_has_its_error(
    client: Client, server: FakeServer, kind: type[ImagesieveError]
) -> None:
    server.fail_next(kind("why", metadata={"key": "value"}), method="Stats", pushback_ms=-1)
    with pytest.raises(kind, match="why") as caught:
        client.review.stats()
    assert type(caught.value) is kind
    assert caught.value.reason == kind.reason
    assert caught.value.metadata == {"key": "value"}
    assert caught.value.code is not None


def test_an_invalid_request_names_its_fields(client: Client, server: FakeServer) -> None:
    violations = (
        FieldViolation(field="labels", description="too many"),
        FieldViolation(field="surface", description="too long"),
    )
    server.fail_next(InvalidRequest("labels: too many", violations=violations))
    with pytest.raises(InvalidRequest) as caught:
        client.moderate(b"picture")
    assert caught.value.violations == violations
    assert caught.value.field == "labels"


async def test_every_reason_has_its_error_for_asyncio_too(
    async_client: AsyncClient, server: FakeServer
) -> None:
    for kind in KINDS:
        server.fail_next(kind("why"), method="Stats", pushback_ms=-1)
        with pytest.raises(kind) as caught:
            await async_client.review.stats()
        assert type(caught.value) is kind


def test_the_client_knows_every_reason_of_the_server() -> None:
    sent = tree(server_errors.ImagesieveError) - tree(server_errors.StartupError)
    abstract = {"CapacityError", "DependencyError", "RequestError"}
    reasons = {kind.reason for kind in sent if kind.__name__ not in abstract}  # type: ignore[attr-defined]
    assert reasons == set(BY_REASON)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (server_errors.InvalidRequest("labels", "too many"), InvalidRequest),
        (server_errors.Overloaded("busy", retry_after_s=1.25), client_errors.Overloaded),
        (
            server_errors.QuotaExceeded("enough", subject="views", retry_after_s=60.0),
            QuotaExceeded,
        ),
        (
            server_errors.ImageUndecodable(
                "broken", detail=server_errors.UndecodableDetail.TRUNCATED
            ),
            ImageUndecodable,
        ),
        (server_errors.LeaseLost("gone"), client_errors.LeaseLost),
        (RuntimeError("internal words"), ServerFault),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_server_sends_is_what_the_client_reads(
    error: Exception, kind: type[ImagesieveError]
) -> None:
    failure = failure_of(error)
    read = error_from_status(failure.code, failure.message, failure.trailers())
    assert type(read) is kind
    assert read.retry_after_s == getattr(error, "retry_after_s", None)
    if isinstance(read, InvalidRequest):
        assert read.field == "labels"
        assert read.violations == (FieldViolation(field="labels", description="too many"),)
    if isinstance(read, QuotaExceeded):
        assert read.subject == "views"
    if isinstance(read, ImageUndecodable):
        assert read.detail == "TRUNCATED"


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequest, "INVALID_REQUEST"),
        (grpc.StatusCode.NOT_FOUND, RequestError, "NOT_FOUND"),
        (grpc.StatusCode.ALREADY_EXISTS, RequestError, "ALREADY_EXISTS"),
        (grpc.StatusCode.FAILED_PRECONDITION, RequestError, "FAILED_PRECONDITION"),
        (grpc.StatusCode.OUT_OF_RANGE, RequestError, "OUT_OF_RANGE"),
        (grpc.StatusCode.UNAUTHENTICATED, client_errors.Unauthenticated, "UNAUTHENTICATED"),
        (grpc.StatusCode.PERMISSION_DENIED, client_errors.PermissionDenied, "PERMISSION_DENIED"),
        (grpc.StatusCode.UNIMPLEMENTED, client_errors.NotBuilt, "NOT_IMPLEMENTED"),
        (grpc.StatusCode.UNAVAILABLE, Unreachable, "UNREACHABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, client_errors.DeadlinePassed, "DEADLINE_PASSED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Unavailable, "RESOURCE_EXHAUSTED"),
        (grpc.StatusCode.CANCELLED, Unavailable, "CANCELLED"),
        (grpc.StatusCode.ABORTED, Unavailable, "ABORTED"),
        (grpc.StatusCode.INTERNAL, ServerFault, "INTERNAL"),
        (grpc.StatusCode.UNKNOWN, ServerFault, "UNKNOWN"),
        (grpc.StatusCode.DATA_LOSS, ServerFault, "DATA_LOSS"),
    ],
)
def test_a_bare_status_is_typed_too(
    code: grpc.StatusCode, kind: type[ImagesieveError], reason: str
) -> None:
    error = error_from_status(code, "words", ())
    assert type(error) is kind
    assert (error.reason, error.message, error.code) == (reason, "words", code)


def test_every_status_code_is_typed() -> None:
    for code in grpc.StatusCode:
        assert isinstance(error_from_status(code, "", ()), ImagesieveError)


def test_a_reason_newer_than_the_client_keeps_its_name() -> None:
    newer = RequestError("why", reason="MOON_PHASE", metadata={"phase": "full"})
    error = error_from_status(grpc.StatusCode.FAILED_PRECONDITION, "why", trailers_of(newer))
    assert type(error) is RequestError
    assert (error.reason, error.metadata) == ("MOON_PHASE", {"phase": "full"})


def test_another_domains_reason_is_not_taken_for_ours() -> None:
    status = status_pb2.Status()
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="proxy.example")
    )
    trailers = [(DETAILS_KEY, status.SerializeToString())]
    error = error_from_status(grpc.StatusCode.UNAVAILABLE, "", trailers)
    assert type(error) is Unreachable


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"", "text", b"\x1a\x05\x0a\x01x\x12"])
def test_details_that_are_not_a_status_are_ignored(raw: bytes | str) -> None:
    error = error_from_status(grpc.StatusCode.UNAVAILABLE, "", [(DETAILS_KEY, raw)])
    assert type(error) is Unreachable


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn = client_errors.__doc__ or ""
    for kind in tree(ImagesieveError):
        assert kind.__name__ in drawn


def test_errors_survive_pickling() -> None:
    error = QuotaExceeded("enough", metadata={"subject": "views"}, retry_after_s=3.0)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is QuotaExceeded
    assert (copy.message, copy.subject, copy.retry_after_s) == ("enough", "views", 3.0)
