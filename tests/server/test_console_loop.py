"""The claim-review-next loop of the console, through its pages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from helpers.console_rig import Rig, console
from imagesieve_server.console.desk import LOST, STANDS
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.review import Cause, DecideRequest, DecisionRecord, Outcome, State
from imagesieve_server.core.review_afterwards import ReopenRequest
from imagesieve_server.testing import BLUE, RED, colour_policy, ppm


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with console(tmp_path) as made:
        yield made


async def test_one_item_after_the_other(rig: Rig) -> None:
    first, second = await rig.flag(severity=4), await rig.flag(severity=1)
    ann = await rig.signed_in()
    assert await ann.take() == first
    await ann.decide("approve")
    assert ann.item == second
    await ann.decide("reject", label=["red", "other"], note="a red one")
    assert "Nothing waits for you" in ann.page
    approved, rejected = await rig.item(first), await rig.item(second)
    assert approved.state is rejected.state is State.DECIDED
    assert approved.decisions[-1].outcome is Outcome.APPROVE
    assert approved.decisions[-1].labels == ()
    said = rejected.decisions[-1]
    assert (said.outcome, said.labels, said.note) == (Outcome.REJECT, ("red", "other"), "a red one")
    assert said.reviewer == "ann"


async def test_a_rejection_needs_a_label(rig: Rig) -> None:
    item = await rig.flag()
    ann = await rig.signed_in()
    await ann.take()
    await ann.decide("reject")
    assert ann.told == "Choose at least one label for a rejection."
    assert ann.item == item
    assert (await rig.item(item)).decisions == ()


async def test_a_key_pressed_twice_decides_once(rig: Rig) -> None:
    first, second = await rig.flag(severity=4), await rig.flag(severity=1)
    ann = await rig.signed_in()
    await ann.take()
    await asyncio.gather(*(ann.decide("approve", item_id=first) for _ in range(3)))
    assert len((await rig.item(first)).decisions) == 1
    assert (await rig.item(second)).decisions == ()


async def test_another_word_than_the_first_is_told_that_the_first_stands(rig: Rig) -> None:
    """A page whose answer was lost is still there, and its reviewer may think again."""
    first, second = await rig.flag(severity=4), await rig.flag(severity=1)
    ann = await rig.signed_in()
    await ann.take()
    await ann.decide("approve")
    await ann.decide("approve", item_id=first)
    assert (ann.item, ann.told) == (second, "")
    for again in (
        ann.decide("reject", item_id=first, label="red"),
        ann.post("/review/skip", item_id=first),
    ):
        await again
        assert ann.told == STANDS.format("approved")
        assert ann.item == second
    assert len((await rig.item(first)).decisions) == 1
    await ann.post("/review/undo")
    assert ann.item == first


async def test_a_word_whose_record_was_not_heard_of_stands(rig: Rig) -> None:
    item = await rig.flag()
    ann = await rig.signed_in()
    await ann.take()
    decide, page = rig.queue.decide, ann.page

    async def unheard(request: DecideRequest) -> DecisionRecord:
        await decide(request)
        raise StoreUnavailable("the queue does not answer")

    rig.queue.decide = unheard  # type: ignore[method-assign]
    assert (await ann.decide("approve")).status_code == 503
    rig.queue.decide = decide  # type: ignore[method-assign]
    ann.page = page
    await ann.decide("reject", label="red")
    assert ann.told == STANDS.format("approved")
    assert [record.outcome for record in (await rig.item(item)).decisions] == [Outcome.APPROVE]
    await ann.post("/review/undo")
    assert ann.item == item


async def test_enter_on_a_label_presses_no_verdict(rig: Rig) -> None:
    """Browsers press a form's first button, unless it is disabled."""
    await rig.flag()
    ann = await rig.signed_in()
    await ann.take()
    form = ann.page.partition('id="decision"')[2]
    assert re.search(r"<button[^>]*>", form)[0] == "<button disabled hidden>"  # type: ignore[index]


async def test_a_page_gone_old_decides_nothing(rig: Rig) -> None:
    """What another tab shows is not what is in hand any more."""
    await rig.flag(severity=4)
    second = await rig.flag(severity=1)
    ann = await rig.signed_in()
    await ann.take()
    await ann.decide("approve", item_id="it_of_another_page")
    assert ann.told == LOST
    assert (await rig.item(second)).decisions == ()


async def test_an_escalated_item_is_the_leads(rig: Rig) -> None:
    item = await rig.flag()
    ann, lea = await rig.signed_in(), await rig.signed_in("lea")
    await ann.take()
    await ann.decide("escalate", note="is this art?")
    assert ann.item == ""
    assert await lea.take() == item
    assert "is this art?" in lea.page
    await lea.decide("approve")
    assert (await rig.item(item)).state is State.DECIDED


