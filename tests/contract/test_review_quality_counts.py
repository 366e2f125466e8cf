"""What decisions say about quality is counted as they are made, once each."""

from __future__ import annotations

from collections import Counter

from helpers.review_queue import Desk
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.golden import GoldenPlan, GoldenRequest
from imagesieve_server.core.review import Cause, DecideRequest, Outcome
from imagesieve_server.core.review_afterwards import ReopenRequest
from imagesieve_server.review_queue.quality_counts import QualityCounts

APPROVE, REJECT, ESCALATE = Outcome.APPROVE, Outcome.REJECT, Outcome.ESCALATE


class Counting:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.found: Counter[str] = Counter()
        self.counts = QualityCounts(count=lambda what: self.found.update([what]))

    def said(self, reviewer: str, outcome: Outcome, *, repeats: int = 2) -> str:
        self.desk.clock.advance(1.0)
        lease = self.desk.lease(reviewer=reviewer)
        request = DecideRequest(
            tenant="t", item_id=lease.item.item_id, token=lease.token, reviewer=reviewer,
            outcome=outcome,
        )  # fmt: skip
        for _ in range(repeats):
            self.counts.decide(self.desk.store, request)
        return lease.item.item_id


def test_second_words_and_judgements_anew_are_counted_once(desk: Desk) -> None:
    counting = Counting(desk)
    for name, second in (("r1", REJECT), ("r2", APPROVE)):
        desk.keep(name, reviews_needed=2)
        counting.said("ann", REJECT)
        counting.said("ben", second)
    assert counting.found == {"agreed": 1, "differed": 1}
    for name, then, what in (("r3", APPROVE, "overturned"), ("r4", REJECT, "upheld")):
        desk.keep(name)
        item_id = counting.said("ann", REJECT)
        desk.store.reopen(ReopenRequest(tenant="t", item_id=item_id, cause=Cause.APPEAL))
        counting.said("ben", then)
        assert counting.found[what] == 1
    assert sum(counting.found.values()) == 4


def test_answers_to_golden_items_are_counted(desk: Desk) -> None:
    counting = Counting(desk)
    desk.keep("golden")
    item_id = counting.said("cat", REJECT)
    desk.store.mark_golden(GoldenRequest(tenant="t", item_id=item_id, actor="lea"))
    desk.store.goldens = GoldenPlan(share=1.0)
    for name, outcome in (("ann", REJECT), ("ben", APPROVE), ("dan", ESCALATE)):
        desk.keep(name)
        counting.said(name, outcome)
    assert counting.found == {"golden_right": 1, "golden_wrong": 1, "golden_passed": 1}


def test_a_decision_that_cannot_be_counted_is_recorded(desk: Desk) -> None:
    def refuse(_: str) -> None:
        raise StoreUnavailable("down")

    counting = Counting(desk)
    counting.counts = QualityCounts(count=refuse)
    desk.keep("r1", reviews_needed=2)
    counting.said("ann", REJECT)
    item_id = counting.said("ben", REJECT)
    assert desk.item(item_id).decisions[-1].effective
