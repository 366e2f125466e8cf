"""Appeal, undo, overturn: a new round whose decision supersedes the one before."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.review_queue import Desk
from imagesieve_server.core.errors import ArrowNotAllowed, InvalidRequest, ItemNotFound
from imagesieve_server.core.review import Cause, DecisionRecord, Item, Outcome, State
from imagesieve_server.core.review_afterwards import REOPENING, ReopenRequest

APPROVE, REJECT, ESCALATE = Outcome.APPROVE, Outcome.REJECT, Outcome.ESCALATE


def reopen(desk: Desk, item_id: str, cause: Cause = Cause.APPEAL, **fields: Any) -> Item:
    asked = {"tenant": "t", "item_id": item_id, "cause": cause, **fields}
    return desk.store.reopen(ReopenRequest(**asked))


def decided(desk: Desk, name: str = "r1", content: str = "") -> DecisionRecord:
    desk.keep(name, content)
    return desk.decide(desk.lease(), REJECT)


@pytest.mark.parametrize("cause", REOPENING)
def test_a_decided_item_is_ready_again_in_a_new_round(desk: Desk, cause: Cause) -> None:
    first = decided(desk)
    desk.clock.advance(5000.0)
    item = reopen(desk, first.item_id, cause, note="it is a toy", actor="uma")
    assert (item.state, item.round, item.tier, item.expiries) == (State.READY, 2, 1, 0)
    assert (item.opened_by, item.opening_note) == (cause, "it is a toy")
    assert item.decisions == (first,), "the history is kept"
    assert item.due_at > desk.clock()
    step = desk.store.history(tenant="t", item_id=first.item_id)[-1]
    assert (step.cause, step.actor, step.detail["note"]) == (cause, "uma", "it is a toy")


def test_the_next_decision_supersedes_and_its_event_says_so(desk: Desk) -> None:
    first = decided(desk)
    reopen(desk, first.item_id)
    second = desk.decide(desk.lease(reviewer="ben"), APPROVE, reviewer="ben")
    assert (second.supersedes, second.round) == (first.decision_id, 2)
    events = desk.store.events(tenant="t", from_oldest=True).events
    assert [e.decision.supersedes for e in events] == ["", first.decision_id]
    reopen(desk, first.item_id)
    third = desk.decide(desk.lease(), REJECT)
    assert third.supersedes == second.decision_id
    assert desk.store.chain_problems(tenant="t", item_id=first.item_id) == ()


def test_a_reopened_item_does_not_count_as_waiting_since_it_first_came(desk: Desk) -> None:
    first = decided(desk)
    desk.clock.advance(90 * 86400.0)
    reopen(desk, first.item_id)
    stats = desk.store.stats(tenant="t")
    assert stats.oldest_ready_at == stats.now


def test_a_repeat_changes_nothing(desk: Desk) -> None:
    first = decided(desk)
    once = reopen(desk, first.item_id, decision_id=first.decision_id, note="a")
    again = reopen(desk, first.item_id, decision_id=first.decision_id, note="b")
    assert once == again
    second = desk.decide(desk.lease(reviewer="ben"), APPROVE)
    late = reopen(desk, first.item_id, decision_id=first.decision_id)
    assert (late.state, late.decisions) == (State.DECIDED, (first, second))
    assert reopen(desk, first.item_id, decision_id=second.decision_id).round == 3


def test_an_open_item_stays_as_it_is(desk: Desk) -> None:
    kept = desk.keep("r1")
    assert reopen(desk, kept.item_id).state is State.READY
    lease = desk.lease()
    assert reopen(desk, kept.item_id).state is State.LEASED
    assert desk.decide(lease).effective, "the lease lives on"


def test_what_cannot_be_contested_is_refused(desk: Desk) -> None:
    first = decided(desk)
    with pytest.raises(ItemNotFound):
        reopen(desk, "none")
    with pytest.raises(ItemNotFound):
        reopen(desk, first.item_id, tenant="other")
    with pytest.raises(InvalidRequest):
        reopen(desk, first.item_id, decision_id="another item's")
    with pytest.raises(InvalidRequest):
        reopen(desk, first.item_id, Cause.RELEASE)
    desk.store.retire(older_than_s=-1.0, limit=10)
    with pytest.raises(ArrowNotAllowed):
        reopen(desk, first.item_id)


def test_a_contested_item_attaches_to_the_open_one_of_the_same_bytes(desk: Desk) -> None:
    first = decided(desk, "r1", "picture")
    desk.keep("r2", "picture")
    lease = desk.lease()
    attached = reopen(desk, first.item_id, note="look again")
    assert (attached.state, attached.attached_to) == (State.DECIDED, lease.item.item_id)
    assert reopen(desk, first.item_id) == attached, "repeats change nothing"
    shown = desk.item(lease.item.item_id)
    assert (shown.opened_by, shown.opening_note) == (Cause.APPEAL, "look again")
    assert shown.claimed_by == "ann", "whoever holds it keeps it"

    second = desk.decide(lease, APPROVE)
    item = desk.item(first.item_id)
    (_, follows) = item.decisions
    assert (item.state, item.attached_to, item.round) == (State.DECIDED, "", 2)
    assert (follows.outcome, follows.cause) == (APPROVE, Cause.FOLLOW)
    assert follows.supersedes == first.decision_id
    assert second.supersedes == ""
    events = desk.store.events(tenant="t", from_oldest=True).events
    assert [(e.request_id, e.decision.outcome, e.decision.supersedes) for e in events] == [
        ("r1", REJECT, ""),
        ("r2", APPROVE, ""),
        ("r1", APPROVE, first.decision_id),
    ]
    for item_id in (first.item_id, lease.item.item_id):
        assert desk.store.chain_problems(tenant="t", item_id=item_id) == ()


def test_an_open_items_own_contested_decision_is_superseded_with_the_others(desk: Desk) -> None:
    one = decided(desk, "r1", "picture")
    other = decided(desk, "r2", "picture")
    reopen(desk, other.item_id)
    reopen(desk, one.item_id)
    final = desk.decide(desk.lease(reviewer="ben"), APPROVE)
    assert final.supersedes == other.decision_id
    assert desk.item(one.item_id).decisions[-1].supersedes == one.decision_id


def test_a_word_that_does_not_decide_leaves_the_attached_waiting(desk: Desk) -> None:
    first = decided(desk, "r1", "picture")
    desk.keep("r2", "picture")
    reopen(desk, first.item_id)
    desk.decide(desk.lease(), ESCALATE)
    assert desk.item(first.item_id).attached_to != ""
    desk.decide(desk.lease(tier=2, reviewer="lea"), APPROVE)
    assert desk.item(first.item_id).decisions[-1].outcome is APPROVE


def test_decisions_are_used_again_where_the_policy_says_so(desk: Desk) -> None:
    first = decided(desk, "r1", "picture")
    kept = desk.keep("r2", "picture", reuse_decision=True)
    item = desk.item(kept.item_id)
    assert item.item_id != first.item_id
    (reused,) = item.decisions
    assert (item.state, reused.cause, reused.outcome) == (
        State.DECIDED,
        Cause.REUSE_DECISION,
        REJECT,
    )
    assert (reused.reviewer, reused.supersedes) == ("ann", "")
    assert first.decision_id in reused.note
    events = desk.store.events(tenant="t", from_oldest=True).events
    assert [e.request_id for e in events] == ["r1", "r2"]
    (step,) = desk.store.history(tenant="t", item_id=item.item_id)
    assert (step.source, step.target) == (None, State.DECIDED)
    assert desk.store.chain_problems(tenant="t", item_id=item.item_id) == ()
    assert desk.keep("r2", "picture", reuse_decision=True).repeated
    third = desk.keep("r3", "picture", reuse_decision=True)
    assert desk.item(third.item_id).decisions[0].cause is Cause.REUSE_DECISION


def test_a_reused_decision_can_be_contested(desk: Desk) -> None:
    decided(desk, "r1", "picture")
    kept = desk.keep("r2", "picture", reuse_decision=True)
    assert reopen(desk, kept.item_id).state is State.READY
    assert desk.decide(desk.lease(reviewer="ben"), APPROVE).supersedes


@pytest.mark.parametrize(
    "fields",
    [{}, {"policy": "another"}],
    ids=["not asked", "policy"],
)
def test_otherwise_the_same_bytes_are_reviewed_anew(desk: Desk, fields: dict[str, Any]) -> None:
    decided(desk, "r1", "picture")
    asked = {"reuse_decision": bool(fields), **fields}
    kept = desk.keep("r2", "picture", **asked)
    assert desk.item(kept.item_id).state is State.READY
    joined = desk.keep("r3", "picture", reuse_decision=True)
    assert (joined.item_id, joined.joined) == (kept.item_id, True), "an open item takes it in"
