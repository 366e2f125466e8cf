"""Golden items: who gets copies of which, and that nothing comes of them but figures."""

from __future__ import annotations

import dataclasses

import pytest

from helpers.review_queue import Desk
from imagesieve_server.core.errors import ArrowNotAllowed, ItemNotFound
from imagesieve_server.core.golden import DAY_S, WAIT_S, Golden, GoldenPlan, GoldenRequest
from imagesieve_server.core.quality_report import QualityReport
from imagesieve_server.core.review import Cause, Item, Lease, ListRequest, Outcome, State
from imagesieve_server.core.review_afterwards import EraseRequest, ReopenRequest
from imagesieve_server.review_queue.quality import Scan

APPROVE, REJECT, ESCALATE = Outcome.APPROVE, Outcome.REJECT, Outcome.ESCALATE


def mark(desk: Desk, item_id: str) -> Golden:
    request = GoldenRequest(tenant="t", item_id=item_id, actor="lea", note="a clear case")
    return desk.store.mark_golden(request)


@pytest.fixture
def golden(desk: Desk) -> str:
    """Every claim draws a golden item; one is marked, rejected by cat. Its id."""
    item_id = desk.keep("golden", category="red", labels={"a": "b"}).item_id
    desk.decide(desk.lease(reviewer="cat"), REJECT, reviewer="cat", labels=("red",))
    desk.clock.advance(100.0)
    mark(desk, item_id)
    desk.store.goldens = GoldenPlan(share=1.0, again_after_s=30 * DAY_S)
    return item_id


def plain(desk: Desk, name: str = "r1") -> str:
    desk.clock.advance(1.0)
    return desk.keep(name, category="blue").item_id


def events(desk: Desk) -> int:
    return len(desk.store.decision_events(tenant="t", after=0, limit=1000))


def report(desk: Desk) -> QualityReport:
    scan = Scan(tenant="t", since=0.0, until=desk.clock() + 1.0)
    while not scan.done:
        scan.take(desk.store.read(scan.page))
    return scan.report()


def test_a_claim_gets_a_copy_in_place_of_the_next_item(desk: Desk, golden: str) -> None:
    next_id = plain(desk)
    source, replaced = desk.item(golden), desk.item(next_id)
    lease = desk.lease(reviewer="ann")
    copy = lease.item
    assert copy.item_id not in (golden, next_id)
    assert copy.golden_of == golden
    assert copy.sha256 == source.sha256
    assert copy.enqueued_at == replaced.enqueued_at
    assert copy.rank == pytest.approx(replaced.rank)
    assert copy.item_id[:12] == next_id[:12], "the id tells no other time"
    assert (copy.round, copy.tier, copy.reviews_needed, copy.opened_by) == (1, 1, 1, Cause.ENQUEUE)
    assert copy.decisions == ()
    assert copy.earlier is None, "it would be the answer"
    seen = ("category", "severity", "answer", "content_ref", "uploader_ref", "labels", "policy")
    assert [getattr(copy, f) for f in seen] == [getattr(source, f) for f in seen]
    assert desk.lease(reviewer="ann").item.item_id == next_id, "once is enough"


def test_a_repeated_claim_gets_the_same_copy(desk: Desk, golden: str) -> None:
    plain(desk)
    first = desk.lease(reviewer="ann", claim_id="c")
    assert desk.lease(reviewer="ann", claim_id="c") == first


def test_nobody_is_told_of_its_decision(desk: Desk, golden: str) -> None:
    plain(desk)
    before = events(desk)
    lease = desk.lease(reviewer="ann")
    record = desk.decide(lease, APPROVE, reviewer="ann")
    assert record.effective
    assert record.cause is Cause.DECIDE, "it is answered as any other"
    assert desk.item(lease.item.item_id).state is State.DECIDED
    assert events(desk) == before


def test_the_answer_is_compared_with_the_known_one(desk: Desk, golden: str) -> None:
    for reviewer, outcome in (("ann", REJECT), ("ben", APPROVE), ("dan", ESCALATE)):
        plain(desk, reviewer)
        desk.decide(desk.lease(reviewer=reviewer), outcome, reviewer=reviewer)
    found = report(desk)
    assert (found.total.golden, found.total.golden_right, found.total.golden_passed) == (2, 1, 1)
    assert found.categories["red"].golden == 2
    assert found.reviewers["ann"].golden_right == 1
    assert found.reviewers["ben"].golden_right == 0
    assert found.reviewers["ann"].decisions == 0, "an answer is no decision"
    assert desk.store.goldens_listed("t")[0].given == 3


