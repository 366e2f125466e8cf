"""The digest that makes a request idempotent."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesieve_server.core.request import ModerationRequest

parts = st.text(max_size=3)


def request(**fields: object) -> ModerationRequest:
    return ModerationRequest(tenant="t", request_id="r", image=b"x", **fields)  # type: ignore[arg-type]


def test_the_hash_is_that_of_the_bytes() -> None:
    assert request().sha256() == hashlib.sha256(b"x").hexdigest()


def test_digests_that_are_stored_are_found_by_the_next_release() -> None:
    """Pinned: a stored request_id answers a repeat only where the digest is the same."""
    asked = request(surface="avatar", categories=("b", "a"))
    text = b"".join(
        len(part).to_bytes(4, "big") + part
        for part in (b"s", b"p", b"avatar", b"False", b"a", b"b")
    )
    assert asked.digest(sha256="s", policy="p") == hashlib.sha256(text).hexdigest()


@settings(max_examples=100, deadline=None)
@given(st.tuples(parts, parts, parts, st.booleans(), st.sets(parts, max_size=3)),
       st.tuples(parts, parts, parts, st.booleans(), st.sets(parts, max_size=3)))  # fmt: skip
def test_two_requests_have_one_digest_only_where_nothing_differs(
    one: tuple[str, str, str, bool, set[str]], other: tuple[str, str, str, bool, set[str]]
) -> None:
    def digest(sha256: str, policy: str, surface: str, dry_run: bool, ids: set[str]) -> str:
        asked = request(surface=surface, dry_run=dry_run, categories=tuple(ids))
        return asked.digest(sha256=sha256, policy=policy)

    assert (digest(*one) == digest(*other)) is (one == other)


@pytest.mark.parametrize("field", ["content_ref", "uploader_ref"])
def test_what_only_labels_an_upload_may_differ(field: str) -> None:
    changed = request(**{field: "else"})
    assert changed.digest(sha256="s", policy="p") == request().digest(sha256="s", policy="p")
