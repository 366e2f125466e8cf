"""The queue's rules by themselves: arrows, rank, reviews, leases."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesieve_server.core.review import (
    ARROWS,
    LEASE_MAX_S,
    PARK_AFTER_EXPIRIES,
    Cause,
    Outcome,
    State,
    arrow,
    due_after_s,
    rank_allowance_s,
)
from imagesieve_server.core.review_rules import (
    Review,
    Urgency,
    after_expiry,
    after_review,
    extended_until,
    urgency_of,
)

# The design's drawing, written out: source, cause, target, needs a token, new round.
DRAWN = """
new     ENQUEUE         READY    -  -
new     REUSE_DECISION  DECIDED  -  -
READY   CLAIM           LEASED   -  -
READY   LEGAL_DELETE    DECIDED  -  -
READY   GROUP_CLOSE     DECIDED  -  -
LEASED  RELEASE         READY    t  -
LEASED  LEASE_EXPIRED   READY    -  -
LEASED  ESCALATE        READY    t  -
LEASED  REVIEW_AGAIN    READY    t  -
LEASED  PARK            PARKED   -  -
LEASED  DECIDE          DECIDED  t  -
LEASED  LEGAL_DELETE    DECIDED  -  -
LEASED  GROUP_CLOSE     DECIDED  -  -
PARKED  REQUEUE         READY    -  -
PARKED  LEGAL_DELETE    DECIDED  -  -
PARKED  GROUP_CLOSE     DECIDED  -  -
DECIDED APPEAL          READY    -  r
DECIDED UNDO            READY    -  r
DECIDED OVERTURN        READY    -  r
DECIDED ATTACH          DECIDED  -  -
DECIDED FOLLOW          DECIDED  -  r
DECIDED LEGAL_DELETE    DECIDED  -  r
DECIDED RETAIN_END      EXPIRED  -  -
READY   WITHDRAW        EXPIRED  -  -
LEASED  WITHDRAW        EXPIRED  -  -
EXPIRED LEGAL_DELETE    EXPIRED  -  r
"""


def drawn() -> dict[tuple[State | None, Cause], tuple[State, bool, bool]]:
    rows = [line.split() for line in DRAWN.strip().splitlines()]
    return {
        (None if source == "new" else State(source), Cause(cause)): (
            State(target),
            token == "t",
            again == "r",
        )
        for source, cause, target, token, again in rows
    }


@pytest.mark.parametrize("source", [None, *State])
@pytest.mark.parametrize("cause", list(Cause))
def test_arrows_are_those_of_the_design_and_no_others(source: State | None, cause: Cause) -> None:
    found = arrow(source, cause)
    expected = drawn().get((source, cause))
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.target, found.needs_token, found.new_round) == expected


def test_no_arrow_is_drawn_twice() -> None:
    assert len({(a.source, a.cause) for a in ARROWS}) == len(ARROWS)


def test_nothing_leaves_expired_and_every_cause_is_used() -> None:
    assert all(a.target is State.EXPIRED for a in ARROWS if a.source is State.EXPIRED)
    assert {a.cause for a in ARROWS} == set(Cause)


def test_severity_comes_before_score_and_both_before_none() -> None:
    ordered = [
        rank_allowance_s(severity=severity, score=score)
        for severity, score in itertools.product((1, 2, 3, 4), (0.0, 0.5, 1.0))
    ]
    assert ordered == sorted(ordered)
    assert len(set(ordered)) == len(ordered)


@pytest.mark.parametrize("score", [math.nan, math.inf, 1.0, 7.0])
def test_a_score_that_says_nothing_ranks_as_the_worst(score: float) -> None:
    assert rank_allowance_s(severity=2, score=score) == rank_allowance_s(severity=2, score=1.0)


def test_nothing_starves_longer_than_a_day_and_a_half_hour() -> None:
    """However severe the later arrivals are, the mildest item's turn comes."""
    mild = urgency_of(now=0.0, severity=1, score=0.0)
    severe = urgency_of(now=24.6 * 3600, severity=4, score=1.0)
    assert mild.rank < severe.rank


def test_the_more_severe_the_sooner_due() -> None:
    assert [due_after_s(s) for s in (1, 2, 3, 4)] == [86400.0, 28800.0, 7200.0, 1800.0]


@settings(deadline=None)  # a busy machine is no defect
@given(
    *[st.floats(min_value=-1e9, max_value=1e9) for _ in range(4)],
)
def test_a_join_never_makes_an_item_wait_longer(a: float, b: float, c: float, d: float) -> None:
    both = Urgency(rank=a, due_at=b).improved_by(Urgency(rank=c, due_at=d))
    assert both.rank <= a
    assert both.due_at <= b


APPROVE, REJECT, ESCALATE = Outcome.APPROVE, Outcome.REJECT, Outcome.ESCALATE


@pytest.mark.parametrize(
    ("said", "before", "needed", "expected"),
    [
        (("ann", APPROVE), [], 1, Cause.DECIDE),
        (("ann", ESCALATE), [], 1, Cause.ESCALATE),
        (("ann", APPROVE), [], 2, Cause.REVIEW_AGAIN),
        (("ben", APPROVE), [("ann", APPROVE)], 2, Cause.DECIDE),
        (("cat", APPROVE), [("ann", APPROVE), ("ben", APPROVE)], 3, Cause.DECIDE),
        # Two who differ leave it to the next tier; coming last is no advantage.
        (("ben", REJECT), [("ann", APPROVE)], 2, Cause.ESCALATE),
        (("cat", REJECT), [("ann", REJECT), ("ben", REJECT)], 4, Cause.REVIEW_AGAIN),
        # The same person twice is one opinion.
        (("ann", APPROVE), [("ann", APPROVE)], 2, Cause.REVIEW_AGAIN),
        (("ben", ESCALATE), [("ann", APPROVE)], 2, Cause.ESCALATE),
    ],
)
def test_reviews_decide_when_enough_people_agree(
    said: tuple[str, Outcome],
    before: list[tuple[str, Outcome]],
    needed: int,
    expected: Cause,
) -> None:
    found = after_review(Review(*said), before=[Review(*b) for b in before], needed=needed)
    assert found is expected


def test_only_the_fifth_expiry_parks() -> None:
    causes = [after_expiry(n) for n in range(1, PARK_AFTER_EXPIRIES + 1)]
    assert causes == [Cause.LEASE_EXPIRED] * 4 + [Cause.PARK]


def test_an_extension_ends_at_the_limit_and_never_shortens() -> None:
    def until(now: float, lease_s: float) -> float:
        return extended_until(now=now, claimed_at=0.0, lease_until=600.0, lease_s=lease_s)

    assert until(500.0, 600.0) == 1100.0
    assert until(500.0, 10.0) == 600.0
    assert until(500.0, 99999.0) == LEASE_MAX_S
