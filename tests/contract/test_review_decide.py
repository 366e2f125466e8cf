"""Decisions: idempotence, escalation, several reviews, events, and the hash chain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from helpers.review_queue import Desk
from imagesieve_server.core.errors import DecisionConflict, ItemNotFound, LeaseLost
from imagesieve_server.core.review import Cause, Lease, Outcome, State
from imagesieve_server.core.review_rules import OTHERS_FIRST_S
from imagesieve_server.review_queue import chain
from imagesieve_server.review_queue.rows import DecisionRow

APPROVE, REJECT, ESCALATE = Outcome.APPROVE, Outcome.REJECT, Outcome.ESCALATE


def rows(desk: Desk, item_id: str) -> list[DecisionRow]:
    with desk.store.backend.read() as tx:
        return list(tx.decisions("t", [item_id]))


def test_a_decision_closes_the_item(desk: Desk) -> None:
    desk.keep("r1")
    lease = desk.lease()
    desk.clock.advance(30.0)
    record = desk.decide(lease, REJECT, labels=("knife", "blood"), note="clear case")
    assert record.effective
    assert record.cause is Cause.DECIDE
    assert (record.outcome, record.labels, record.note) == (
        REJECT,
        ("knife", "blood"),
        "clear case",
    )
    assert (record.round, record.reviewer, record.supersedes) == (1, "ann", "")
    assert record.decided_at == desk.clock()
    item = desk.item(lease.item.item_id)
    assert (item.state, item.claimed_by, item.lease_until) == (State.DECIDED, "", None)
    assert item.decisions == (record,)


def test_a_decision_names_the_versions_behind_what_was_shown(desk: Desk) -> None:
    desk.keep("r1", policy_version="p7", model_version="m7")
    record = desk.decide(desk.lease(), REJECT)
    assert (record.policy_version, record.model_version) == ("p7", "m7")


def test_a_repeated_decision_returns_the_same_record(desk: Desk) -> None:
    desk.keep("r1")
    lease = desk.lease()
    record = desk.decide(lease, REJECT, note="n", labels=("l",))
    desk.clock.advance(5000.0)
    assert desk.decide(lease, REJECT, note="n", labels=("l",)) == record
    assert len(desk.item(lease.item.item_id).decisions) == 1
    assert len(desk.store.decision_events(tenant="t", after=0, limit=10)) == 1


@pytest.mark.parametrize(
    "other",
    [{"outcome": APPROVE}, {"note": "other"}, {"labels": ("x",)}, {"reviewer": "ben"}],
    ids=lambda other: "-".join(other),
)
def test_the_same_token_with_another_content_is_a_conflict(
    desk: Desk, other: dict[str, Any]
) -> None:
    desk.keep("r1")
    lease = desk.lease()
    record = desk.decide(lease, REJECT)
    with pytest.raises(DecisionConflict):
        desk.decide(lease, **{"outcome": REJECT, **other})
    assert desk.item(lease.item.item_id).decisions == (record,)


def test_a_decision_needs_the_items_own_token(desk: Desk) -> None:
    desk.keep("r1")
    desk.keep("r2")
    mine, other = desk.lease(), desk.lease()
    with pytest.raises(LeaseLost):
        desk.decide(mine, token=other.token)
    with pytest.raises(LeaseLost):
        desk.decide(mine, token="")
    with pytest.raises(ItemNotFound):
        desk.decide(mine, item_id="none")
    assert desk.item(mine.item.item_id).decisions == ()


def test_a_ready_item_is_not_decided(desk: Desk) -> None:
    desk.keep("r1")
    lease = desk.lease()
    desk.store.release(tenant="t", item_id=lease.item.item_id, token=lease.token)
    with pytest.raises(LeaseLost):
        desk.decide(lease)


def test_escalation_hands_the_item_to_the_next_tier(desk: Desk) -> None:
    desk.keep("r1")
    first = desk.lease()
    escalated = desk.decide(first, ESCALATE, note="not sure")
    assert not escalated.effective
    assert desk.claim(tier=1) is None
    second = desk.lease(tier=2, reviewer="boss")
    assert second.item.item_id == first.item.item_id
    assert second.item.tier == 2
    final = desk.decide(second, APPROVE, reviewer="boss")
    assert final.effective
    assert desk.item(first.item.item_id).decisions == (escalated, final)
    assert desk.decide(first, ESCALATE, note="not sure") == escalated, "still idempotent"


def review(desk: Desk, reviewer: str, outcome: Outcome, tier: int = 1) -> bool:
    """One review; whether it took effect."""
    lease = desk.lease(reviewer=reviewer, tier=tier)
    return desk.decide(lease, outcome, reviewer=reviewer).effective


def test_two_needed_reviews_are_of_two_people(desk: Desk) -> None:
    kept = desk.keep("r1", reviews_needed=2)
    assert not review(desk, "ann", REJECT)
    assert desk.item(kept.item_id).state is State.READY
    assert desk.claim(reviewer="ann") is None, "ann has had her say"
    assert review(desk, "ben", REJECT)
    assert desk.item(kept.item_id).state is State.DECIDED


def test_two_who_differ_leave_it_to_the_next_tier(desk: Desk) -> None:
    kept = desk.keep("r1", reviews_needed=2)
    assert not review(desk, "ann", REJECT)
    assert not review(desk, "ben", APPROVE)
    assert desk.claim(reviewer="cat") is None
    assert desk.item(kept.item_id).tier == 2
    assert review(desk, "boss", APPROVE, tier=2), "whoever settles a difference does so alone"
    effective = [d.outcome for d in desk.item(kept.item_id).decisions if d.effective]
    assert effective == [APPROVE]


def test_a_difference_is_settled_by_somebody_else_first(desk: Desk) -> None:
    desk.keep("r1", reviews_needed=2)
    review(desk, "ann", REJECT)
    review(desk, "ben", ESCALATE)
    assert desk.claim(tier=2, reviewer="ann") is None
    assert desk.claim(tier=2, reviewer="ben") is None
    desk.clock.advance(OTHERS_FIRST_S + 1)
    assert review(desk, "ann", REJECT, tier=2), "a lead who works alone is done one day"


def test_a_join_raises_the_reviews_needed(desk: Desk) -> None:
    kept = desk.keep("r1", "picture", reviews_needed=1)
    desk.keep("r2", "picture", reviews_needed=2)
    desk.keep("r3", "picture", reviews_needed=1)
    assert desk.item(kept.item_id).reviews_needed == 2


def test_every_submission_gets_its_own_event(desk: Desk) -> None:
    desk.keep("r1", "picture")
    desk.clock.advance(1.0)
    desk.keep("r2", "picture")
    desk.keep("r3", "other")
    record = desk.decide(desk.lease())
    events = desk.store.decision_events(tenant="t", after=0, limit=10)
    assert [(e.position, e.request_id) for e in events] == [(1, "r1"), (2, "r2")]
    assert {e.decision_id for e in events} == {record.decision_id}


def test_positions_run_on_per_tenant_without_gaps(desk: Desk) -> None:
    for name in ("r1", "r2", "r3"):
        desk.keep(name)
    desk.keep("r4", tenant="other")
    desk.decide(desk.lease(tenant="other"))
    lost = desk.lease()
    desk.clock.advance(600.0)
    with pytest.raises(LeaseLost):
        desk.decide(lost)
    for _ in range(3):
        desk.decide(desk.lease())
    events = desk.store.decision_events(tenant="t", after=0, limit=10)
    assert [e.position for e in events] == [1, 2, 3]
    assert [e.position for e in desk.store.decision_events(tenant="t", after=1, limit=1)] == [2]
    assert [e.position for e in desk.store.decision_events(tenant="other", after=0, limit=9)] == [1]


def test_a_word_that_does_not_decide_is_no_event(desk: Desk) -> None:
    desk.keep("r1", reviews_needed=2)
    review(desk, "ann", REJECT)
    review(desk, "ben", ESCALATE)
    assert desk.store.decision_events(tenant="t", after=0, limit=10) == ()


def three_decisions(desk: Desk) -> Lease:
    desk.keep("r1", reviews_needed=3)
    review(desk, "ann", APPROVE)
    review(desk, "ben", APPROVE)
    lease = desk.lease(reviewer="cat")
    desk.decide(lease, APPROVE, reviewer="cat", labels=("é", "日本"), note="line\nbreak")
    return lease


def test_the_chain_of_an_items_decisions_is_whole(desk: Desk) -> None:
    item_id = three_decisions(desk).item.item_id
    assert desk.store.chain_problems(tenant="t", item_id=item_id) == ()
    assert [row.seq for row in rows(desk, item_id)] == [1, 2, 3]


@pytest.mark.parametrize(
    "edit",
    [
        {"outcome": REJECT},
        {"note": "never said"},
        {"reviewer": "somebody"},
        {"decided_at": 1.0},
        {"effective": True},
        {"labels": ("x",)},
        {"token": "x"},
        {"tier": 2},
        {"decision_id": "x"},
    ],
    ids=lambda edit: "-".join(edit),
)
def test_an_edited_decision_breaks_the_chain(desk: Desk, edit: dict[str, Any]) -> None:
    item_id = three_decisions(desk).item.item_id
    whole = rows(desk, item_id)
    with desk.store.backend.read() as tx:
        item = tx.item("t", item_id)
    assert item is not None
    edited = replace(whole[0], **edit)
    assert chain.problems(item, [edited, *whole[1:]]) != ()
    # Whoever edits a decision and mends its own hash breaks the next one's link.
    assert chain.problems(item, [chain.sealed(edited), *whole[1:]]) != ()


def test_a_missing_decision_breaks_the_chain(desk: Desk) -> None:
    item_id = three_decisions(desk).item.item_id
    whole = rows(desk, item_id)
    with desk.store.backend.read() as tx:
        item = tx.item("t", item_id)
    assert item is not None
    assert chain.problems(item, whole) == ()
    for missing in range(3):
        cut = [row for place, row in enumerate(whole) if place != missing]
        assert chain.problems(item, cut) != (), f"without decision {missing + 1}"
