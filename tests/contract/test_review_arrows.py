"""No item changes its state but along an arrow, in every backend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers.review_queue import Desk
from imagesieve_server.core.errors import ArrowNotAllowed, LeaseLost, StoreUnavailable
from imagesieve_server.core.review import OPEN, Cause, State, arrow
from imagesieve_server.review_queue import moves
from imagesieve_server.review_queue.rows import ItemRow

LEASE = {"token": "x", "claimed_by": "x", "claimed_at": 1.0, "lease_until": 2.0}


def row_in(desk: Desk, state: State) -> tuple[ItemRow, str]:
    """An item brought to ``state`` by the ordinary ways, and its token ("" where none)."""
    kept = desk.keep("r1")
    token = ""
    if state is State.LEASED:
        token = desk.lease().token
    elif state is State.PARKED:
        desk.park()
    elif state in (State.DECIDED, State.EXPIRED):
        desk.decide(desk.lease())
    with desk.store.backend.write() as tx:
        row = moves.require_item(tx, "t", kept.item_id)
        if state is State.EXPIRED:
            row = moves.move(tx, row, Cause.RETAIN_END, now=tx.now(), actor="")
    assert row.state is state
    return row, token


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("state", list(State))
def test_a_change_happens_exactly_where_an_arrow_is_drawn(
    desk: Desk, state: State, cause: Cause
) -> None:
    row, token = row_in(desk, state)
    step = arrow(state, cause)
    changes = LEASE if cause is Cause.CLAIM else {}

    def change() -> ItemRow:
        with desk.store.backend.write() as tx:
            return moves.move(
                tx, row, cause, now=desk.clock(), actor="", token=token, changes=changes
            )

    if step is None:
        with pytest.raises(ArrowNotAllowed):
            change()
        assert desk.item(row.item_id).state is state
        return
    after = change()
    assert desk.item(row.item_id).state is step.target is after.state
    assert after.round == row.round + (1 if step.new_round else 0)
    assert (after.token is None) == (step.target is not State.LEASED)


@pytest.mark.parametrize("cause", [Cause.RELEASE, Cause.ESCALATE, Cause.REVIEW_AGAIN, Cause.DECIDE])
def test_what_needs_the_token_needs_the_right_one(desk: Desk, cause: Cause) -> None:
    row, _ = row_in(desk, State.LEASED)
    with desk.store.backend.write() as tx, pytest.raises(LeaseLost):
        moves.move(tx, row, cause, now=desk.clock(), actor="", token="wrong")
    assert desk.item(row.item_id).state is State.LEASED


@pytest.mark.parametrize("cause", [Cause.LEGAL_DELETE, Cause.GROUP_CLOSE])
def test_closing_without_a_token_fences_the_living_one_out(desk: Desk, cause: Cause) -> None:
    desk.keep("r1")
    lease = desk.lease()
    with desk.store.backend.write() as tx:
        row = moves.require_item(tx, "t", lease.item.item_id)
        moves.move(tx, row, cause, now=tx.now(), actor="law")
    with pytest.raises(LeaseLost):
        desk.decide(lease)
    assert desk.item(lease.item.item_id).state is State.DECIDED


@pytest.mark.parametrize("stale", [{"version": 99}, {"state": State.PARKED}, {"token": "other"}])
def test_the_store_refuses_a_change_of_a_row_that_is_not_as_it_was_seen(
    desk: Desk, stale: dict[str, object]
) -> None:
    """The guard is in the store's own statement, not only in the rules before it."""
    row, _ = row_in(desk, State.LEASED)
    after = replace(row, severity=4, version=row.version + 1)
    with desk.store.backend.write() as tx:
        assert not tx.change_item(replace(row, **stale), after)  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailable):
            moves.save(tx, replace(row, **stale), after)  # type: ignore[arg-type]
    assert desk.item(row.item_id).severity == row.severity
    with desk.store.backend.write() as tx:
        assert tx.change_item(row, after)
    assert desk.item(row.item_id).severity == 4


@pytest.mark.parametrize("state", sorted(OPEN))
def test_no_second_open_item_of_the_same_bytes_can_be_stored(desk: Desk, state: State) -> None:
    row, _ = row_in(desk, state)
    lease = {**LEASE, "token": "y"} if state is State.LEASED else {}
    twin = replace(row, item_id="twin", **lease)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable), desk.store.backend.write() as tx:
        tx.add_items([twin])
    with desk.store.backend.write() as tx:
        tx.add_items([replace(twin, state=State.DECIDED, **moves.NO_LEASE)])


def test_a_transaction_that_fails_leaves_no_trace(desk: Desk) -> None:
    kept = desk.keep("r1")
    before = desk.item(kept.item_id)

    def fail() -> None:
        with desk.store.backend.write() as tx:
            row = moves.require_item(tx, "t", kept.item_id)
            moves.move(tx, row, Cause.CLAIM, now=tx.now(), actor="", changes=LEASE)
            tx.next_positions("t", 7)
            tx.add_items([replace(row, item_id="new", sha256="0" * 64)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert desk.item(kept.item_id) == before
    assert len(desk.store.history(tenant="t", item_id=kept.item_id)) == 1
    with desk.store.backend.write() as tx:
        assert tx.item("t", "new") is None
        assert tx.next_positions("t", 1) == 1
