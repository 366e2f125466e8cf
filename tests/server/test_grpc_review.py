"""ReviewService over a real server and queue: claim, look, decide."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import grpc
import pytest

from helpers.grpc_rig import Rig, ask, refused, running
from imagesieve.v1 import review_pb2 as pb
from imagesieve_server.core.audit import WITHHELD
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.policy import AuditRates
from imagesieve_server.grpc_api.identity import Identity, Role
from imagesieve_server.testing import BLUE, GREEN, RED, MemoryEmbeddings, colour_policy, ppm

Code = grpc.StatusCode


async def flag(rig: Rig, name: str = "r-1", image: bytes = ppm(RED)) -> str:
    item_id: str = (await rig.moderation.Moderate(ask(name, image))).item_id
    return item_id


async def claim(rig: Rig, claim_id: str = "c-1", **fields: Any) -> Any:
    return await rig.review.Claim(pb.ClaimRequest(claim_id=claim_id, reviewer="ann", **fields))


async def test_an_item_is_claimed_with_its_picture_and_decided() -> None:
    async with running() as rig:
        item_id = await flag(rig)
        lease = await claim(rig, include_image=True)
        got = await rig.review.Decide(
            pb.DecideRequest(
                item_id=item_id,
                token=lease.token,
                outcome=pb.OUTCOME_REJECT,
                labels=["weapon"],
                note="a red one",
                reviewer="ann",
            )
        )
        item = (await rig.review.Get(pb.GetRequest(item_id=item_id, include_image=True))).item
    assert lease.item.item_id == item_id
    assert lease.item.state == pb.ITEM_STATE_LEASED
    assert lease.image == ppm(RED)
    assert lease.lease_until.seconds - lease.item.claimed_at.seconds == pytest.approx(600, abs=1)
    assert got.decision.outcome == pb.OUTCOME_REJECT
    assert (got.decision.reviewer, got.decision.note) == ("ann", "a red one")
    assert got.decision.effective
    assert item.state == pb.ITEM_STATE_DECIDED
    assert list(item.decisions) == [got.decision]


async def test_an_empty_queue_gives_an_empty_claim() -> None:
    async with running() as rig:
        got = await claim(rig)
    assert not got.HasField("item")
    assert got.token == ""


async def test_a_claim_repeats_under_its_id_and_sends_no_picture_unasked() -> None:
    async with running() as rig:
        await flag(rig)
        first, again = await claim(rig), await claim(rig)
        other = await claim(rig, "c-2")
    assert first.token == again.token
    assert first.image == b""
    assert not other.HasField("item")


async def test_a_decision_repeats_under_its_token_but_not_with_other_content() -> None:
    async with running() as rig:
        item_id = await flag(rig)
        lease = await claim(rig)
        decide = pb.DecideRequest(
            item_id=item_id, token=lease.token, outcome=pb.OUTCOME_APPROVE, reviewer="ann"
        )
        first, again = await rig.review.Decide(decide), await rig.review.Decide(decide)
        decide.outcome = pb.OUTCOME_REJECT
        error = await refused(rig.review.Decide(decide))
    assert first == again
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "DECISION_CONFLICT")


async def test_a_lease_is_prolonged_and_given_back_and_then_lost() -> None:
    async with running() as rig:
        item_id = await flag(rig)
        lease = await claim(rig, lease_seconds=60)
        extend = pb.ExtendRequest(item_id=item_id, token=lease.token, lease_seconds=1800)
        longer = await rig.review.Extend(extend)
        released = await rig.review.Release(pb.ReleaseRequest(item_id=item_id, token=lease.token))
        error = await refused(rig.review.Extend(extend))
    assert longer.lease_until.seconds - lease.lease_until.seconds == pytest.approx(1740, abs=5)
    assert released.item.state == pb.ITEM_STATE_READY
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "LEASE_LOST")


async def test_an_open_item_is_requeued_as_it_is_and_a_decided_one_is_not() -> None:
    async with running() as rig:
        item_id = await flag(rig)
        requeue = pb.RequeueRequest(item_id=item_id)
        ready = (await rig.review.Requeue(requeue)).item
        lease = await claim(rig)
        await rig.review.Decide(
            pb.DecideRequest(
                item_id=item_id, token=lease.token, outcome=pb.OUTCOME_APPROVE, reviewer="ann"
            )
        )
        error = await refused(rig.review.Requeue(requeue))
    assert ready.state == pb.ITEM_STATE_READY
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "STATE_CONFLICT")


async def test_items_are_listed_in_pages_and_counted() -> None:
    async with running(policies=[colour_policy(flagged=(("red", RED), ("blue", BLUE)))]) as rig:
        ids = {await flag(rig, f"r-{side}", ppm(RED, side=side)) for side in range(1, 6)}
        await claim(rig)
        pages, token = [], ""
        while True:
            page = await rig.review.List(pb.ListRequest(page_size=2, page_token=token))
            pages.append([item.item_id for item in page.items])
            token = page.next_page_token
            if not token:
                break
        leased = await rig.review.List(pb.ListRequest(states=[pb.ITEM_STATE_LEASED]))
        stats = await rig.review.Stats(pb.StatsRequest())
    assert sorted(len(page) for page in pages if page) == [1, 2, 2]
    assert {item_id for page in pages for item_id in page} == ids
    assert len(leased.items) == 1
    assert (stats.ready, stats.leased) == (4, 1)
    assert 0 <= stats.oldest_ready_age_seconds < 60


UNKNOWN = "00000000000000000000000000000000"
CASES: list[tuple[str, Any, Code, str]] = [
    ("Get", pb.GetRequest(item_id=UNKNOWN), Code.NOT_FOUND, "ITEM_NOT_FOUND"),
    ("Requeue", pb.RequeueRequest(item_id=UNKNOWN), Code.NOT_FOUND, "ITEM_NOT_FOUND"),
    ("Release", pb.ReleaseRequest(item_id=UNKNOWN, token="t"), Code.NOT_FOUND, "ITEM_NOT_FOUND"),
    ("Extend", pb.ExtendRequest(item_id=UNKNOWN, token="t"), Code.NOT_FOUND, "ITEM_NOT_FOUND"),
    (
        "Decide",
        pb.DecideRequest(item_id=UNKNOWN, token="t", outcome=pb.OUTCOME_APPROVE, reviewer="a"),
        Code.NOT_FOUND,
        "ITEM_NOT_FOUND",
    ),
    ("Get", pb.GetRequest(), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ("Claim", pb.ClaimRequest(claim_id="c"), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ("Reopen", pb.ReopenRequest(item_id=UNKNOWN), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    (
        "Reopen",
        pb.ReopenRequest(item_id=UNKNOWN, cause=pb.REOPEN_CAUSE_UNDO),
        Code.NOT_FOUND,
        "ITEM_NOT_FOUND",
    ),
    ("Erase", pb.EraseRequest(item_id="x"), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ("Erase", pb.EraseRequest(reason="x"), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ("Erase", pb.EraseRequest(sha256="x", reason="x"), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    (
        "Erase",
        pb.EraseRequest(sha256="f" * 64, reason="x"),
        Code.NOT_FOUND,
        "ITEM_NOT_FOUND",
    ),
    ("List", pb.ListRequest(page_size=501), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ("List", pb.ListRequest(reason="WHIM"), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ("List", pb.ListRequest(min_age_seconds=-1), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ("List", pb.ListRequest(max_age_seconds=1e99), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ("List", pb.ListRequest(page_token="not ours"), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
]


@pytest.mark.parametrize(
    ("method", "request_", "code", "reason"), CASES, ids=[f"{c[0]} {c[3]}" for c in CASES]
)
async def test_a_bad_call_is_refused_by_name(
    method: str, request_: Any, code: Code, reason: str
) -> None:
    async with running() as rig:
        error = await refused(getattr(rig.review, method)(request_))
    assert (error.code, error.reason) == (code, reason)


async def test_a_store_that_is_down_is_unavailable_to_reviewers() -> None:
    async with running() as rig:
        rig.queue.down = True
        error = await refused(claim(rig))
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "STORE_UNAVAILABLE")


async def test_an_item_whose_picture_is_gone_is_still_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from imagesieve_server.core.errors import ItemNotFound

    async def gone(**_: Any) -> bytes:
        raise ItemNotFound("no such evidence")

    async with running() as rig:
        item_id = await flag(rig)
        monkeypatch.setattr(rig.queue, "evidence", gone, raising=False)
        got = await rig.review.Get(pb.GetRequest(item_id=item_id, include_image=True))
        lease = await claim(rig, include_image=True)
    assert (got.item.item_id, got.image) == (item_id, b"")
    assert lease.token


async def decided(rig: Rig) -> Any:
    """One flagged and rejected picture; the decision."""
    item_id = await flag(rig)
    lease = await claim(rig)
    decide = pb.DecideRequest(
        item_id=item_id, token=lease.token, outcome=pb.OUTCOME_REJECT, reviewer="ann"
    )
    return (await rig.review.Decide(decide)).decision


async def test_a_decided_item_is_reviewed_again_and_the_next_decision_supersedes() -> None:
    async with running() as rig:
        first = await decided(rig)
        reopen = pb.ReopenRequest(
            item_id=first.item_id,
            cause=pb.REOPEN_CAUSE_APPEAL,
            decision_id=first.decision_id,
            note="a toy",
            reopened_by="uma",
        )
        item = (await rig.review.Reopen(reopen)).item
        again = (await rig.review.Reopen(reopen)).item
        second = await decided_again(rig, first.item_id)
    assert (item.state, item.round) == (pb.ITEM_STATE_READY, 2)
    assert (item.opened_by, item.opening_note) == ("APPEAL", "a toy")
    assert again == item
    assert second.supersedes == first.decision_id


async def decided_again(rig: Rig, item_id: str) -> Any:
    lease = await rig.review.Claim(pb.ClaimRequest(claim_id="c-2", reviewer="ben"))
    decide = pb.DecideRequest(
        item_id=item_id, token=lease.token, outcome=pb.OUTCOME_APPROVE, reviewer="ben"
    )
    return (await rig.review.Decide(decide)).decision


async def test_a_new_item_of_decided_bytes_shows_the_earlier_decision() -> None:
    async with running() as rig:
        first = await decided(rig)
        item_id = await flag(rig, "r-2")
        item = (await rig.review.Get(pb.GetRequest(item_id=item_id))).item
    assert item_id != first.item_id
    assert item.earlier == first


async def test_a_picture_is_erased_and_its_record_stays() -> None:
    async with running() as rig:
        first = await decided(rig)
        erase = pb.EraseRequest(item_id=first.item_id, reason="order 7", erased_by="law")
        got = await rig.review.Erase(erase)
        by_hash = pb.EraseRequest(sha256=got.sha256, reason="again")
        again = await rig.review.Erase(by_hash)
        shown = await rig.review.Get(pb.GetRequest(item_id=first.item_id, include_image=True))
        reopen = pb.ReopenRequest(item_id=first.item_id, cause=pb.REOPEN_CAUSE_UNDO)
        error = await refused(rig.review.Reopen(reopen))
    (record,) = got.decisions
    assert (record.cause, record.note, record.reviewer) == ("LEGAL_DELETE", "order 7", "law")
    assert record.supersedes == first.decision_id
    assert again == got
    assert (shown.item.state, shown.image) == (pb.ITEM_STATE_EXPIRED, b"")
    assert list(shown.item.decisions) == [first, record]
    assert not shown.item.answer.scores
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "STATE_CONFLICT")


async def test_erasing_reaches_the_kept_embeddings() -> None:
    kept = MemoryEmbeddings()
    async with running(embeddings=kept) as rig:
        item_id = await flag(rig)
        allowed = await rig.moderation.Moderate(ask("r-2", ppm(GREEN)))
        assert len(kept.images) == 2
        got = await rig.review.Erase(pb.EraseRequest(item_id=item_id, reason="order 7"))
        assert [image.sha256 for image in kept.images] == [allowed.sha256]
        # One that was allowed has no item, and its embeddings go all the same.
        erase = pb.EraseRequest(sha256=allowed.sha256, reason="order 8")
        without_item = await rig.review.Erase(erase)
        assert kept.images == []
        again = await refused(rig.review.Erase(erase))
    assert len(got.decisions) == 1
    assert (without_item.sha256, len(without_item.decisions)) == (allowed.sha256, 0)
    assert (again.code, again.reason) == (Code.NOT_FOUND, "ITEM_NOT_FOUND")


async def test_erasing_reaches_what_was_seen_and_is_in_memory() -> None:
    async with running() as rig:
        for request_id in ("r-1", "r-2"):
            await rig.moderation.Moderate(ask(request_id, ppm(GREEN)))
        flagged = await flag(rig, "r-3")
        erase = pb.EraseRequest(item_id=flagged, reason="order 7")
        await rig.review.Erase(erase)
        never_kept = pb.EraseRequest(sha256=hashlib.sha256(ppm(GREEN)).hexdigest(), reason="8")
        assert (await refused(rig.review.Erase(never_kept))).code == Code.NOT_FOUND
        for request_id, colour in (("r-4", GREEN), ("r-5", RED)):
            await rig.moderation.Moderate(ask(request_id, ppm(colour)))
    looked = [call["result"] for call in rig.metrics.named("content_cache")]
    assert looked == ["miss", "hit", "miss", "miss", "miss"]


async def test_an_erasure_that_does_not_reach_the_embeddings_fails_and_is_repeated() -> None:
    kept = BrokenEmbeddings()
    async with running(embeddings=kept) as rig:
        item_id = await flag(rig)
        erase = pb.EraseRequest(item_id=item_id, reason="order 7")
        error = await refused(rig.review.Erase(erase))
        kept.broken = False
        got = await rig.review.Erase(erase)
    assert error.reason == "STORE_UNAVAILABLE"
    assert len(got.decisions) == 1
    assert kept.images == []


class BrokenEmbeddings(MemoryEmbeddings):
    """Cannot erase until it is mended."""

    broken = True

    async def erase(self, *, tenant: str, sha256: str) -> int:
        if self.broken:
            raise StoreUnavailable("the disk is gone")
        return await super().erase(tenant=tenant, sha256=sha256)


async def test_what_the_policy_says_of_reviews_reaches_the_queue() -> None:
    policy = replace(colour_policy(), reuse_decisions=True, reviews_needed=2)
    async with running(policies=[policy]) as rig:
        item_id = await flag(rig)
        for name in ("ann", "ben"):
            lease = await rig.review.Claim(pb.ClaimRequest(claim_id=name, reviewer=name))
            decide = pb.DecideRequest(
                item_id=item_id, token=lease.token, outcome=pb.OUTCOME_REJECT, reviewer=name
            )
            effective = (await rig.review.Decide(decide)).decision.effective
            assert effective is (name == "ben")
        again = await flag(rig, "r-2")
        item = (await rig.review.Get(pb.GetRequest(item_id=again))).item
    assert item.state == pb.ITEM_STATE_DECIDED
    assert item.decisions[0].cause == item.opened_by == "REUSE_DECISION"


# --- audit samples are not to be told from flags ---------------------------------------------

AUDITING = replace(colour_policy(), audit=AuditRates(rate=1.0))


class As:
    """Everybody is one caller with these roles."""

    def __init__(self, *roles: Role) -> None:
        self._roles = frozenset(roles)

    async def authenticate(self, caller: Any) -> Identity:
        return Identity(tenant="t", name="ann", roles=self._roles)


def shown(item: Any) -> set[str]:
    """The item's fields that say something, without those of the one picture."""
    own = {"item_id", "sha256", "claimed_at", "lease_until", "claimed_by"}
    return {field.name for field, _ in item.ListFields()} - own


