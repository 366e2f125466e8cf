"""One decision closes a group as it was shown, and is taken back with all that it closed."""

from __future__ import annotations

from typing import Any

import pytest
from contract.test_review_similar import flipped, keep

from helpers.review_queue import Desk
from imagesieve_server.core.errors import (
    DecisionConflict,
    GroupChanged,
    InvalidRequest,
    ItemNotFound,
    LeaseLost,
)
from imagesieve_server.core.groups import (
    CloseGroupRequest,
    Fate,
    Group,
    GroupClose,
    GroupSummary,
    Held,
    Progress,
    UndoGroupCloseRequest,
)
from imagesieve_server.core.review import Cause, Item, Outcome, State
from imagesieve_server.core.review_afterwards import EraseRequest, ReopenRequest
from imagesieve_server.core.verdict import Verdict
from imagesieve_server.review_queue import group_closing, group_reading

APPROVE, REJECT, ESCALATE = Outcome.APPROVE, Outcome.REJECT, Outcome.ESCALATE


def flood(desk: Desk, count: int, *, first: int = 0) -> list[Item]:
    """Copies of one picture, a second apart."""
    items = []
    for number in range(first, first + count):
        items.append(keep(desk, f"f{number}", flipped(number % 4)))
        desk.clock.advance(1.0)
    return items


def show(desk: Desk, item: Item, *, tenant: str = "t") -> Group:
    group_id = item.group_id
    return desk.store.read(lambda tx: group_reading.group(tx, tenant=tenant, group_id=group_id))


def order(desk: Desk, shown: Group, close_id: str = "c1", **fields: Any) -> GroupClose:
    plain = {
        "tenant": "t",
        "close_id": close_id,
        "group_id": shown.summary.group_id,
        "snapshot": shown.snapshot,
        "count": shown.closable,
        "outcome": REJECT,
        "labels": ("spam",),
        "note": "a flood",
        "actor": "lea",
    }
    request = CloseGroupRequest(**{**plain, **fields})
    return desk.store.transact(lambda tx: group_closing.order(tx, request))


def undo(desk: Desk, close_id: str = "c1", **fields: Any) -> GroupClose:
    plain = {"tenant": "t", "close_id": close_id, "note": "a mistake", "actor": "lea"}
    request = UndoGroupCloseRequest(**{**plain, **fields})
    return desk.store.transact(lambda tx: group_closing.undo(tx, request))


def step(desk: Desk, close_id: str = "c1") -> GroupClose:
    return desk.store.transact(lambda tx: group_closing.step(tx, tenant="t", close_id=close_id))


def carried_out(desk: Desk, close_id: str = "c1") -> GroupClose:
    while True:
        close = step(desk, close_id)
        if close.progress in (Progress.CLOSED, Progress.UNDONE):
            return close


def states(desk: Desk, items: list[Item]) -> list[State]:
    return [desk.item(item.item_id).state for item in items]


def test_a_group_is_shown_with_what_waits_and_what_a_close_would_close(desk: Desk) -> None:
    items = flood(desk, 4)
    desk.decide(desk.lease(item_id=items[0].item_id))
    desk.lease(item_id=items[1].item_id)
    shown = show(desk, items[3])
    assert shown.summary.by_state == {State.DECIDED: 1, State.LEASED: 1, State.READY: 2}
    assert (shown.summary.waiting, shown.closable, shown.more, shown.held) == (3, 3, 0, {})
    assert (shown.summary.first_at, shown.summary.last_at) == (
        items[0].enqueued_at, items[3].enqueued_at,
    )  # fmt: skip


def test_groups_that_wait_are_listed_the_largest_first(desk: Desk) -> None:
    small = keep(desk, "a1", flipped(100))
    keep(desk, "a2", flipped(101))
    keep(desk, "alone", flipped(200))
    large = flood(desk, 3)
    found = desk.store.read(lambda tx: group_reading.groups(tx, tenant="t", limit=9))
    assert [(g.group_id, g.waiting) for g in found] == [
        (large[0].group_id, 3), (small.group_id, 2),
    ]  # fmt: skip
    assert desk.store.read(lambda tx: group_reading.groups(tx, tenant="u", limit=9)) == []