async def test_a_skipped_item_comes_last_and_only_when_asked_for(rig: Rig) -> None:
    urgent, other = await rig.flag(severity=4), await rig.flag(severity=1)
    ann = await rig.signed_in()
    await ann.take()
    await ann.post("/review/skip")
    assert ann.item == other
    await ann.decide("approve")
    assert ann.item == ""
    assert "You skipped 1" in ann.page
    await ann.post("/review/take-skipped")
    assert ann.item == urgent
    assert (await rig.item(urgent)).expiries == 0


async def test_undo_brings_the_item_back_and_gives_back_what_was_in_hand(rig: Rig) -> None:
    first, second = await rig.flag(severity=4), await rig.flag(severity=1)
    ann = await rig.signed_in()
    await ann.take()
    await ann.decide("approve")
    await ann.post("/review/undo")
    assert ann.item == first
    assert ann.told.startswith("Undone")
    assert "A decision was undone." in ann.page
    assert "by the reviewer" not in ann.page, "who undid it knows"
    assert (await rig.item(second)).state is State.READY
    await ann.decide("reject", label="red")
    item = await rig.item(first)
    assert [d.outcome for d in item.decisions] == [Outcome.APPROVE, Outcome.REJECT]
    assert item.decisions[1].supersedes == item.decisions[0].decision_id


async def test_an_undo_that_comes_too_late_says_so(rig: Rig) -> None:
    item = await rig.flag()
    ann = await rig.signed_in()
    await ann.take()
    await ann.decide("approve")
    await rig.queue.reopen(ReopenRequest(tenant="t", item_id=item, cause=Cause.APPEAL))
    lease = await rig.claim("bob")
    assert lease is not None
    await ann.post("/review/undo")
    assert "cannot be undone" in ann.told
    assert (await rig.item(item)).claimed_by == "bob"
    await ann.post("/review/undo")


async def test_an_escalation_is_not_undone(rig: Rig) -> None:
    await rig.flag()
    ann = await rig.signed_in()
    await ann.take()
    await ann.decide("escalate")
    await ann.post("/review/undo")
    assert ann.told == "An escalation cannot be undone: the next tier has it."


async def test_a_lease_lost_to_somebody_else_is_told_kindly(rig: Rig) -> None:
    item, other = await rig.flag(severity=4), await rig.flag(severity=1)
    ann = await rig.signed_in()
    await ann.take()
    rig.clock.advance(601.0)
    lease = await rig.claim("bob")
    assert lease is not None
    assert lease.item.item_id == item
    await ann.decide("approve", item_id=item)
    assert ann.told == LOST
    assert ann.item == other
    assert (await rig.item(item)).decisions == ()
    await rig.queue.decide(
        DecideRequest(tenant="t", item_id=item, token=lease.token, reviewer="bob",
                      outcome=Outcome.APPROVE)
    )  # fmt: skip


async def test_a_page_that_is_open_keeps_the_lease(rig: Rig) -> None:
    item = await rig.flag()
    ann = await rig.signed_in()
    await ann.take()
    for _ in range(4):
        rig.clock.advance(400.0)
        kept = (await ann.post("/review/extend")).json()
        assert kept["kept"] is True
        assert kept["seconds"] == pytest.approx(600.0)
    rig.clock.advance(601.0)
    assert await rig.claim("bob") is not None
    assert (await ann.post("/review/extend", item_id=item)).json()["kept"] is False


async def test_a_restart_in_mid_review_loses_nothing(rig: Rig) -> None:
    item = await rig.flag()
    ann = await rig.signed_in()
    await ann.take()
    await ann.post("/review/reveal")
    await rig.restart()
    await ann.get("/review")
    assert ann.item == item
    assert "clear" in ann.page
    await ann.decide("approve")
    assert (await rig.item(item)).state is State.DECIDED
    await rig.restart()
    await ann.post("/review/undo")
    assert ann.item == item


async def test_two_reviewers_never_hold_the_same_item(rig: Rig) -> None:
    for _ in range(6):
        await rig.flag()
    ann, bob = await rig.signed_in(), await rig.signed_in("bob")
    seen = []
    for _ in range(3):
        for browser in (ann, bob):
            seen.append(await browser.take())
            await browser.decide("approve")
    assert len(set(seen)) == 6


async def test_signing_out_gives_the_item_back(rig: Rig) -> None:
    item = await rig.flag()
    ann = await rig.signed_in()
    await ann.take()
    await ann.post("/logout")
    assert (await rig.item(item)).state is State.READY


async def test_a_second_review_does_not_show_the_first(rig: Rig) -> None:
    item = await rig.flag(reviews_needed=2)
    ann, bob = await rig.signed_in(), await rig.signed_in("bob")
    await ann.take()
    await ann.decide("reject", label="red", note="surely")
    assert ann.item == ""
    assert await bob.take() == item
    assert "surely" not in bob.page
    await bob.decide("reject", label="red")
    assert (await rig.item(item)).state is State.DECIDED


