"""Blind second reviews: which items are drawn, who may have them, what waits."""

from __future__ import annotations

from helpers.review_queue import Desk
from imagesieve_server.core.review import Cause, Outcome, State
from imagesieve_server.core.review_afterwards import ReopenRequest
from imagesieve_server.core.review_rules import OTHERS_FIRST_S

APPROVE, REJECT = Outcome.APPROVE, Outcome.REJECT


def said(desk: Desk, reviewer: str, outcome: Outcome, tier: int = 1) -> bool:
    lease = desk.lease(reviewer=reviewer, tier=tier)
    return desk.decide(lease, outcome, reviewer=reviewer).effective


def needed(desk: Desk, name: str, share: float, **fields: object) -> int:
    item_id = desk.keep(name, second_review_share=share, **fields).item_id
    return desk.item(item_id).reviews_needed


def test_a_share_of_items_needs_two_reviewers(desk: Desk) -> None:
    drawn = [needed(desk, f"r{n}", 0.3) for n in range(200)]
    assert set(drawn) == {1, 2}
    assert 40 <= drawn.count(2) <= 80, "200 draws at 0.3: five standard deviations are 32"
    assert needed(desk, "none", 0.0) == 1
    assert needed(desk, "all", 1.0) == 2
    assert needed(desk, "more", 1.0, reviews_needed=3) == 3


def test_the_same_bytes_are_drawn_alike_and_a_larger_share_draws_more(desk: Desk) -> None:
    few = [needed(desk, f"r{n}", 0.2) for n in range(60)]
    for _ in range(60):  # out of the queue, so that the next upload is an item of its own
        lease = desk.lease(reviewer="ann")
        if not desk.decide(lease, REJECT).effective:
            said(desk, "ben", REJECT)
    more = [needed(desk, f"again{n}", 0.5, content=f"r{n}") for n in range(60)]
    assert all(a <= b for a, b in zip(few, more, strict=True))
    assert sum(few) < sum(more)


def test_a_sample_is_drawn_as_its_flag_would_be(desk: Desk) -> None:
    flags = [needed(desk, f"r{n}", 0.5) for n in range(30)]
    while (lease := desk.claim(reviewer="ann")) is not None:
        if not desk.decide(lease, REJECT).effective:
            said(desk, "ben", REJECT)
    again = [
        needed(desk, f"s{n}", 0.5, content=f"r{n}", policy="other", audit=True) for n in range(30)
    ]
    assert flags == again


def test_what_waits_for_another_person_is_counted_and_holds_nobody_up(desk: Desk) -> None:
    first = desk.keep("r1", second_review_share=1.0).item_id
    assert desk.store.stats(tenant="t").second_reviews == 0
    assert not said(desk, "ann", REJECT)
    desk.clock.advance(1.0)
    desk.keep("r2")
    assert desk.store.stats(tenant="t").second_reviews == 1
    assert desk.store.stats(tenant=None).second_reviews == 1
    assert desk.store.stats(tenant="other").second_reviews == 0
    assert desk.lease(reviewer="ann").item.item_id != first, "the rest of the queue goes on"
    desk.clock.advance(OTHERS_FIRST_S * 9)
    assert desk.claim(reviewer="ann", item_id=first) is None, "however long it takes"
    assert said(desk, "ben", REJECT)
    assert desk.store.stats(tenant="t").second_reviews == 0


def test_an_escalated_item_does_not_wait_for_a_second_review(desk: Desk) -> None:
    desk.keep("r1", second_review_share=1.0)
    said(desk, "ann", REJECT)
    said(desk, "ben", APPROVE)
    assert desk.store.stats(tenant="t").second_reviews == 0
    assert said(desk, "lea", APPROVE, tier=2)


def contested(desk: Desk, cause: Cause) -> str:
    item_id = desk.keep(f"contested by {cause}").item_id
    said(desk, "ann", REJECT)
    desk.store.reopen(ReopenRequest(tenant="t", item_id=item_id, cause=cause))
    return item_id


def test_an_appeal_goes_to_somebody_else_first(desk: Desk) -> None:
    for cause in (Cause.APPEAL, Cause.OVERTURN):
        item_id = contested(desk, cause)
        assert desk.claim(reviewer="ann") is None
        assert desk.claim(reviewer="ann", item_id=item_id) is None
        assert said(desk, "ben", APPROVE)
        assert desk.item(item_id).state is State.DECIDED
        desk.clock.advance(1.0)


def test_whoever_works_alone_gets_the_appeal_one_day(desk: Desk) -> None:
    contested(desk, Cause.APPEAL)
    desk.clock.advance(OTHERS_FIRST_S + 1)
    assert said(desk, "ann", APPROVE)


def test_whoever_undoes_a_word_may_speak_at_once(desk: Desk) -> None:
    contested(desk, Cause.UNDO)
    assert said(desk, "ann", APPROVE)
