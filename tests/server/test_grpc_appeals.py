"""An appeal from end to end: contested by the uploader, judged by somebody else, told as an event
that supersedes."""

from __future__ import annotations

from typing import Any

import grpc

from helpers.callers_by_name import ByName, by
from helpers.grpc_rig import Rig, ask, refused, running
from imagesieve.v1 import review_pb2 as pb
from imagesieve_server.testing import RED, ppm

EVERYTHING = pb.WatchDecisionsRequest(from_oldest=True)


async def said(rig: Rig, name: str, outcome: int, claim_id: str) -> Any:
    lease = await rig.review.Claim(pb.ClaimRequest(claim_id=claim_id), **by(name))
    request = pb.DecideRequest(
        item_id=lease.item.item_id, token=lease.token, outcome=outcome, note="INTERNAL"
    )
    return lease.item, (await rig.review.Decide(request, **by(name))).decision


async def rejected(rig: Rig) -> Any:
    await rig.moderation.Moderate(ask("r-1", ppm(RED)), **by("uploader"))
    return (await said(rig, "reviewer-ann", pb.OUTCOME_REJECT, "c-1"))[1]


def appeal(first: Any, cause: int = pb.REOPEN_CAUSE_APPEAL) -> pb.ReopenRequest:
    return pb.ReopenRequest(
        item_id=first.item_id, decision_id=first.decision_id, cause=cause, note="it is a toy"
    )


async def test_an_uploaders_appeal_is_judged_by_somebody_else_and_told() -> None:
    async with running(authenticator=ByName()) as rig:
        first = await rejected(rig)
        watch = rig.review.WatchDecisions(
            pb.WatchDecisionsRequest(from_oldest=True), **by("uploader")
        )
        told = [await watch.read()]
        answer = (await rig.review.Reopen(appeal(first), **by("uploader"))).item
        again = (await rig.review.Reopen(appeal(first), **by("uploader"))).item
        own = await rig.review.Claim(pb.ClaimRequest(claim_id="c-2"), **by("reviewer-ann"))
        seen, second = await said(rig, "reviewer-ben", pb.OUTCOME_APPROVE, "c-3")
        told.append(await watch.read())
        watch.cancel()
    assert answer == again
    assert "INTERNAL" not in str(answer)
    assert "ann" not in str(answer)
    assert (answer.state, answer.round, answer.opened_by) == (pb.ITEM_STATE_READY, 2, "APPEAL")
    assert not own.HasField("item"), "not whoever decided"
    assert [d.decision_id for d in seen.decisions] == [first.decision_id], "with its history"
    assert (seen.opened_by, seen.opening_note) == ("APPEAL", "it is a toy")
    assert second.supersedes == first.decision_id
    assert [e.decision.outcome for e in told] == [pb.OUTCOME_REJECT, pb.OUTCOME_APPROVE]
    assert told[1].decision.supersedes == told[0].decision.decision_id
    assert {e.request_id for e in told} == {"r-1"}


async def test_an_appeal_that_is_upheld_is_told_as_well() -> None:
    async with running(authenticator=ByName()) as rig:
        first = await rejected(rig)
        await rig.review.Reopen(appeal(first), **by("lead-lea"))
        _, second = await said(rig, "reviewer-ben", pb.OUTCOME_REJECT, "c-3")
        watch = rig.review.WatchDecisions(
            pb.WatchDecisionsRequest(from_oldest=True), **by("uploader")
        )
        told = [await watch.read() for _ in range(2)]
        watch.cancel()
    assert second.supersedes == first.decision_id
    assert [e.decision.outcome for e in told] == [pb.OUTCOME_REJECT] * 2


async def test_an_uploader_neither_undoes_nor_overturns() -> None:
    async with running(authenticator=ByName()) as rig:
        first = await rejected(rig)
        for cause in (pb.REOPEN_CAUSE_UNDO, pb.REOPEN_CAUSE_OVERTURN):
            refusal = await refused(rig.review.Reopen(appeal(first, cause), **by("uploader")))
            assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        item = (await rig.review.Get(pb.GetRequest(item_id=first.item_id), **by("lead-lea"))).item
    assert item.state == pb.ITEM_STATE_DECIDED