async def sampled(rig: Rig) -> None:
    """One flag, one sample."""
    uploader = ask("r-1", ppm(RED)), ask("r-2", ppm(GREEN))
    for each in uploader:
        await rig.moderation.Moderate(each)
    await rig.audit.flush()


async def test_a_reviewer_cannot_tell_a_sample_from_a_flag() -> None:
    roles = As(Role.UPLOADER, Role.REVIEWER, Role.ADMIN)
    async with running(policies=[AUDITING], authenticator=roles) as rig:
        await sampled(rig)
        leases = [await claim(rig, f"c-{n}", include_image=True) for n in range(2)]
        listed = (await rig.review.List(pb.ListRequest())).items
        gotten = [
            (await rig.review.Get(pb.GetRequest(item_id=item.item_id))).item for item in listed
        ]
        for lease in leases:
            await rig.review.Decide(
                pb.DecideRequest(
                    item_id=lease.item.item_id, token=lease.token, outcome=pb.OUTCOME_REJECT
                )
            )
        reopened = [
            (await rig.review.Reopen(
                pb.ReopenRequest(item_id=item.item_id, cause=pb.REOPEN_CAUSE_UNDO)
            )).item
            for item in listed
        ]  # fmt: skip
        again = await claim(rig, "c-3")
        released = await rig.review.Release(
            pb.ReleaseRequest(item_id=again.item.item_id, token=again.token)
        )
    assert [lease.image for lease in leases] == [ppm(RED), ppm(GREEN)]
    for pair in ([lease.item for lease in leases], listed, gotten, reopened):
        assert len(pair) == 2
        assert shown(pair[0]) == shown(pair[1])
        assert {(item.category, item.severity, item.submissions) for item in pair} == {
            ("red", 2, 0)
        }
    for item in (*listed, *gotten, *reopened, again.item, released.item):
        assert shown(item).isdisjoint(WITHHELD)
        assert "AUDIT" not in str(item)
        assert "ALLOW" not in str(item)