def test_uploads_of_the_same_bytes_and_copies_keep_apart(desk: Desk, golden: str) -> None:
    plain(desk)
    lease = desk.lease(reviewer="ann")
    again = desk.keep("again", "golden")
    assert again.item_id not in (golden, lease.item.item_id)
    assert not again.joined
    desk.decide(lease, APPROVE, reviewer="ann")
    reused = desk.keep("once more", "golden", reuse_decision=True)
    assert reused.item_id == again.item_id, "the open one takes it in"
    earlier = desk.item(again.item_id).earlier
    assert earlier is not None
    assert earlier.outcome is REJECT, "a copy's decision is nobody's earlier one"


def test_a_copys_decision_is_not_used_again(desk: Desk, golden: str) -> None:
    plain(desk)
    desk.decide(desk.lease(reviewer="ann"), APPROVE, reviewer="ann")
    again = desk.item(desk.keep("again", "golden", reuse_decision=True).item_id)
    assert again.decisions[-1].outcome is REJECT


def test_nobody_gets_one_twice_within_the_time_nor_one_of_their_own(
    desk: Desk, golden: str
) -> None:
    for name in ("r1", "r2", "r3"):
        plain(desk, name)
    assert desk.lease(reviewer="cat").item.golden_of == "", "cat decided it"
    assert desk.lease(reviewer="lea").item.golden_of == "", "lea marked it"
    desk.decide(desk.lease(reviewer="ann"), REJECT, reviewer="ann")
    assert desk.lease(reviewer="ann").item.golden_of == ""
    desk.clock.advance(31 * DAY_S)
    assert desk.lease(reviewer="ann").item.golden_of == golden


def test_only_where_there_is_something_to_claim_and_of_the_categories_asked_for(
    desk: Desk, golden: str
) -> None:
    assert desk.claim(reviewer="ann") is None
    next_id = plain(desk)
    assert desk.lease(reviewer="ann", categories=("blue",)).item.item_id == next_id
    plain(desk, "r2")
    assert desk.lease(reviewer="ann", item_id=desk.keep("r3").item_id).item.golden_of == ""


def test_a_share_of_claims_is_drawn(desk: Desk, golden: str) -> None:
    desk.store.goldens = GoldenPlan(share=0.25, again_after_s=0.0)
    for number in range(120):
        plain(desk, f"r{number}")
    drawn = sum(desk.lease(reviewer="ann").item.golden_of != "" for _ in range(120))
    assert 15 <= drawn <= 50, "120 draws at 0.25: four standard deviations are 19"
    desk.store.goldens = GoldenPlan()
    assert desk.lease(reviewer="ann").item.golden_of == ""


def test_one_less_waits_whether_the_claim_gets_a_copy_or_not(desk: Desk, golden: str) -> None:
    plain(desk, "r1")
    plain(desk, "r2")

    def counts() -> tuple[int, ...]:
        by_state = desk.store.stats(tenant="t").by_state
        return by_state[State.READY], by_state[State.LEASED]

    assert counts() == (2, 0)
    copy = desk.lease(reviewer="ann")
    assert copy.item.golden_of
    assert counts() == (1, 1)
    desk.store.release(tenant="t", item_id=copy.item.item_id, token=copy.token)
    assert counts() == (2, 0), "given back it waits as the item whose place it took"
    assert desk.store.stats(tenant="u").by_state[State.READY] == 0


def copied(desk: Desk) -> Lease:
    plain(desk)
    return desk.lease(reviewer="ann")


def test_a_copy_that_is_given_back_waits_for_its_person_and_is_withdrawn(
    desk: Desk, golden: str
) -> None:
    lease = copied(desk)
    item_id = lease.item.item_id
    released = desk.store.release(tenant="t", item_id=item_id, token=lease.token)
    assert released.state is State.READY
    assert desk.item(item_id).golden_for == "ann"
    desk.store.goldens = GoldenPlan()
    assert desk.claim(reviewer="ben", item_id=item_id) is None
    again = desk.lease(reviewer="ann")
    assert again.item.item_id == item_id, "it comes again as others do"
    desk.store.release(tenant="t", item_id=item_id, token=again.token)
    desk.store.expire_leases()
    assert desk.item(item_id).state is State.READY
    desk.clock.advance(WAIT_S + 1)
    desk.store.expire_leases()
    assert desk.item(item_id).state is State.EXPIRED
    assert desk.item(golden).state is State.DECIDED


def test_a_copy_whose_lease_ends_is_withdrawn_and_never_parked(desk: Desk, golden: str) -> None:
    lease = copied(desk)
    desk.clock.advance(601.0)
    desk.store.expire_leases()
    assert desk.item(lease.item.item_id).state is State.EXPIRED
    assert report(desk).total.golden == 0


def test_an_answer_may_be_taken_back_and_the_last_one_counts(desk: Desk, golden: str) -> None:
    lease = copied(desk)
    record = desk.decide(lease, APPROVE, reviewer="ann")
    undo = ReopenRequest(
        tenant="t", item_id=record.item_id, cause=Cause.UNDO, decision_id=record.decision_id
    )
    assert desk.store.reopen(undo).state is State.READY
    assert report(desk).total.golden == 0
    again = desk.lease(reviewer="ann", item_id=record.item_id)
    desk.decide(again, REJECT, reviewer="ann")
    found = report(desk).total
    assert (found.golden, found.golden_right) == (1, 1)