def test_a_groups_members_are_counted_without_looking_at_each(desk: Desk) -> None:
    items = flood(desk, 3)
    desk.decide(desk.lease(item_id=items[0].item_id))

    def counted(tenant: str, group_id: str) -> GroupSummary:
        return desk.store.read(
            lambda tx: group_reading.summary(tx, tenant=tenant, group_id=group_id)
        )

    assert counted("t", items[0].group_id) == show(desk, items[0]).summary
    for tenant, group_id in (("u", items[0].group_id), ("t", "another")):
        with pytest.raises(ItemNotFound):
            counted(tenant, group_id)


def test_members_are_paged_in_the_order_of_arrival(desk: Desk) -> None:
    items = flood(desk, 5)
    desk.decide(desk.lease(item_id=items[1].item_id))

    def page(token: str, size: int = 2, group_id: str = items[0].group_id) -> Any:
        return desk.store.read(
            lambda tx: group_reading.members(
                tx, tenant="t", group_id=group_id, page_size=size, page_token=token
            )
        )

    found, token = [], ""
    for _ in range(3):
        part = page(token)
        found += [item.item_id for item in part.items]
        token = part.next_page_token
    assert (found, token) == ([item.item_id for item in items], "")
    for bad in ("!", "bm8="):
        with pytest.raises(InvalidRequest):
            page(bad)
    with pytest.raises(InvalidRequest):
        page(page("").next_page_token, group_id="another")


def test_a_close_decides_every_open_member_with_a_decision_of_its_own(desk: Desk) -> None:
    items = flood(desk, 3)
    start = len(desk.store.decision_events(tenant="t", after=0, limit=99))
    ordered = order(desk, show(desk, items[0]))
    assert (ordered.progress, ordered.by_fate) == (Progress.CLOSING, {Fate.PENDING: 3})
    done = carried_out(desk)
    assert (done.progress, done.by_fate) == (Progress.CLOSED, {Fate.CLOSED: 3})
    assert states(desk, items) == [State.DECIDED] * 3
    made = [desk.item(item.item_id).decisions for item in items]
    assert [len(decisions) for decisions in made] == [1, 1, 1]
    for (record,) in made:
        assert (record.cause, record.outcome, record.reviewer) == (
            Cause.GROUP_CLOSE, REJECT, "lea",
        )  # fmt: skip
        assert (record.labels, record.note, record.effective) == (("spam",), "a flood", True)
    told = desk.store.decision_events(tenant="t", after=0, limit=99)[start:]
    assert sorted(event.decision_id for event in told) == sorted(d.decision_id for (d,) in made)
    for item in items:
        assert desk.store.chain_problems(tenant="t", item_id=item.item_id) == ()
        assert desk.store.history(tenant="t", item_id=item.item_id)[-1].cause is Cause.GROUP_CLOSE


def test_whoever_arrives_after_the_look_stays_open(desk: Desk) -> None:
    """Later arrivals never get a group's decision unseen, not even in the same instant."""
    items = flood(desk, 3)
    shown = show(desk, items[0])
    late = keep(desk, "late")
    order(desk, shown)
    later = keep(desk, "later", flipped(1))
    carried_out(desk)
    assert states(desk, [late, later]) == [State.READY] * 2
    assert states(desk, items) == [State.DECIDED] * 3
    assert show(desk, late).closable == 2


