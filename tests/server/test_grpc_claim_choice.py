"""What a claim over gRPC may choose: one item out of its turn, or what has no category."""

from __future__ import annotations

import grpc

from helpers.callers_by_name import ByName, by
from helpers.grpc_rig import Rig, ask, refused, running
from imagesieve.v1 import review_pb2 as pb
from imagesieve_server.testing import RED, ppm

Code = grpc.StatusCode


async def waiting(rig: Rig, name: str, picture: bytes) -> str:
    answer = await rig.moderation.Moderate(ask(name, picture), **by("uploader"))
    assert answer.item_id
    return str(answer.item_id)


async def claimed(rig: Rig, who: str, claim_id: str, **fields: object) -> str:
    """The id of the item that was leased, "" where there is none."""
    request = pb.ClaimRequest(claim_id=claim_id, **fields)  # type: ignore[arg-type]
    return str((await rig.review.Claim(request, **by(who))).item.item_id)


async def test_a_lead_takes_an_item_out_of_its_turn() -> None:
    async with running(authenticator=ByName()) as rig:
        first = await waiting(rig, "r-1", ppm(RED))
        second = await waiting(rig, "r-2", ppm((250, 2, 2)))
        assert await claimed(rig, "lead-lea", "c-1", item_id=second) == second
        assert await claimed(rig, "lead-lea", "c-1", item_id=second) == second, "repeated"
        refusal = await refused(claimed(rig, "lead-lea", "c-1", item_id=first))
        assert refusal.code is Code.INVALID_ARGUMENT, "not another item than was asked for"
        assert await claimed(rig, "lead-lea", "c-2", item_id=second) == "", "it is taken"
        assert await claimed(rig, "lead-lea", "c-3", item_id="other") == ""
        assert await claimed(rig, "lead-lea", "c-4", item_id=first, tier=2) == "", "it is in tier 1"
        assert await claimed(rig, "reviewer-ann", "c-5") == first


async def test_reviewers_take_what_comes() -> None:
    """Who may choose pictures leaves the hard ones to others."""
    async with running(authenticator=ByName()) as rig:
        item_id = await waiting(rig, "r-1", ppm(RED))
        for who in ("reviewer-ann", "uploader", "policy"):
            refusal = await refused(claimed(rig, who, "c-1", item_id=item_id))
            assert refusal.code is Code.PERMISSION_DENIED
        assert await claimed(rig, "reviewer-ann", "c-2") == item_id


async def test_what_has_no_category_is_asked_for_by_an_empty_one() -> None:
    async with running(authenticator=ByName()) as rig:
        flagged = await waiting(rig, "r-1", ppm(RED))
        broken = await waiting(rig, "r-2", ppm(RED)[:-1])
        item = (await rig.review.Get(pb.GetRequest(item_id=broken), **by("lead-lea"))).item
        assert (item.category, list(item.reasons)) == ("", ["UNDECODABLE"])
        assert await claimed(rig, "reviewer-ann", "c-1", categories=[""]) == broken
        assert await claimed(rig, "reviewer-ann", "c-2", categories=[""]) == ""
        assert await claimed(rig, "reviewer-ann", "c-3", categories=["", "red"]) == flagged