async def test_a_reviewer_cannot_tell_a_sample_by_asking_for_reasons_or_ages() -> None:
    roles = As(Role.UPLOADER, Role.REVIEWER, Role.ADMIN)
    async with running(policies=[AUDITING], authenticator=roles) as rig:
        await sampled(rig)
        for reason in ("CATEGORY_REVIEW", "AUDIT_SAMPLE"):
            assert not (await rig.review.List(pb.ListRequest(reason=reason))).items
        assert not (await rig.review.List(pb.ListRequest(max_age_seconds=9e6))).items
        assert len((await rig.review.List(pb.ListRequest(category="red"))).items) == 2


async def test_items_are_listed_by_reason_and_age() -> None:
    async with running(policies=[AUDITING], authenticator=As(Role.UPLOADER, Role.ADMIN)) as rig:
        await sampled(rig)
        samples = (await rig.review.List(pb.ListRequest(reason="AUDIT_SAMPLE"))).items
        young = (await rig.review.List(pb.ListRequest(max_age_seconds=9e6))).items
        old = (await rig.review.List(pb.ListRequest(min_age_seconds=9e6))).items
    assert [list(item.reasons) for item in samples] == [["AUDIT_SAMPLE"]]
    assert (len(young), len(old)) == (2, 0)


async def test_an_admin_who_decides_nothing_sees_all_of_it() -> None:
    async with running(policies=[AUDITING], authenticator=As(Role.UPLOADER, Role.ADMIN)) as rig:
        await sampled(rig)
        listed = (await rig.review.List(pb.ListRequest())).items
    assert [list(item.reasons) for item in listed] == [["CATEGORY_REVIEW"], ["AUDIT_SAMPLE"]]
    assert all(item.HasField("answer") for item in listed)


async def test_without_auditing_a_reviewer_sees_what_the_uploader_was_told() -> None:
    async with running() as rig:
        await flag(rig)
        item = (await claim(rig)).item
    assert set(WITHHELD) <= shown(item)