def test_a_close_is_refused_where_a_member_that_was_not_shown_would_be_closed(desk: Desk) -> None:
    items = flood(desk, 3)
    done = desk.decide(desk.lease(item_id=items[0].item_id))
    shown = show(desk, items[1])
    desk.store.reopen(
        ReopenRequest(
            tenant="t", item_id=items[0].item_id, cause=Cause.UNDO, decision_id=done.decision_id
        )
    )
    with pytest.raises(GroupChanged):
        order(desk, shown)
    assert states(desk, items) == [State.READY] * 3
    again = show(desk, items[1])
    assert again.closable == 3
    order(desk, again)
    assert carried_out(desk).by_fate == {Fate.CLOSED: 3}


def test_a_sample_that_became_a_flag_behind_the_look_is_not_closed(desk: Desk) -> None:
    sample = keep(desk, "s1", content="a", audit=True, inclusion_probability=0.1)
    desk.clock.advance(1.0)
    items = flood(desk, 2)
    shown = show(desk, items[0])
    keep(desk, "r1", content="a")
    assert desk.item(sample.item_id).group_id == items[0].group_id
    with pytest.raises(GroupChanged):
        order(desk, shown)


def test_audit_samples_are_never_closed_with_a_group(desk: Desk) -> None:
    items = flood(desk, 2)
    sample = keep(desk, "s1", flipped(1), audit=True, inclusion_probability=0.1)
    shown = show(desk, items[0])
    assert shown.closable == 2
    order(desk, shown)
    carried_out(desk)
    assert states(desk, [sample]) == [State.READY]


def test_who_decides_faster_keeps_the_decision(desk: Desk) -> None:
    items = flood(desk, 3)
    lease = desk.lease(item_id=items[1].item_id)
    order(desk, show(desk, items[0]))
    record = desk.decide(lease, APPROVE)
    assert carried_out(desk).by_fate == {Fate.CLOSED: 2, Fate.SKIPPED: 1}
    assert [d.decision_id for d in desk.item(items[1].item_id).decisions] == [record.decision_id]


def test_a_close_fences_out_whoever_holds_a_member(desk: Desk) -> None:
    items = flood(desk, 2)
    lease = desk.lease(item_id=items[1].item_id)
    order(desk, show(desk, items[0]))
    carried_out(desk)
    with pytest.raises(LeaseLost):
        desk.decide(lease)
    with pytest.raises(LeaseLost):
        desk.store.release(tenant="t", item_id=items[1].item_id, token=lease.token)


def test_parked_members_are_closed(desk: Desk) -> None:
    (item,) = flood(desk, 1)
    desk.park()
    shown = show(desk, item)
    assert shown.summary.by_state == {State.PARKED: 1}
    order(desk, shown)
    assert carried_out(desk).by_fate == {Fate.CLOSED: 1}


def test_members_that_are_owed_a_look_of_their_own_stay_open(desk: Desk) -> None:
    items = flood(desk, 4)
    several = keep(desk, "two", flipped(1), reviews_needed=2)
    desk.decide(desk.lease(item_id=items[1].item_id), ESCALATE)
    done = desk.decide(desk.lease(item_id=items[2].item_id))
    desk.store.reopen(
        ReopenRequest(
            tenant="t", item_id=items[2].item_id, cause=Cause.APPEAL, decision_id=done.decision_id
        )
    )
    shown = show(desk, items[0])
    assert shown.held == {
        Held.SEVERAL_REVIEWS: 1, Held.ESCALATED: 1, Held.CONTESTED: 1,
    }  # fmt: skip
    assert shown.closable == 2
    order(desk, shown)
    assert carried_out(desk).by_fate == {Fate.CLOSED: 2}
    assert states(desk, [items[1], items[2], several]) == [State.READY] * 3


def test_a_member_that_is_escalated_after_the_order_is_left(desk: Desk) -> None:
    items = flood(desk, 2)
    order(desk, show(desk, items[0]))
    desk.decide(desk.lease(item_id=items[0].item_id), ESCALATE)
    assert carried_out(desk).by_fate == {Fate.CLOSED: 1, Fate.SKIPPED: 1}


