"""The tree of failures: every class has a reason of its own and carries what it promises."""

from __future__ import annotations

import pytest

from imagesieve_server.core import errors
from imagesieve_server.core.errors import ImagesieveError, UndecodableDetail

GROUPS = {
    errors.RequestError,
    errors.CapacityError,
    errors.DependencyError,
    errors.StartupError,
}


def descendants(cls: type[ImagesieveError]) -> list[type[ImagesieveError]]:
    own = [child for child in cls.__subclasses__() if child.__module__ == errors.__name__]
    return [found for child in own for found in (child, *descendants(child))]


LEAVES = [cls for cls in descendants(ImagesieveError) if cls not in GROUPS]


def test_the_groups_are_the_direct_children_of_the_root() -> None:
    assert set(ImagesieveError.__subclasses__()) == GROUPS


def test_every_leaf_has_a_reason_that_no_other_has() -> None:
    reasons = [cls.reason for cls in LEAVES]
    assert len(set(reasons)) == len(reasons)
    assert "INTERNAL" not in reasons


@pytest.mark.parametrize("cls", LEAVES, ids=lambda cls: cls.__name__)
def test_a_reason_is_upper_snake_case_as_google_rpc_wants_it(cls: type[ImagesieveError]) -> None:
    assert cls.reason == cls.reason.upper()
    assert cls.reason.replace("_", "").isalpha()
    assert len(cls.reason) <= 63


def test_every_leaf_is_in_the_tree_that_the_module_draws() -> None:
    drawn = errors.__doc__ or ""
    assert [cls.__name__ for cls in LEAVES if cls.__name__ not in drawn] == []


def test_an_invalid_request_names_its_field_in_message_and_metadata() -> None:
    error = errors.InvalidRequest("labels", "has 17 entries")
    assert error.message == "labels: has 17 entries"
    assert error.metadata == {"field": "labels"}


def test_an_undecodable_image_carries_its_detail() -> None:
    error = errors.ImageUndecodable("no picture", detail=UndecodableDetail.TRUNCATED)
    assert error.metadata == {"detail": "TRUNCATED"}


def test_metadata_is_copied_so_that_a_later_change_does_not_reach_the_wire() -> None:
    given = {"policy": "a"}
    error = errors.UnknownPolicy("none", metadata=given)
    given["policy"] = "b"
    assert error.metadata == {"policy": "a"}


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({"file": "p.yaml", "line": 3, "field": "severity"}, "p.yaml:3: severity: is 9"),
        ({"file": "p.yaml"}, "p.yaml: is 9"),
        ({"field": "severity"}, "severity: is 9"),
        ({}, "is 9"),
    ],
)
def test_a_policy_error_says_where(place: dict[str, object], text: str) -> None:
    assert str(errors.PolicyError("is 9", **place)) == text  # type: ignore[arg-type]


def test_a_used_request_id_says_what_may_not_differ_and_what_to_do() -> None:
    error = errors.RequestIdReused("r-1")
    assert error.metadata == {"request_id": "r-1"}
    assert error.message == (
        "request_id 'r-1' was used before with another image, policy, category list, surface "
        "or mode; make a new id for a new request"
    )
