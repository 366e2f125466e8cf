"""QualityService over a real server: figures for leads, golden items, and what reviewers see."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from helpers.callers_by_name import ByName, by
from helpers.grpc_rig import Rig, ask, refused, running
from imagesieve import AsyncClient, ItemNotFound, Outcome, StateConflict
from imagesieve.v1 import quality_pb2 as qb
from imagesieve.v1 import review_pb2 as pb
from imagesieve_server.core.golden import GoldenPlan
from imagesieve_server.testing import RED, ppm

Code = grpc.StatusCode
CALLS = {
    "GetQuality": qb.GetQualityRequest(),
    "MarkGolden": qb.MarkGoldenRequest(item_id="x"),
    "UnmarkGolden": qb.UnmarkGoldenRequest(item_id="x"),
    "ListGoldens": qb.ListGoldensRequest(),
}


async def flagged(rig: Rig, name: str, picture: bytes = ppm(RED)) -> str:
    item_id: str = (await rig.moderation.Moderate(ask(name, picture), **by("uploader"))).item_id
    return item_id


async def said(rig: Rig, name: str, outcome: int = pb.OUTCOME_REJECT) -> tuple[Any, Any]:
    """The lease and the answer to its decision."""
    lease = await rig.review.Claim(pb.ClaimRequest(claim_id=f"{name}{outcome}"), **by(name))
    request = pb.DecideRequest(item_id=lease.item.item_id, token=lease.token, outcome=outcome)
    return lease, await rig.review.Decide(request, **by(name))


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("name", ["reviewer-ann", "uploader", "policy"])
async def test_figures_and_golden_items_are_for_leads(method: str, name: str) -> None:
    async with running(authenticator=ByName()) as rig:
        call = getattr(rig.quality, method)
        assert (await refused(call(CALLS[method], **by(name)))).code is Code.PERMISSION_DENIED


async def golden(rig: Rig) -> str:
    """A golden item, rejected by cat, and one that waits; every claim draws a golden one."""
    item_id = await flagged(rig, "golden")
    await said(rig, "reviewer-cat")
    marked = await rig.quality.MarkGolden(
        qb.MarkGoldenRequest(item_id=item_id, note="clear"), **by("lead-lea")
    )
    assert (marked.golden.outcome, marked.golden.marked_by) == (pb.OUTCOME_REJECT, "lead-lea")
    await flagged(rig, "r-2", ppm((250, 2, 2)))
    rig.store.goldens = GoldenPlan(share=1.0)
    return item_id


async def test_a_golden_item_looks_as_others_do_and_its_answer_is_counted() -> None:
    async with running(authenticator=ByName()) as rig:
        item_id = await golden(rig)
        copy, answered = await said(rig, "reviewer-ann", pb.OUTCOME_APPROVE)
        real, decided = await said(rig, "reviewer-ann")
        seen = await rig.review.Get(pb.GetRequest(item_id=copy.item.item_id), **by("reviewer-ann"))
        events = rig.store.decision_events(tenant="t", after=0, limit=100)
        report = await rig.quality.GetQuality(qb.GetQualityRequest(), **by("lead-lea"))
        listed = await rig.quality.ListGoldens(qb.ListGoldensRequest(), **by("lead-lea"))
    assert copy.item.sha256 != real.item.sha256
    fields = [{field.name for field, _ in item.ListFields()} for item in (copy.item, real.item)]
    assert fields[0] == fields[1], "nothing more and nothing less"
    assert copy.item.item_id[:12] <= real.item.item_id[:12]
    answers = [{field.name for field, _ in a.decision.ListFields()} for a in (answered, decided)]
    assert answers[0] == answers[1]
    assert seen.item.state == pb.ITEM_STATE_DECIDED
    assert [event.item_id for event in events] == [item_id, real.item.item_id]
    assert (report.total.golden, report.total.golden_right) == (1, 0)
    assert not report.total.HasField("golden_accuracy"), "too few"
    assert {f.name: f.golden for f in report.reviewers} == {"reviewer-ann": 1, "reviewer-cat": 0}
    assert [golden.given for golden in listed.goldens] == [1]


async def test_reviewers_come_upon_neither_the_golden_item_nor_others_copies() -> None:
    async with running(authenticator=ByName()) as rig:
        item_id = await golden(rig)
        copy, _ = await said(rig, "reviewer-ann")
        decided = pb.ListRequest(states=[pb.ITEM_STATE_DECIDED])
        lists = {
            name: {item.item_id for item in (await rig.review.List(decided, **by(name))).items}
            for name in ("reviewer-ann", "reviewer-ben", "lead-lea")
        }
        gone = [
            await refused(rig.review.Get(pb.GetRequest(item_id=wanted), **by("reviewer-ben")))
            for wanted in (item_id, copy.item.item_id)
        ]
    assert lists["reviewer-ann"] == {copy.item.item_id}
    assert lists["reviewer-ben"] == set()
    assert lists["lead-lea"] == {item_id, copy.item.item_id}
    assert [refusal.code for refusal in gone] == [Code.NOT_FOUND] * 2


async def test_a_copy_that_is_given_back_is_there_as_any_item_is() -> None:
    async with running(authenticator=ByName()) as rig:
        await golden(rig)
        found = {}
        for claim_id in ("copy", "real"):
            claim = pb.ClaimRequest(claim_id=claim_id)
            lease = await rig.review.Claim(claim, **by("reviewer-ann"))
            wanted = lease.item.item_id
            await rig.review.Release(
                pb.ReleaseRequest(item_id=wanted, token=lease.token), **by("reviewer-ann")
            )
            seen = await rig.review.Get(pb.GetRequest(item_id=wanted), **by("reviewer-ann"))
            listed = await rig.review.List(pb.ListRequest(), **by("reviewer-ann"))
            found[claim_id] = (seen.item.state, wanted in {item.item_id for item in listed.items})
            rig.store.goldens = GoldenPlan()
            if claim_id == "copy":
                assert rig.store.get(tenant="t", item_id=wanted).golden_of
                await said(rig, "reviewer-ann")  # it comes again, and then the next one
        other = await rig.review.List(pb.ListRequest(), **by("reviewer-ben"))
    assert found["copy"] == found["real"] == (pb.ITEM_STATE_READY, True)
    assert len(other.items) == 1


async def test_only_a_decided_item_can_be_golden_and_it_can_be_ended() -> None:
    async with running(authenticator=ByName()) as rig:
        item_id = await golden(rig)
        waiting = await flagged(rig, "r-3", ppm((240, 3, 3)))
        refusal = await refused(
            rig.quality.MarkGolden(qb.MarkGoldenRequest(item_id=waiting), **by("lead-lea"))
        )
        for _ in range(2):
            await rig.quality.UnmarkGolden(
                qb.UnmarkGoldenRequest(item_id=item_id), **by("lead-lea")
            )
        listed = await rig.quality.ListGoldens(qb.ListGoldensRequest(), **by("admin"))
        lease, _ = await said(rig, "reviewer-ann")
    assert refusal.code is Code.FAILED_PRECONDITION
    assert not listed.goldens
    assert lease.item.sha256 != ""


async def test_a_span_must_have_a_length() -> None:
    async with running(authenticator=ByName()) as rig:
        request = qb.GetQualityRequest()
        request.since.seconds, request.until.seconds = 20, 10
        refusal = await refused(rig.quality.GetQuality(request, **by("lead-lea")))
        request.until.seconds = 30
        report = await rig.quality.GetQuality(request, **by("lead-lea"))
    assert refusal.code is Code.INVALID_ARGUMENT
    assert (report.since.seconds, report.until.seconds) == (20, 30)


async def test_the_client_says_what_the_stub_says() -> None:
    async with running() as rig, AsyncClient(f"127.0.0.1:{rig.port}") as client:
        item_id = (await rig.moderation.Moderate(ask("r"))).item_id
        with pytest.raises(StateConflict):
            await client.quality.mark_golden(item_id)
        lease = await client.review.claim(reviewer="ann")
        assert lease is not None
        await client.review.decide(
            item_id, lease.token, Outcome.REJECT, labels=["weapons"], reviewer="ann"
        )
        golden = await client.quality.mark_golden(item_id, note="clear", marked_by="lea")
        again = await client.quality.mark_golden(item_id, marked_by="max")
        listed = await client.quality.goldens()
        found = await client.quality.figures()
        await client.quality.unmark_golden(item_id, unmarked_by="lea")
        with pytest.raises(ItemNotFound):
            await client.quality.unmark_golden("other")
        assert await client.quality.goldens() == ()
        asked = await client.quality.figures(since=found.since, until=found.until)
    assert (golden.outcome, golden.labels) == (Outcome.REJECT, ("weapons",))
    assert (golden.note, golden.marked_by) == ("clear", "lea")
    assert listed == (golden,) == (again,)
    assert found.total.decisions == 1
    assert [figures.name for figures in found.reviewers] == ["ann"]
    assert found.total.overturn_rate is None, "too few"
    assert (asked.since, asked.until) == (found.since, found.until)