def test_a_member_that_a_contested_item_waits_for_is_left(desk: Desk) -> None:
    """Somebody took back an old decision on the same bytes, which waits for the open item."""
    first = keep(desk, "r1", content="same")
    done = desk.decide(desk.lease(item_id=first.item_id), APPROVE)
    second = keep(desk, "r2", content="same")
    desk.store.reopen(
        ReopenRequest(
            tenant="t", item_id=first.item_id, cause=Cause.UNDO, decision_id=done.decision_id
        )
    )
    assert desk.item(first.item_id).attached_to == second.item_id
    order(desk, show(desk, second))
    assert carried_out(desk).by_fate == {Fate.SKIPPED: 1}
    assert desk.item(second.item_id).state is State.READY
    desk.decide(desk.lease(item_id=second.item_id, reviewer="ben"), APPROVE, reviewer="ben")
    last = desk.item(first.item_id).decisions[-1]
    assert (last.cause, last.outcome, last.reviewer) == (Cause.FOLLOW, APPROVE, "ben")


def test_an_order_repeats_safely_and_its_id_means_one_order(desk: Desk) -> None:
    items = flood(desk, 2)
    shown = show(desk, items[0])
    first = order(desk, shown)
    assert order(desk, shown) == first
    done = carried_out(desk)
    assert order(desk, shown) == done == step(desk)
    with pytest.raises(DecisionConflict):
        order(desk, shown, outcome=APPROVE)
    assert states(desk, items) == [State.DECIDED] * 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("outcome", ESCALATE), ("count", 1), ("count", 3), ("count", 0), ("snapshot", "?"),
        ("snapshot", ""), ("snapshot", "WzFd"), ("group_id", "other"), ("actor", ""),
        ("close_id", ""), ("note", "\x00"), ("labels", ("\x00",)),
    ],
)  # fmt: skip
def test_what_does_not_say_what_was_shown_is_refused(desk: Desk, field: str, value: Any) -> None:
    items = flood(desk, 2)
    with pytest.raises(InvalidRequest):
        order(desk, show(desk, items[0]), **{field: value})
    assert states(desk, items) == [State.READY] * 2


def test_a_group_is_its_tenant_s_own(desk: Desk) -> None:
    items = flood(desk, 2)
    with pytest.raises(ItemNotFound):
        show(desk, items[0], tenant="u")
    with pytest.raises(GroupChanged):
        order(desk, show(desk, items[0]), tenant="u")
    order(desk, show(desk, items[0]))
    with pytest.raises(ItemNotFound):
        undo(desk, tenant="u")


def test_an_undo_reopens_what_was_closed_and_nothing_else(desk: Desk) -> None:
    before = flood(desk, 1)
    desk.decide(desk.lease(item_id=before[0].item_id), APPROVE)
    items = flood(desk, 3, first=1)
    order(desk, show(desk, items[0]))
    carried_out(desk)
    assert undo(desk).progress is Progress.UNDOING
    done = carried_out(desk)
    assert (done.progress, done.by_fate) == (Progress.UNDONE, {Fate.REOPENED: 3})
    assert (done.undone_by, done.undone_at) == ("lea", desk.clock())
    assert states(desk, items) == [State.READY] * 3
    assert states(desk, before) == [State.DECIDED]
    item = desk.item(items[0].item_id)
    assert (item.round, item.opened_by, item.opening_note) == (2, Cause.UNDO, "a mistake")
    assert undo(desk) == done == carried_out(desk)
    assert show(desk, items[0]).closes[0] == done


def test_what_was_undone_can_be_closed_again(desk: Desk) -> None:
    items = flood(desk, 2)
    order(desk, show(desk, items[0]))
    carried_out(desk)
    undo(desk)
    carried_out(desk)
    order(desk, show(desk, items[0]), "c2", outcome=APPROVE)
    assert carried_out(desk, "c2").by_fate == {Fate.CLOSED: 2}
    records = desk.item(items[0].item_id).decisions
    assert [r.outcome for r in records] == [REJECT, APPROVE]
    assert records[1].supersedes == records[0].decision_id
    assert undo(desk).by_fate == {Fate.REOPENED: 2}  # the first one has nothing more to undo
    carried_out(desk)
    assert states(desk, items) == [State.DECIDED] * 2


