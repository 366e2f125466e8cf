"""One table from failures to the wire, complete, and nothing internal through it."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from imagesieve_server.core import errors
from imagesieve_server.core.errors import ImagesieveError, UndecodableDetail
from imagesieve_server.grpc_api.status_codes import (
    DOMAIN,
    MAX_MESSAGE_CHARS,
    PUSHBACK_KEY,
    TABLE,
    Failure,
    failure_of,
    is_named,
)

Code = grpc.StatusCode

MADE: dict[type[ImagesieveError], ImagesieveError] = {
    errors.InvalidRequest: errors.InvalidRequest("labels", "has 17 entries"),
    errors.ImageUndecodable: errors.ImageUndecodable("no", detail=UndecodableDetail.TRUNCATED),
    errors.RequestIdReused: errors.RequestIdReused("r-1"),
    errors.Overloaded: errors.Overloaded("full", retry_after_s=1.5),
    errors.DeadlineUnmeetable: errors.DeadlineUnmeetable("late", retry_after_s=2.5),
    errors.QuotaExceeded: errors.QuotaExceeded("spent", subject="undecodable", retry_after_s=60),
}

# class → code, detail messages beside the ErrorInfo, push-back trailer
EXPECTED: dict[type[ImagesieveError], tuple[Code, list[str], str | None]] = {
    errors.InvalidRequest: (Code.INVALID_ARGUMENT, ["BadRequest"], None),
    errors.ImageEmpty: (Code.INVALID_ARGUMENT, ["BadRequest"], None),
    errors.ImageTooLarge: (Code.INVALID_ARGUMENT, ["BadRequest"], None),
    errors.ImageFormatUnsupported: (Code.INVALID_ARGUMENT, ["BadRequest"], None),
    errors.ImageUndecodable: (Code.INVALID_ARGUMENT, ["BadRequest"], None),
    errors.UnknownPolicy: (Code.NOT_FOUND, [], None),
    errors.UnknownCategory: (Code.INVALID_ARGUMENT, ["BadRequest"], None),
    errors.RequestIdReused: (Code.ALREADY_EXISTS, [], None),
    errors.ItemNotFound: (Code.NOT_FOUND, [], None),
    errors.LeaseLost: (Code.FAILED_PRECONDITION, [], None),
    errors.DecisionConflict: (Code.FAILED_PRECONDITION, [], None),
    errors.GroupChanged: (Code.FAILED_PRECONDITION, [], None),
    errors.ArrowNotAllowed: (Code.FAILED_PRECONDITION, [], None),
    errors.CursorExpired: (Code.OUT_OF_RANGE, [], None),
    errors.Unauthenticated: (Code.UNAUTHENTICATED, [], None),
    errors.PermissionDenied: (Code.PERMISSION_DENIED, [], None),
    errors.NotBuilt: (Code.UNIMPLEMENTED, [], None),
    errors.Overloaded: (Code.UNAVAILABLE, ["RetryInfo"], "1500"),
    errors.DeadlineUnmeetable: (Code.UNAVAILABLE, ["RetryInfo"], "-1"),
    errors.DeadlinePassed: (Code.DEADLINE_EXCEEDED, [], "-1"),
    errors.QuotaExceeded: (Code.RESOURCE_EXHAUSTED, ["QuotaFailure", "RetryInfo"], "-1"),
    errors.ShuttingDown: (Code.UNAVAILABLE, [], None),
    errors.EncoderUnavailable: (Code.UNAVAILABLE, [], None),
    errors.StoreUnavailable: (Code.UNAVAILABLE, [], None),
}


def leaves(cls: type[ImagesieveError]) -> list[type[ImagesieveError]]:
    children = [child for child in cls.__subclasses__() if child.__module__ == errors.__name__]
    return [leaf for child in children for leaf in leaves(child)] if children else [cls]


def make(cls: type[ImagesieveError]) -> ImagesieveError:
    return MADE.get(cls) or cls("words for the caller", metadata={"item_id": "i-1"})


def details_of(failure: Failure) -> list[Any]:
    found = []
    for detail in failure.status().details:
        message = getattr(error_details_pb2, detail.type_url.rpartition(".")[2])()
        assert detail.Unpack(message)
        found.append(message)
    return found


def test_the_table_lists_every_failure_that_can_reach_a_caller() -> None:
    reachable = {cls for cls in leaves(ImagesieveError) if not issubclass(cls, errors.StartupError)}
    assert set(TABLE) == reachable
    assert set(EXPECTED) == reachable


@pytest.mark.parametrize("cls", EXPECTED, ids=lambda cls: cls.__name__)
def test_each_failure_has_its_code_its_details_and_its_pushback(
    cls: type[ImagesieveError],
) -> None:
    code, names, pushback = EXPECTED[cls]
    failure = failure_of(make(cls))
    info, *others = details_of(failure)
    assert failure.code is code
    assert failure.status().code == code.value[0]
    assert (info.reason, info.domain) == (cls.reason, DOMAIN)
    assert dict(info.metadata) == make(cls).metadata
    assert [type(other).__name__ for other in others] == names
    assert dict(failure.trailers()).get(PUSHBACK_KEY) == pushback


def test_a_librarys_own_words_are_for_operators_only() -> None:
    facts = {errors.CAUSE: "/srv/model.onnx: bad", "distance": "0.3"}
    error = errors.EncoderUnavailable("the encoder failed", metadata=facts)
    info = details_of(failure_of(error))[0]
    assert dict(info.metadata) == {"distance": "0.3"}
    assert error.for_operators == "the encoder failed (/srv/model.onnx: bad)"


def test_a_bad_field_is_named_with_its_problem() -> None:
    bad = details_of(failure_of(errors.InvalidRequest("labels", "has 17 entries")))[1]
    (violation,) = bad.field_violations
    assert (violation.field, violation.description) == ("labels", "has 17 entries")


def test_an_unknown_category_blames_categories_and_an_image_the_image() -> None:
    category = details_of(failure_of(errors.UnknownCategory("none of that id")))[1]
    image = details_of(failure_of(errors.ImageEmpty("no bytes")))[1]
    assert category.field_violations[0].field == "categories"
    assert image.field_violations[0].field == "image"


def test_retry_delay_and_pushback_agree_and_round_up() -> None:
    failure = failure_of(errors.Overloaded("full", retry_after_s=0.0301))
    retry = details_of(failure)[1]
    assert retry.retry_delay.ToMilliseconds() == 31
    assert dict(failure.trailers())[PUSHBACK_KEY] == "31"


def test_a_quota_is_named() -> None:
    quota = details_of(failure_of(MADE[errors.QuotaExceeded]))[1]
    assert quota.violations[0].subject == "undecodable"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("/srv/secret/path"),
        errors.BundleError("/srv/secret/path"),
        errors.ImagesieveError("/srv/secret/path", metadata={"p": "/srv/secret/path"}),
    ],
    ids=["foreign", "startup", "root"],
)
def test_what_no_row_names_is_internal_without_a_word_of_it(error: Exception) -> None:
    failure = failure_of(error, incident="abc")
    assert not is_named(error)
    assert failure.code is Code.INTERNAL
    (info,) = details_of(failure)
    assert (info.reason, dict(info.metadata)) == ("INTERNAL", {"incident": "abc"})
    assert "secret" not in str(failure)
    assert b"secret" not in failure.status().SerializeToString()


def test_a_subclass_goes_by_the_row_of_its_base() -> None:
    class Finer(errors.LeaseLost):
        reason = "FINER"

    failure = failure_of(Finer("gone"))
    assert (failure.code, failure.reason) == (Code.FAILED_PRECONDITION, "FINER")


def test_a_long_text_is_cut_so_that_the_trailers_stay_within_8_kib() -> None:
    wordy = "𝔵" * 128 + "x" * 1000
    failure = failure_of(errors.InvalidRequest("labels", wordy))
    assert len(failure.message) == MAX_MESSAGE_CHARS
    (_, raw) = failure.trailers()[0]
    assert len(raw) * 4 / 3 + len(failure.message.encode()) * 3 < 8192


def test_an_item_of_a_batch_fails_in_the_same_terms() -> None:
    error = failure_of(errors.Overloaded("full", retry_after_s=1.5)).item_error()
    assert (error.code, error.reason, error.message) == (14, "OVERLOADED", "full")
    assert error.retry_after_seconds == 1.5
    assert not failure_of(errors.ImageEmpty("none")).item_error().HasField("retry_after_seconds")
    assert failure_of(errors.InvalidRequest("f", "p")).item_error().metadata == {"field": "f"}
