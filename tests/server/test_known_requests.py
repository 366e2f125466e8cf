"""What was kept is never said to be new; what is new nearly always is."""

from __future__ import annotations

from imagesieve_server.review_queue.known_requests import KnownRequests


def test_nothing_is_ruled_out_before_all_is_known() -> None:
    known = KnownRequests(room=100)
    assert not known.rules_out("t", "new")
    known.complete()
    assert known.rules_out("t", "new")


def test_what_was_added_is_never_ruled_out_and_most_else_is() -> None:
    """Far beyond the first filter's room."""
    known = KnownRequests(room=100)
    kept = [(f"tenant {n % 7}", f"request {n}") for n in range(5000)]
    known.add_all(kept)
    known.complete()
    assert not any(known.rules_out(*name) for name in kept)
    new = [(f"tenant {n % 7}", f"another {n}") for n in range(5000)]
    in_vain = sum(not known.rules_out(*name) for name in new)
    assert in_vain < 250, "1 in 20; 1 in 150 is to be expected"


def test_a_request_of_another_tenant_is_another_request() -> None:
    known = KnownRequests()
    known.add("t", "r")
    known.complete()
    assert known.rules_out("u", "r")
    assert known.rules_out("t", "tr")
