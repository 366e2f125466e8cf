"""What counts of decisions come to."""

from __future__ import annotations

import math

import pytest

from imagesieve_server.core.review import Outcome
from imagesieve_server.core.review_figures import JudgedCount, precision, wilson


@pytest.mark.parametrize(
    ("events", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilsons_interval_has_the_published_values(
    events: int, of: int, low: float, high: float
) -> None:
    """The last row is Newcombe's example (Statistics in Medicine 17, 1998, table I)."""
    share = wilson(events, of)
    assert (round(share.low, 4), round(share.high, 4)) == (low, high)


@pytest.mark.parametrize("of", [1, 7, 400, 5000])
def test_its_ends_are_where_the_score_test_just_rejects(of: int) -> None:
    for events in {1, of // 2, of - 1} - {0, of}:
        share = wilson(events, of)
        for end in (share.low, share.high):
            score = abs(share.value - end) / math.sqrt(end * (1 - end) / of)
            assert score == pytest.approx(1.959963984540054)


def test_of_nothing_everything_is_possible() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_a_rejection_for_something_else_confirms_no_flag() -> None:
    def judged(outcome: Outcome, *labels: str) -> JudgedCount:
        return JudgedCount(category="a", outcome=outcome, labels=labels, items=2)

    counts = [
        judged(Outcome.REJECT, "a", "b"),
        judged(Outcome.REJECT),
        judged(Outcome.REJECT, "b"),
        judged(Outcome.APPROVE),
    ]
    share = precision(counts)["a"]
    assert (share.events, share.of) == (4, 8)
    assert precision([]) == {}
