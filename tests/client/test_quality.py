"""The clients' calls about how well people decide, against the fake server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imagesieve import (
    AsyncClient,
    Client,
    Estimate,
    InvalidRequest,
    Item,
    ItemNotFound,
    ItemState,
    Outcome,
    PermissionDenied,
    Quality,
    QualityFigures,
    ReopenCause,
    StateConflict,
    Verdict,
)
from imagesieve.testing import FakeServer

NOW = datetime(2026, 11, 21, 12, 30, 15, 250000, tzinfo=UTC)
FIGURES = QualityFigures(
    name="weapons", pairs=40, agreed=36, only_first_rejected=1, only_second_rejected=3,
    agreement=Estimate(value=0.9, low=0.76, high=0.97),
    kappa=Estimate(value=0.8, low=0.6, high=0.9),
    golden=22, golden_right=20, golden_passed=2,
    golden_accuracy=Estimate(value=0.91, low=0.7, high=0.99), decisions=100, contested=9,
    overturned=4, overturn_rate=Estimate(value=0.04, low=0.01, high=0.1),
)  # fmt: skip


def decided(server: FakeServer, client: Client, name: str = "i1") -> str:
    server.queue.add(
        Item(item_id=name, sha256="a" * 64, state=ItemState.READY, verdict=Verdict.REVIEW)
    )
    lease = client.review.claim(reviewer="ann")
    assert lease is not None
    client.review.decide(name, lease.token, Outcome.REJECT, labels=["weapons"])
    return name


def test_figures_arrive_as_they_were_said(server: FakeServer, client: Client) -> None:
    said = Quality(
        total=replace(FIGURES, name=""),
        categories=(FIGURES, QualityFigures(name="gore", pairs=2, agreed=2)),
        reviewers=(replace(FIGURES, name="ann", kappa=None),),
        partial=True,
    )
    server.set_quality(said)
    until = NOW + timedelta(days=2)
    found = client.quality.figures(since=NOW, until=until)
    assert found == replace(said, since=NOW, until=until)
    assert found.categories[1].kappa is None


async def test_both_clients_ask_alike(server: FakeServer, async_client: AsyncClient) -> None:
    server.set_quality(Quality(total=FIGURES))
    found = await async_client.quality.figures()
    assert found.total == FIGURES
    assert found.since is not None
    assert found.until is not None
    assert found.until - found.since == timedelta(days=30)
    with Client(server.target) as client:
        item_id = decided(server, client)
        golden = await async_client.quality.mark_golden(item_id, note="clear", marked_by="lea")
        assert await async_client.quality.goldens() == client.quality.goldens() == (golden,)
        await async_client.quality.unmark_golden(item_id, unmarked_by="lea")
        assert client.quality.goldens() == ()


def test_a_time_without_a_zone_could_be_anybodys(client: Client, server: FakeServer) -> None:
    with pytest.raises(ValueError, match="until: give a datetime with its time zone"):
        client.quality.figures(until=NOW.replace(tzinfo=None))
    assert server.count("GetQuality") == 0


def test_a_span_must_have_a_length(client: Client) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.quality.figures(since=NOW, until=NOW)
    assert caught.value.field == "since"


def test_a_decided_item_is_marked_once(server: FakeServer, client: Client) -> None:
    item_id = decided(server, client)
    golden = client.quality.mark_golden(item_id, note="clear", marked_by="lea")
    assert (golden.outcome, golden.labels, golden.note) == (Outcome.REJECT, ("weapons",), "clear")
    assert (golden.marked_by, golden.given) == ("lea", 0)
    assert client.quality.mark_golden(item_id, note="again", marked_by="max") == golden


def test_only_what_people_decided_can_be_golden(server: FakeServer, client: Client) -> None:
    item_id = decided(server, client)
    client.review.reopen(item_id, ReopenCause.APPEAL)
    with pytest.raises(StateConflict):
        client.quality.mark_golden(item_id)
    for call in (client.quality.mark_golden, client.quality.unmark_golden):
        with pytest.raises(ItemNotFound):
            call("other")


def test_what_is_contested_or_erased_is_golden_no_more(server: FakeServer, client: Client) -> None:
    first = decided(server, client)
    client.quality.mark_golden(first)
    client.review.reopen(first, ReopenCause.OVERTURN)
    assert client.quality.goldens() == ()
    lease = client.review.claim(reviewer="ben")
    assert lease is not None
    client.review.decide(first, lease.token, Outcome.APPROVE)
    assert client.quality.goldens() == (), "somebody must be sure of the new answer"
    assert client.quality.mark_golden(first).outcome is Outcome.APPROVE
    client.review.erase(item_id=first, reason="a court's order")
    assert client.quality.goldens() == ()


def test_whoever_may_not_ask_is_told_the_role(server: FakeServer, client: Client) -> None:
    said = PermissionDenied("GetQuality needs the role admin or lead", metadata={"roles": "lead"})
    server.fail_next(said, method="GetQuality")
    with pytest.raises(PermissionDenied, match="needs the role admin or lead") as caught:
        client.quality.figures()
    assert caught.value.metadata == {"roles": "lead"}