async def test_who_settles_is_told_why_it_came(rig: Rig) -> None:
    await rig.flag(reviews_needed=2)
    ann, bob, lea = [await rig.signed_in(name) for name in ("ann", "bob", "lea")]
    await ann.take()
    await ann.decide("reject", label="other")
    await bob.take()
    await bob.decide("approve")
    await lea.take()
    assert "The reviewers do not agree. Your word settles it." in lea.page
    assert "rejected just now (Something else)" in lea.page
    await lea.decide("approve")
    await rig.flag()
    await ann.take()
    await ann.decide("escalate", note="is that one <b>?")
    await lea.take()
    assert "Escalated to you. “is that one &lt;b&gt;?”" in lea.page
    await lea.get(f"/items/{lea.item}")
    assert "Escalated to you." in lea.page


async def test_earlier_decisions_of_the_same_bytes_are_shown(rig: Rig) -> None:
    data = ppm((250, 3, 3), side=64)
    await rig.flag(data=data)
    ann = await rig.signed_in()
    await ann.take()
    await ann.decide("reject", label="red", note="seen before")
    await rig.flag(data=data)
    await ann.take()
    assert "The same file was rejected just now (Red): “seen before”" in ann.page


async def test_a_page_shows_scores_reasons_and_the_worst_view(rig: Rig) -> None:
    await rig.flag(content_ref="<script>alert(1)</script>", labels={"a": '"><img src=x>'})
    ann = await rig.signed_in()
    await ann.take()
    assert "Red: the score is high enough for a person to look." in ann.page
    assert "0.83, review from 0.60" in ann.page
    assert 'class="line" x="32" y="0" width="32" height="64"' in ann.page
    assert "Neutral score 0.21" in ann.page
    assert "part 2: Red</option>" in ann.page
    assert "<script>alert" not in ann.page
    assert "<img src=x>" not in ann.page
    assert "&lt;script&gt;" in ann.page


async def test_of_a_policy_that_audits_nothing_is_shown_that_tells_samples(rig: Rig) -> None:
    """A flag and a sample with the same category: the pages differ in nothing but names."""
    for _ in range(2):
        await rig.flag(data=ppm((250, 0, 0), side=64), blind=True, severity=2)
    await rig.flag(blind=True, severity=2, audit=True, score=0.1, inclusion_probability=0.01)
    ann = await rig.signed_in()
    pages = []
    for _ in range(2):
        item = await ann.take()
        pages.append(ann.page.replace(item, "ITEM"))
        await ann.post("/review/skip")
    assert "0.83" not in pages[0]
    assert "due in" not in pages[0]
    assert "Scores are not shown" in pages[0]
    assert pages[0] == pages[1]


async def test_a_stored_answer_that_cannot_be_read_leaves_the_item_reviewable(rig: Rig) -> None:
    item = await rig.flag(answer="{}")
    ann = await rig.signed_in()
    assert await ann.take() == item
    await ann.decide("approve")
    assert (await rig.item(item)).state is State.DECIDED


async def test_the_queue_of_another_tenant_is_out_of_reach(rig: Rig) -> None:
    await rig.flag(tenant="other")
    ann = await rig.signed_in()
    assert await ann.take() == ""
    answer = await ann.post("/tenant", tenant="other")
    assert answer.status_code == 403


async def test_a_person_of_two_tenants_goes_from_one_to_the_other(rig: Rig) -> None:
    from helpers.console_rig import account

    rig.accounts["zoe"] = account("zoe", "reviewer", "t", "shop")
    ours, theirs = await rig.flag(), await rig.flag(tenant="shop")
    zoe = await rig.signed_in("zoe")
    assert await zoe.take() == ours
    await zoe.post("/tenant", tenant="shop")
    assert (await rig.item(ours)).state is State.READY
    assert await zoe.take() == theirs


async def test_only_the_categories_chosen_come(rig: Rig) -> None:
    rig.policies.policies = (colour_policy(flagged=(("red", RED), ("blue", BLUE))),)
    await rig.flag(category="blue", severity=4)
    red, other = await rig.flag(category="red"), await rig.flag(category="", severity=4)
    ann = await rig.signed_in()
    await ann.get("/choose")
    await ann.post("/choose", category=["red", "", "made up"])
    assert "2 categories chosen" in ann.page
    assert await ann.take() == other
    await ann.decide("approve")
    assert ann.item == red
    await ann.decide("approve")
    assert ann.item == ""
    assert "not of what you chose" in ann.page
    await ann.post("/choose")
    assert "All categories" in ann.page
    assert await ann.take() != ""


async def test_the_choice_outlives_a_restart_and_not_the_session(rig: Rig) -> None:
    await rig.flag(category="blue")
    ann = await rig.signed_in()
    await ann.get("/choose")
    await ann.post("/choose", category="red")
    await rig.restart()
    assert await ann.take() == ""
    await ann.post("/logout")
    await ann.sign_in()
    assert await ann.take() != ""
