"""The review queue through both clients, against the fake server's rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from imagesieve import (
    AsyncClient,
    Client,
    CursorExpired,
    Decision,
    DecisionConflict,
    InvalidRequest,
    Item,
    ItemNotFound,
    ItemState,
    LeaseLost,
    Outcome,
    ReopenCause,
    StateConflict,
    Unavailable,
    Verdict,
)
from imagesieve.review_calls import list_page
from imagesieve.testing import FakeServer, flag


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(lambda request: flag(request.image.decode())) as server:
        yield server


def test_a_flagged_image_is_claimed_and_decided(client: Client, server: FakeServer) -> None:
    answer = client.moderate(b"weapons", content_ref="post/7", labels={"lang": "de"})
    lease = client.review.claim(reviewer="ana", lease_s=60, include_image=True)
    assert lease is not None
    assert lease.item.item_id == answer.item_id
    assert (lease.item.state, lease.item.claimed_by) == (ItemState.LEASED, "ana")
    assert (lease.item.category, lease.item.content_ref) == ("weapons", "post/7")
    assert lease.item.image == b"weapons"
    assert lease.item.answer is not None
    assert lease.item.answer.worst is not None
    assert lease.lease_until is not None
    assert timedelta(seconds=50) < lease.lease_until - datetime.now(UTC) < timedelta(seconds=61)

    decision = client.review.decide(
        lease.item.item_id, lease.token, Outcome.REJECT, labels=["gun"], note="a rifle"
    )
    assert (decision.outcome, decision.labels) == (Outcome.REJECT, ("gun",))
    assert (decision.note, decision.reviewer, decision.effective) == ("a rifle", "ana", True)
    item = client.review.get(lease.item.item_id)
    assert item.state is ItemState.DECIDED
    assert item.decisions == (decision,)
    assert item.image == b""


def test_nothing_ready_is_none(client: Client) -> None:
    assert client.review.claim() is None


def test_a_repeated_claim_gets_the_same_lease(client: Client) -> None:
    client.moderate(b"weapons")
    client.moderate(b"drugs")
    first = client.review.claim(claim_id="c-1")
    again = client.review.claim(claim_id="c-1")
    other = client.review.claim()
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.token == again.token
    assert first.item.item_id != other.item.item_id


def test_a_claim_names_its_item_or_what_has_no_category(client: Client, server: FakeServer) -> None:
    client.moderate(b"weapons")
    second = client.moderate(b"drugs")
    server.queue.add(
        Item(item_id="odd", sha256="a" * 64, state=ItemState.READY, verdict=Verdict.REVIEW)
    )
    odd = client.review.claim(categories=[""])
    named = client.review.claim(item_id=second.item_id)
    assert odd is not None
    assert named is not None
    assert (odd.item.item_id, named.item.item_id) == ("odd", second.item_id)
    assert client.review.claim(item_id=second.item_id) is None


def test_a_retried_claim_leases_one_item(client: Client, server: FakeServer) -> None:
    client.moderate(b"weapons")
    client.moderate(b"drugs")
    server.fail_next(Unavailable("?"), method="Claim")
    assert client.review.claim() is not None
    assert client.review.stats().leased == 1


def test_claims_can_be_narrowed(client: Client) -> None:
    client.moderate(b"weapons")
    client.moderate(b"drugs")
    lease = client.review.claim(categories=["drugs"])
    assert lease is not None
    assert lease.item.category == "drugs"
    assert client.review.claim(tier=2) is None


def test_an_escalated_item_is_ready_for_the_next_tier(client: Client) -> None:
    client.moderate(b"weapons")
    lease = client.review.claim()
    assert lease is not None
    decision = client.review.decide(lease.item.item_id, lease.token, Outcome.ESCALATE)
    assert not decision.effective
    assert client.review.claim() is None
    assert client.review.claim(tier=2) is not None


def test_a_repeated_decision_is_the_same_record_and_another_conflicts(client: Client) -> None:
    client.moderate(b"weapons")
    lease = client.review.claim()
    assert lease is not None
    first = client.review.decide(lease.item.item_id, lease.token, Outcome.APPROVE)
    assert client.review.decide(lease.item.item_id, lease.token, Outcome.APPROVE) == first
    with pytest.raises(DecisionConflict):
        client.review.decide(lease.item.item_id, lease.token, Outcome.REJECT)


def test_an_outcome_that_cannot_be_named_is_never_sent_as_another(client: Client) -> None:
    client.moderate(b"weapons")
    lease = client.review.claim()
    assert lease is not None
    with pytest.raises(InvalidRequest) as caught:
        client.review.decide(lease.item.item_id, lease.token, Outcome.UNKNOWN)
    assert caught.value.field == "outcome"


def test_a_released_item_is_ready_and_its_token_worthless(client: Client) -> None:
    client.moderate(b"weapons")
    lease = client.review.claim()
    assert lease is not None
    assert client.review.release(lease.item.item_id, lease.token).state is ItemState.READY
    for call in (client.review.release, client.review.extend):
        with pytest.raises(LeaseLost):
            call(lease.item.item_id, lease.token)


def test_an_expired_lease_is_lost(client: Client, server: FakeServer) -> None:
    client.moderate(b"weapons")
    lease = client.review.claim()
    assert lease is not None
    server.queue.expire(lease.item.item_id)
    with pytest.raises(LeaseLost):
        client.review.decide(lease.item.item_id, lease.token, Outcome.APPROVE)
    assert client.review.get(lease.item.item_id).expiries == 1


def test_a_lease_is_extended(client: Client) -> None:
    client.moderate(b"weapons")
    lease = client.review.claim(lease_s=60)
    assert lease is not None
    until = client.review.extend(lease.item.item_id, lease.token, lease_s=3600)
    assert until is not None
    assert lease.lease_until is not None
    assert until > lease.lease_until + timedelta(minutes=50)
    assert client.review.get(lease.item.item_id).lease_until == until


def test_a_parked_item_is_put_back(client: Client, server: FakeServer) -> None:
    item_id = client.moderate(b"weapons").item_id
    server.queue.park(item_id)
    assert client.review.claim() is None
    assert client.review.requeue(item_id).state is ItemState.READY
    lease = client.review.claim()
    assert lease is not None
    with pytest.raises(StateConflict):
        client.review.requeue(item_id)


def fill(server: FakeServer, count: int) -> list[str]:
    names = [f"n-{number:02}" for number in range(count)]
    for name in names:
        server.queue.add(
            Item(item_id=name, sha256="", state=ItemState.READY, verdict=Verdict.REVIEW)
        )
    return names


def test_a_listing_runs_over_all_pages(client: Client, server: FakeServer) -> None:
    names = fill(server, 7)
    assert [item.item_id for item in client.review.list(page_size=3)] == names
    assert server.count("List") == 3


def test_a_page_is_fetched_only_when_it_is_needed(client: Client, server: FakeServer) -> None:
    fill(server, 7)
    items = client.review.list(page_size=3)
    assert server.count("List") == 0
    next(items)
    assert server.count("List") == 1


def test_a_listing_can_be_narrowed(client: Client, server: FakeServer) -> None:
    fill(server, 2)
    weapons = client.moderate(b"weapons").item_id
    server.queue.park(weapons)
    assert [i.item_id for i in client.review.list(states=[ItemState.PARKED])] == [weapons]
    assert [i.item_id for i in client.review.list(category="weapons")] == [weapons]
    assert list(client.review.list(states=[ItemState.DECIDED])) == []
    assert [i.item_id for i in client.review.list(reason="CATEGORY_REVIEW")] == [weapons]
    assert [i.item_id for i in client.review.list(max_age_s=3600.0, category="weapons")] == [
        weapons
    ]
    assert list(client.review.list(min_age_s=3600.0)) == []


def test_stats_count_each_state(client: Client, server: FakeServer) -> None:
    assert client.review.stats().oldest_ready_age_s is None
    for name in (b"a", b"b", b"c"):
        client.moderate(name)
    server.queue.park(server.queue.items[0].item_id)
    client.review.claim()
    stats = client.review.stats()
    assert (stats.ready, stats.leased, stats.parked) == (1, 1, 1)
    assert stats.oldest_ready_age_s is not None
    assert 0 <= stats.oldest_ready_age_s < 60


def test_an_unknown_item_is_not_found(client: Client) -> None:
    with pytest.raises(ItemNotFound):
        client.review.get("nope")


def test_a_foreign_page_token_is_refused(client: Client) -> None:
    call = list_page(states=(), category="", page_size=5, page_token="moon", timeout_s=5)
    with pytest.raises(CursorExpired):
        client._transport.run(call)


async def test_the_same_through_asyncio(async_client: AsyncClient, server: FakeServer) -> None:
    review = async_client.review
    await async_client.moderate(b"weapons")
    lease = await review.claim(reviewer="ana", include_image=True)
    assert lease is not None
    item_id, token = lease.item.item_id, lease.token
    assert lease.item.image == b"weapons"
    assert await review.extend(item_id, token, lease_s=900) is not None
    assert (await review.release(item_id, token)).state is ItemState.READY
    server.queue.park(item_id)
    assert (await review.requeue(item_id)).state is ItemState.READY
    lease = await review.claim()
    assert lease is not None
    decision = await review.decide(item_id, lease.token, Outcome.APPROVE, note="a toy")
    assert (await review.get(item_id)).decisions == (decision,)
    assert (await review.stats()).ready == 0
    names = fill(server, 7)
    assert [item.item_id async for item in review.list(page_size=3)] == names


def decided(client: Client, name: bytes = b"weapons") -> Decision:
    client.moderate(name)
    lease = client.review.claim()
    assert lease is not None
    return client.review.decide(lease.item.item_id, lease.token, Outcome.REJECT)


def test_a_decided_item_is_reviewed_again(client: Client) -> None:
    first = decided(client)
    item = client.review.reopen(first.item_id, ReopenCause.APPEAL, note="a toy")
    assert (item.state, item.round, item.opened_by) == (ItemState.READY, 2, "APPEAL")
    again = client.review.reopen(first.item_id, ReopenCause.APPEAL, decision_id=first.decision_id)
    assert again == item
    lease = client.review.claim()
    assert lease is not None
    second = client.review.decide(first.item_id, lease.token, Outcome.APPROVE)
    assert second.supersedes == first.decision_id
    late = client.review.reopen(first.item_id, ReopenCause.UNDO, decision_id=first.decision_id)
    assert late.state is ItemState.DECIDED
    for wrong in ({"decision_id": "other"}, {"cause": ReopenCause.UNKNOWN}):
        with pytest.raises(InvalidRequest):
            client.review.reopen(first.item_id, **{"cause": ReopenCause.UNDO, **wrong})  # type: ignore[arg-type]


def test_a_picture_is_erased_by_hash_or_by_item(client: Client) -> None:
    first = decided(client)
    sha256 = client.review.get(first.item_id).sha256
    erasure = client.review.erase(item_id=first.item_id, reason="order 7", erased_by="law")
    (record,) = erasure.decisions
    assert (record.cause, record.note, record.reviewer) == ("LEGAL_DELETE", "order 7", "law")
    assert record.supersedes == first.decision_id
    item = client.review.get(first.item_id, include_image=True)
    assert (item.state, item.image, item.answer) == (ItemState.EXPIRED, b"", None)
    assert client.review.erase(sha256=sha256, reason="again") == erasure
    with pytest.raises(StateConflict):
        client.review.reopen(first.item_id, ReopenCause.UNDO)
    with pytest.raises(ItemNotFound):
        client.review.erase(sha256="f" * 64, reason="x")
    for fields in ({"sha256": sha256, "item_id": "x"}, {}, {"sha256": sha256, "reason": ""}):
        with pytest.raises(InvalidRequest):
            client.review.erase(**{"reason": "x", **fields})


async def test_reopening_and_erasing_through_asyncio(
    client: Client, async_client: AsyncClient
) -> None:
    first = decided(client)
    item = await async_client.review.reopen(first.item_id, ReopenCause.OVERTURN)
    assert item.state is ItemState.READY
    erasure = await async_client.review.erase(sha256=item.sha256, reason="order 7")
    assert len(erasure.decisions) == 1
