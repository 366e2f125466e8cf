"""Claims are leases: order, repetition, expiry, fencing, release, extension, requeue."""

from __future__ import annotations

import itertools

import pytest

from helpers.review_queue import Desk
from imagesieve_server.core.errors import (
    ArrowNotAllowed,
    InvalidRequest,
    ItemNotFound,
    LeaseLost,
)
from imagesieve_server.core.review import LEASE_MAX_S, LEASE_S, Cause, Lease, Outcome, State

NOBODY = "no such token"


def state_of(desk: Desk, lease: Lease) -> State:
    return desk.item(lease.item.item_id).state


def release(desk: Desk, lease: Lease) -> State:
    kept = desk.store.release(tenant="t", item_id=lease.item.item_id, token=lease.token)
    return kept.state


def extend(desk: Desk, lease: Lease, lease_s: float) -> Lease:
    return desk.store.extend(
        tenant="t", item_id=lease.item.item_id, token=lease.token, lease_s=lease_s
    )


def test_a_claim_leases_the_item_to_one_reviewer(desk: Desk) -> None:
    kept = desk.keep("r1")
    lease = desk.lease(reviewer="ann")
    assert lease.item.item_id == kept.item_id
    assert lease.lease_until == desk.clock() + LEASE_S
    item = desk.item(kept.item_id)
    assert (item.state, item.claimed_by, item.claimed_at) == (State.LEASED, "ann", desk.clock())
    assert desk.claim(reviewer="ben") is None


def test_nothing_ready_is_no_lease(desk: Desk) -> None:
    assert desk.claim() is None


def test_items_are_claimed_by_rank(desk: Desk) -> None:
    """Severity and score put an item ahead; age does in the end."""
    desk.keep("mild", severity=1, score=0.0)
    desk.clock.advance(10.0)
    desk.keep("severe", severity=4, score=0.9)
    desk.keep("middle", severity=2, score=0.9)
    desk.clock.advance(26 * 3600.0)
    desk.keep("late and severe", severity=4, score=0.9)
    claimed = [desk.lease().item.content_ref for _ in range(4)]
    assert claimed == [
        f"content of {name}" for name in ("severe", "middle", "mild", "late and severe")
    ]


def test_a_join_brings_an_item_forward(desk: Desk) -> None:
    desk.keep("r1", "first", severity=2)
    desk.clock.advance(1.0)
    desk.keep("r2", "second", severity=2)
    desk.keep("r3", "second", severity=4)
    assert desk.lease().item.content_ref == "content of r2"


def test_a_claim_takes_only_the_asked_categories_and_tier(desk: Desk) -> None:
    desk.keep("r1", category="weapons", severity=4)
    desk.keep("r2", category="nudity", severity=1)
    assert desk.claim(tier=2) is None
    assert desk.claim(categories=("spam",)) is None
    assert desk.lease(categories=("spam", "nudity")).item.category == "nudity"
    assert desk.lease().item.category == "weapons"


def test_a_claim_never_crosses_tenants(desk: Desk) -> None:
    desk.keep("r1", tenant="other")
    assert desk.claim(tenant="t") is None
    assert desk.lease(tenant="other").item.tenant == "other"


def test_a_repeated_claim_returns_the_same_lease_while_it_lives(desk: Desk) -> None:
    desk.keep("r1")
    desk.keep("r2")
    first = desk.lease(claim_id="mine")
    desk.clock.advance(100.0)
    again = desk.lease(claim_id="mine")
    assert (again.token, again.lease_until) == (first.token, first.lease_until)
    assert again.item.item_id == first.item.item_id
    desk.decide(first)
    fresh = desk.lease(claim_id="mine")
    assert fresh.token != first.token
    assert fresh.item.item_id != first.item.item_id


def test_a_claim_id_is_of_one_reviewer(desk: Desk) -> None:
    """A guessed claim_id must not hand out somebody else's token."""
    desk.keep("r1")
    desk.lease(claim_id="mine", reviewer="ann")
    with pytest.raises(InvalidRequest):
        desk.claim(claim_id="mine", reviewer="ben")


def test_a_claim_id_is_of_one_named_item(desk: Desk) -> None:
    """Who asks for one item is not given another because of an earlier claim."""
    first, second = desk.keep("r1").item_id, desk.keep("r2").item_id
    desk.lease(claim_id="mine", item_id=first)
    with pytest.raises(InvalidRequest, match="claim_id"):
        desk.claim(claim_id="mine", item_id=second)
    assert desk.lease(claim_id="mine", item_id=first).item.item_id == first
    assert desk.lease(claim_id="mine").item.item_id == first
    assert desk.lease(claim_id="other", item_id=second).item.item_id == second