def test_an_undo_leaves_what_somebody_has_decided_since_or_the_law_has_taken(desk: Desk) -> None:
    items = flood(desk, 3)
    order(desk, show(desk, items[0]))
    carried_out(desk)
    record = desk.item(items[0].item_id).decisions[-1]
    desk.store.reopen(
        ReopenRequest(
            tenant="t", item_id=items[0].item_id, cause=Cause.APPEAL,
            decision_id=record.decision_id,
        )
    )  # fmt: skip
    desk.decide(desk.lease(item_id=items[0].item_id), APPROVE)
    desk.store.erase(EraseRequest(tenant="t", reason="law", sha256=items[1].sha256))
    undo(desk)
    assert carried_out(desk).by_fate == {Fate.KEPT: 2, Fate.REOPENED: 1}
    assert states(desk, items) == [State.DECIDED, State.EXPIRED, State.READY]


def test_an_undo_stops_an_order_on_its_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_closing, "STEP", 2)
    items = flood(desk, 5)
    order(desk, show(desk, items[0]))
    assert step(desk).by_fate == {Fate.CLOSED: 2, Fate.PENDING: 3}
    undo(desk)
    assert carried_out(desk).by_fate == {Fate.REOPENED: 2, Fate.SKIPPED: 3}
    assert states(desk, items) == [State.READY] * 5


def test_an_order_is_finished_in_parts_whoever_goes_on_with_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_closing, "STEP", 2)
    items = flood(desk, 5)
    order(desk, show(desk, items[0]))
    step(desk)
    assert desk.store.read(lambda tx: tx.unfinished_closes()) == [("t", "c1")]
    assert carried_out(desk).by_fate == {Fate.CLOSED: 5}
    assert desk.store.read(lambda tx: tx.unfinished_closes()) == []


def test_of_a_very_large_group_the_first_ones_are_closed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (group_reading, group_closing):
        monkeypatch.setattr(module, "CLOSE_MAX", 3)
    items = flood(desk, 5)
    shown = show(desk, items[0])
    assert (shown.closable, shown.more) == (3, 2)
    order(desk, shown)
    carried_out(desk)
    assert states(desk, items) == [State.DECIDED] * 3 + [State.READY] * 2


def test_what_was_flagged_otherwise_than_the_seed_is_owed_a_look_of_its_own(desk: Desk) -> None:
    """A hash can be forged; what the encoder sees in the forgery is then something else."""
    items = flood(desk, 2)
    other = keep(desk, "forged", flipped(1), category="weapons_of_war")
    desk.clock.advance(1.0)
    stronger = keep(desk, "stronger", flipped(2), verdict=Verdict.BLOCK)
    shown = show(desk, items[0])
    assert (shown.closable, shown.held) == (2, {Held.JUDGED_OTHERWISE: 2})
    order(desk, shown, outcome=APPROVE)
    carried_out(desk)
    assert states(desk, [*items, other, stronger]) == [State.DECIDED] * 2 + [State.READY] * 2


def test_what_becomes_worse_after_the_order_is_skipped(desk: Desk) -> None:
    items = flood(desk, 2)
    order(desk, show(desk, items[0]), outcome=APPROVE)
    desk.keep("again", f"content of {items[1].item_id}", sha256=items[1].sha256,
              verdict=Verdict.BLOCK)  # fmt: skip
    close = carried_out(desk)
    assert close.by_fate == {Fate.CLOSED: 1, Fate.SKIPPED: 1}
    assert desk.item(items[1].item_id).state is State.READY
