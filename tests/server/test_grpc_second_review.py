"""A second review over a real server: nothing that the API answers tells the first one's word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc

from helpers.callers_by_name import ByName, by
from helpers.grpc_rig import Rig, ask, refused, running
from imagesieve.v1 import review_pb2 as pb
from imagesieve_server.core.second_review import SecondReview
from imagesieve_server.testing import RED, colour_policy, ppm

TWICE = replace(colour_policy(), second_review=SecondReview(share=1.0))


async def flagged(rig: Rig) -> str:
    item_id: str = (await rig.moderation.Moderate(ask("r-1", ppm(RED)), **by("uploader"))).item_id
    return item_id


async def claimed(rig: Rig, name: str, tier: int = 0) -> Any:
    return await rig.review.Claim(pb.ClaimRequest(claim_id=name, tier=tier), **by(name))


async def said(rig: Rig, name: str, outcome: int, tier: int = 0) -> Any:
    lease = await claimed(rig, name, tier)
    return await rig.review.Decide(
        pb.DecideRequest(
            item_id=lease.item.item_id, token=lease.token, outcome=outcome, note="SECRETWORD"
        ),
        **by(name),
    )  # fmt: skip


async def answers(rig: Rig, item_id: str, name: str) -> list[Any]:
    """All that ``name`` can get to see of the item without claiming it."""
    return [
        await rig.review.Get(pb.GetRequest(item_id=item_id), **by(name)),
        await rig.review.List(pb.ListRequest(), **by(name)),
        await rig.review.Requeue(pb.RequeueRequest(item_id=item_id), **by(name)),
        await rig.review.Reopen(
            pb.ReopenRequest(item_id=item_id, cause=pb.REOPEN_CAUSE_OVERTURN), **by(name)
        ),
    ]


async def test_a_second_reviewer_is_told_nothing_of_the_first_word() -> None:
    async with running(policies=[TWICE], authenticator=ByName()) as rig:
        item_id = await flagged(rig)
        fresh = await claimed(rig, "reviewer-ann")
        await rig.review.Release(
            pb.ReleaseRequest(item_id=item_id, token=fresh.token), **by("reviewer-ann")
        )
        await said(rig, "reviewer-ann", pb.OUTCOME_REJECT)
        stats = {
            name: await rig.review.Stats(pb.StatsRequest(), **by(name))
            for name in ("reviewer-ben", "lead-lea", "admin")
        }
        seen = await answers(rig, item_id, "reviewer-ben") + await answers(rig, item_id, "lead-lea")
        second = await claimed(rig, "reviewer-ben")
        again = await answers(rig, item_id, "reviewer-ben")
        released = await rig.review.Release(
            pb.ReleaseRequest(item_id=item_id, token=second.token), **by("reviewer-ben")
        )
    awaiting = {name: found.awaiting_second_review for name, found in stats.items()}
    assert awaiting == {"reviewer-ben": 0, "lead-lea": 1, "admin": 1}, "one less would tell"
    for answer in (*seen, second, *again, released):
        assert "SECRETWORD" not in str(answer)
        assert "ann" not in str(answer)
    differing = {
        field.name
        for field, value in second.item.ListFields()
        if value != getattr(fresh.item, field.name)
    }
    assert differing <= {"claimed_by", "claimed_at", "lease_until"}, "looks as on the first day"
    assert second.item.reviews_needed == 0


async def test_a_difference_is_settled_by_a_lead_who_sees_both_words() -> None:
    async with running(policies=[TWICE], authenticator=ByName()) as rig:
        item_id = await flagged(rig)
        await said(rig, "reviewer-ann", pb.OUTCOME_REJECT)
        await said(rig, "reviewer-ben", pb.OUTCOME_APPROVE)
        hidden = await rig.review.Get(pb.GetRequest(item_id=item_id), **by("reviewer-cat"))
        denied = await refused(claimed(rig, "reviewer-cat", tier=2))
        lease = await claimed(rig, "lead-lea", tier=2)
        seen = [(d.reviewer, d.outcome) for d in lease.item.decisions]
        final = await said(rig, "lead-lea", pb.OUTCOME_APPROVE, tier=2)
        told = await rig.review.Get(pb.GetRequest(item_id=item_id), **by("reviewer-cat"))
    assert not hidden.item.decisions
    assert denied.code is grpc.StatusCode.PERMISSION_DENIED
    assert seen == [
        ("reviewer-ann", pb.OUTCOME_REJECT), ("reviewer-ben", pb.OUTCOME_APPROVE)
    ]  # fmt: skip
    assert final.decision.effective
    assert len(told.item.decisions) == 3, "settled items are no secret"


async def test_an_admin_who_decides_nothing_sees_the_words() -> None:
    async with running(policies=[TWICE], authenticator=ByName()) as rig:
        item_id = await flagged(rig)
        await said(rig, "reviewer-ann", pb.OUTCOME_REJECT)
        item = (await rig.review.Get(pb.GetRequest(item_id=item_id), **by("admin"))).item
    assert len(item.decisions) == 1
    assert item.reviews_needed == 2
