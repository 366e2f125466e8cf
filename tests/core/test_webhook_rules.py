"""What an answer means, when to try again, and when an endpoint is left alone for a while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesieve_server.core import webhook_rules as rules
from imagesieve_server.core.webhook_rules import Breaker, Result

NOW = 1_700_000_000.0
chances = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.TOLD), (204, Result.TOLD), (299, Result.TOLD), (301, Result.REFUSED),
        (308, Result.REFUSED), (400, Result.REFUSED), (404, Result.REFUSED), (410, Result.GONE),
        (429, Result.REFUSED), (500, Result.REFUSED), (199, Result.REFUSED),
    ],
)  # fmt: skip
def test_only_2xx_is_told(status: int, result: Result) -> None:
    assert rules.result_of(status) is result


@given(st.integers(min_value=1, max_value=10_000), chances)
def test_retries_are_ever_further_apart_up_to_a_bound(attempts: int, chance: float) -> None:
    wait = rules.retry_in_s(attempts, chance=chance)
    assert rules.RETRY_FIRST_S / 2 <= wait <= rules.RETRY_MAX_S
    assert rules.retry_in_s(attempts + 1, chance=chance) >= wait
    assert rules.retry_in_s(attempts, chance=0.0) <= wait


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("999999999999999999999", rules.RETRY_AFTER_MAX_S),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", rules.RETRY_AFTER_MAX_S),
        ("-5", None),
        ("1e9", None),
        ("soon", None),
        ("", None),
        ("\u0661\u0662", None),
    ],
)
def test_retry_after_is_read_as_http_has_it_and_bounded(text: str, wait: float | None) -> None:
    assert rules.patience_s(text, now=NOW) == wait


@given(st.text(max_size=40))
def test_any_retry_after_is_a_bounded_wait_or_nothing(text: str) -> None:
    wait = rules.patience_s(text, now=NOW)
    assert wait is None or 0.0 <= wait <= rules.RETRY_AFTER_MAX_S


def test_one_items_failures_never_trip_the_breaker() -> None:
    breaker = Breaker()
    for _ in range(1000):
        breaker.failed("a", now=0.0, chance=0.5)
    assert not breaker.down
    assert breaker.may_start(in_flight=3, concurrency=8, now=0.0) == 5


def fail_items(breaker: Breaker, count: int, now: float = 0.0) -> None:
    for item in range(count):
        breaker.failed(f"item {item}", now=now, chance=0.5)


def test_failures_of_several_items_leave_one_probe_at_a_time() -> None:
    breaker = Breaker()
    fail_items(breaker, rules.TRIPPED_BY)
    assert breaker.down
    assert breaker.may_start(in_flight=0, concurrency=8, now=0.0) == 0
    wait = breaker.waits_s(now=0.0)
    assert 0 < wait <= rules.PROBE_FIRST_S
    assert breaker.may_start(in_flight=0, concurrency=8, now=wait) == 1
    assert breaker.may_start(in_flight=1, concurrency=8, now=wait) == 0


def test_probes_are_ever_further_apart_up_to_a_minute() -> None:
    breaker, now, waits = Breaker(), 0.0, []
    fail_items(breaker, rules.TRIPPED_BY)
    for _ in range(20):
        waits.append(breaker.waits_s(now=now))
        now += waits[-1]
        breaker.failed("any", now=now, chance=0.5)
    assert waits == sorted(waits)
    assert waits[-1] <= rules.PROBE_MAX_S
    assert waits[-1] > rules.PROBE_MAX_S / 2


def test_one_told_event_closes_it() -> None:
    breaker = Breaker()
    fail_items(breaker, 20)
    assert breaker.told()
    assert not breaker.down
    assert breaker.may_start(in_flight=0, concurrency=8, now=0.0) == 8
    assert not breaker.told()


def test_an_endpoint_that_asks_for_patience_gets_it() -> None:
    breaker = Breaker()
    breaker.failed("a", now=10.0, chance=0.0, patience_s=120.0)
    assert breaker.may_start(in_flight=0, concurrency=8, now=129.0) == 0
    assert breaker.may_start(in_flight=0, concurrency=8, now=130.0) == 8