def test_a_copy_attaches_to_nothing(desk: Desk, golden: str) -> None:
    record = desk.decide(copied(desk), APPROVE, reviewer="ann")
    desk.keep("again", "golden")
    contested = ReopenRequest(tenant="t", item_id=record.item_id, cause=Cause.APPEAL)
    assert desk.store.reopen(contested).state is State.READY


def test_an_erasure_takes_the_golden_one_and_its_copies(desk: Desk, golden: str) -> None:
    lease = copied(desk)
    before = events(desk)
    asked = EraseRequest(tenant="t", item_id=golden, reason="court order", actor="law")
    assert len(desk.store.erase(asked).decisions) == 2
    assert events(desk) == before + 1, "the uploader hears of the real one"
    assert desk.item(lease.item.item_id).state is State.EXPIRED
    assert desk.item(lease.item.item_id).uploader_ref == ""
    assert desk.store.goldens_listed("t") == []
    plain(desk, "r2")
    assert desk.lease(reviewer="ben").item.golden_of == ""


def test_retention_spares_the_picture_while_it_is_golden(desk: Desk, golden: str) -> None:
    lease = copied(desk)
    desk.decide(lease, REJECT, reviewer="ann")
    desk.clock.advance(1000 * DAY_S)
    assert desk.store.retire(older_than_s=DAY_S, limit=100) == []
    assert desk.item(golden).state is State.DECIDED
    assert desk.item(lease.item.item_id).state is State.EXPIRED
    assert report(desk).total.golden_right == 1, "the figures stay"
    desk.store.unmark_golden(GoldenRequest(tenant="t", item_id=golden, actor="lea"))
    free = desk.store.retire(older_than_s=DAY_S, limit=100)
    assert free == [("t", lease.item.sha256)]


def test_an_appeal_ends_it_since_its_answer_is_in_doubt(desk: Desk, golden: str) -> None:
    desk.store.reopen(ReopenRequest(tenant="t", item_id=golden, cause=Cause.APPEAL))
    assert desk.store.goldens_listed("t") == []
    desk.decide(desk.lease(reviewer="ben"), APPROVE, reviewer="ben")
    marked = mark(desk, golden)
    assert marked.outcome is APPROVE, "it can be marked again, with its new answer"


def test_marking_is_repeatable_and_only_for_what_people_decided(desk: Desk, golden: str) -> None:
    assert mark(desk, golden) == desk.store.goldens_listed("t")[0]
    (found,) = desk.store.goldens_listed("t")
    assert (found.outcome, found.labels, found.category) == (REJECT, ("red",), "red")
    assert (found.marked_by, found.note) == ("lea", "a clear case")
    assert desk.store.goldens_listed("other") == []
    assert desk.item(golden).golden
    with pytest.raises(ArrowNotAllowed):
        mark(desk, plain(desk))
    lease = desk.lease(reviewer="ann")
    desk.decide(lease, REJECT, reviewer="ann")
    with pytest.raises(ArrowNotAllowed):
        mark(desk, lease.item.item_id)  # a copy
    with pytest.raises(ItemNotFound):
        mark(desk, "nothing")
    desk.store.unmark_golden(GoldenRequest(tenant="t", item_id=golden))
    desk.store.unmark_golden(GoldenRequest(tenant="t", item_id=golden))
    assert not desk.item(golden).golden


def test_figures_of_precision_leave_copies_out(desk: Desk, golden: str) -> None:
    with desk.store.backend.read() as tx:
        before = tx.judged_counts("t", since=0.0, until=desk.clock() + 9.0, look_at=99)[0]
    desk.decide(copied(desk), REJECT, reviewer="ann")
    with desk.store.backend.read() as tx:
        after = tx.judged_counts("t", since=0.0, until=desk.clock() + 9.0, look_at=99)[0]
    assert before == after


def test_the_chain_and_the_history_of_a_copy_are_whole(desk: Desk, golden: str) -> None:
    lease = copied(desk)
    desk.decide(lease, REJECT, reviewer="ann")
    item_id = lease.item.item_id
    assert desk.store.chain_problems(tenant="t", item_id=item_id) == ()
    causes = [step.cause for step in desk.store.history(tenant="t", item_id=item_id)]
    assert causes == [Cause.ENQUEUE, Cause.CLAIM, Cause.DECIDE]


def test_a_copy_is_listed_as_an_item(desk: Desk, golden: str) -> None:
    lease = copied(desk)
    page = desk.store.list(ListRequest(tenant="t", states=(State.LEASED,)))
    (found,) = page.items
    assert dataclasses.replace(found, golden_of="") == dataclasses.replace(lease.item, golden_of="")
    assert isinstance(found, Item)
