"""Where a flag stands in the queue, by hand."""

from __future__ import annotations

import pytest

from imagesieve_server.core.review import due_after_s, rank_allowance_s
from imagesieve_server.core.review_rules import urgency_of


@pytest.mark.parametrize("severity", [1, 2, 3, 4])
def test_an_allowance_puts_a_flag_earlier_and_its_due_time_later_than_now(severity: int) -> None:
    found = urgency_of(now=1000.0, severity=severity, score=0.5)
    assert found.rank == 1000.0 - rank_allowance_s(severity=severity, score=0.5)
    assert found.due_at == 1000.0 + due_after_s(severity)


def test_of_two_flags_at_one_time_the_more_severe_is_claimed_first() -> None:
    mild, urgent = (urgency_of(now=0.0, severity=severity, score=0.5) for severity in (1, 4))
    assert urgent.rank < mild.rank