@pytest.mark.parametrize(
    "bad",
    [
        {"claim_id": ""},
        {"reviewer": ""},
        {"lease_s": 0.0},
        {"lease_s": LEASE_MAX_S + 1},
        {"lease_s": float("nan")},
        {"tier": 0},
    ],
)
def test_an_impossible_claim_is_refused(desk: Desk, bad: dict[str, object]) -> None:
    desk.keep("r1")
    with pytest.raises(InvalidRequest):
        desk.claim(**bad)
    assert desk.claim() is not None


def test_an_expired_lease_is_ready_for_the_next(desk: Desk) -> None:
    desk.keep("r1")
    first = desk.lease(reviewer="ann")
    desk.clock.advance(LEASE_S - 1)
    assert desk.claim(reviewer="ben") is None
    desk.clock.advance(1)
    second = desk.lease(reviewer="ben")
    assert second.token != first.token
    assert desk.item(first.item.item_id).expiries == 1


def test_expiry_is_seen_without_a_claim(desk: Desk) -> None:
    desk.keep("r1")
    desk.keep("r2", tenant="other")
    lease = desk.lease()
    desk.lease(tenant="other")
    desk.clock.advance(LEASE_S)
    assert desk.store.expire_leases() == 2
    assert desk.store.expire_leases() == 0
    assert state_of(desk, lease) is State.READY


def test_the_fifth_expiry_parks_and_requeue_starts_afresh(desk: Desk) -> None:
    desk.keep("r1")
    for _ in range(4):
        lease = desk.lease()
        desk.clock.advance(LEASE_S)
        desk.store.expire_leases()
        assert state_of(desk, lease) is State.READY
    desk.lease()
    desk.clock.advance(LEASE_S)
    assert desk.claim() is None, "a parked item is not claimed"
    assert state_of(desk, lease) is State.PARKED
    item = desk.store.requeue(tenant="t", item_id=lease.item.item_id, actor="boss")
    assert (item.state, item.expiries) == (State.READY, 0)
    last = desk.store.history(tenant="t", item_id=item.item_id)[-1]
    assert (last.cause, last.actor) == (Cause.REQUEUE, "boss")
    assert desk.lease().item.item_id == item.item_id


def test_releases_do_not_count_towards_parking(desk: Desk) -> None:
    desk.keep("r1")
    for _ in range(7):
        assert release(desk, desk.lease()) is State.READY
    assert desk.lease().item.expiries == 0


def test_requeue_leaves_an_open_item_as_it_is(desk: Desk) -> None:
    kept = desk.keep("r1")
    assert desk.store.requeue(tenant="t", item_id=kept.item_id).state is State.READY
    lease = desk.lease()
    assert desk.store.requeue(tenant="t", item_id=kept.item_id).state is State.LEASED
    desk.decide(lease)
    with pytest.raises(ArrowNotAllowed):
        desk.store.requeue(tenant="t", item_id=kept.item_id)
    with pytest.raises(ItemNotFound):
        desk.store.requeue(tenant="t", item_id="none")


def test_an_old_token_is_fenced_out_even_if_the_clock_jumps(desk: Desk) -> None:
    """The clock leaps ahead, somebody else claims, the clock leaps back: the first holder's
    lease would still be running by its own reckoning, but the token is not the item's."""
    desk.keep("r1")
    old = desk.lease(reviewer="ann")
    desk.clock.advance(3600.0)
    new = desk.lease(reviewer="ben")
    desk.clock.advance(-3600.0)
    with pytest.raises(LeaseLost):
        desk.decide(old)
    with pytest.raises(LeaseLost):
        extend(desk, old, 600.0)
    with pytest.raises(LeaseLost):
        release(desk, old)
    assert desk.item(old.item.item_id).claimed_by == "ben"
    assert desk.decide(new, reviewer="ben").effective


def test_an_expired_lease_decides_nothing_even_if_nobody_else_came(desk: Desk) -> None:
    desk.keep("r1")
    lease = desk.lease()
    desk.clock.advance(LEASE_S)
    with pytest.raises(LeaseLost):
        desk.decide(lease)
    with pytest.raises(LeaseLost):
        extend(desk, lease, 600.0)


def test_an_extension_runs_from_now_up_to_the_limit(desk: Desk) -> None:
    desk.keep("r1")
    lease = desk.lease()
    desk.clock.advance(500.0)
    longer = extend(desk, lease, 600.0)
    assert longer.token == lease.token
    assert longer.lease_until == desk.clock() + 600.0
    assert extend(desk, lease, 1.0).lease_until == longer.lease_until, "it never shortens"
    claimed_at = lease.item.claimed_at
    assert claimed_at is not None
    assert extend(desk, lease, LEASE_MAX_S).lease_until == claimed_at + LEASE_MAX_S
    desk.clock.advance(LEASE_MAX_S - 501.0)
    assert extend(desk, lease, 600.0).lease_until == claimed_at + LEASE_MAX_S
    desk.clock.advance(1.0)
    with pytest.raises(LeaseLost):
        extend(desk, lease, 600.0)


@pytest.mark.parametrize("lease_s", [0.0, -5.0, float("nan"), LEASE_MAX_S + 1])
def test_an_impossible_extension_is_refused(desk: Desk, lease_s: float) -> None:
    desk.keep("r1")
    lease = desk.lease()
    with pytest.raises(InvalidRequest):
        extend(desk, lease, lease_s)


def test_a_repeated_release_returns_the_present_state(desk: Desk) -> None:
    desk.keep("r1")
    lease = desk.lease(reviewer="ann")
    assert release(desk, lease) is State.READY
    assert release(desk, lease) is State.READY
    other = desk.lease(reviewer="ben")
    assert release(desk, lease) is State.LEASED, "ben keeps it"
    desk.decide(other, reviewer="ben")
    assert release(desk, lease) is State.DECIDED


def test_releasing_an_expired_lease_says_where_the_item_is(desk: Desk) -> None:
    desk.keep("r1")
    lease = desk.lease()
    desk.clock.advance(LEASE_S)
    assert release(desk, lease) is State.READY
    assert desk.item(lease.item.item_id).expiries == 1


def test_a_token_that_was_never_given_releases_nothing(desk: Desk) -> None:
    desk.keep("r1")
    desk.keep("r2")
    mine, other = desk.lease(), desk.lease()
    for token in (NOBODY, other.token):
        with pytest.raises(LeaseLost):
            desk.store.release(tenant="t", item_id=mine.item.item_id, token=token)
    assert state_of(desk, mine) is State.LEASED


def test_a_token_used_up_by_a_decision_releases_nothing(desk: Desk) -> None:
    desk.keep("r1")
    lease = desk.lease()
    desk.decide(lease)
    with pytest.raises(LeaseLost):
        release(desk, lease)


def test_a_token_is_worth_nothing_at_another_tenant(desk: Desk) -> None:
    desk.keep("r1")
    lease = desk.lease()
    with pytest.raises(ItemNotFound):
        desk.store.release(tenant="other", item_id=lease.item.item_id, token=lease.token)
    with pytest.raises(ItemNotFound):
        desk.decide(lease, tenant="other")


def test_old_claims_are_forgotten_but_the_items_are_not(desk: Desk) -> None:
    desk.keep("r1")
    lease = desk.lease()
    release(desk, lease)
    desk.clock.advance(25 * 3600.0)
    desk.store.expire_leases()
    desk.lease()
    with pytest.raises(LeaseLost):
        release(desk, lease)


def test_the_history_tells_every_step(desk: Desk) -> None:
    desk.keep("r1")
    release(desk, desk.lease())
    desk.lease(reviewer="ben")
    desk.clock.advance(LEASE_S)
    lease = desk.lease()
    desk.decide(lease, Outcome.APPROVE)
    steps = desk.store.history(tenant="t", item_id=lease.item.item_id)
    assert [(step.cause, step.actor) for step in steps] == [
        (Cause.ENQUEUE, ""),
        (Cause.CLAIM, "ann"),
        (Cause.RELEASE, "ann"),
        (Cause.CLAIM, "ben"),
        (Cause.LEASE_EXPIRED, ""),
        (Cause.CLAIM, "ann"),
        (Cause.DECIDE, "ann"),
    ]
    for before, after in itertools.pairwise(steps):
        assert after.source is before.target
        assert after.version > before.version


def test_a_claim_can_name_its_item(desk: Desk) -> None:
    """The one asked for whatever its rank, and nothing where it is not ready for this reviewer."""
    desk.keep("r1", "first", severity=4)
    wanted = desk.keep("r2", "second", severity=1).item_id
    lease = desk.lease(item_id=wanted)
    assert lease.item.item_id == wanted
    assert desk.claim(item_id=wanted) is None
    assert desk.claim(item_id="it_unknown") is None
    assert desk.claim(item_id=wanted, tenant="other") is None


def test_a_claim_passes_over_what_it_is_told_to(desk: Desk) -> None:
    skipped = desk.keep("r1", "first", severity=4).item_id
    other = desk.keep("r2", "second", severity=1).item_id
    assert desk.lease(excluding=(skipped,)).item.item_id == other
    assert desk.claim(excluding=(skipped,)) is None
    assert desk.lease().item.item_id == skipped
