"""How much of the severe comes to one person, and when a break is worth a word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.console_rig import Rig, account, console
from imagesieve_server.console.breaks import Breaks
from imagesieve_server.console.exposure import Limits
from imagesieve_server.console.sessions import Work
from imagesieve_server.core.review_figures import TakenCount
from imagesieve_server.testing import BLUE, GREEN, RED, colour_policy

SEVERITIES = {"mild": 1, "severe": 3, "urgent": 4}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with console(tmp_path, limits=Limits(severe=2, urgent=1)) as made:
        policy = colour_policy(flagged=(("mild", RED), ("severe", GREEN), ("urgent", BLUE)))
        made.policies.policies = (
            replace(
                policy,
                categories=tuple(
                    replace(category, severity=SEVERITIES[category.id])
                    for category in policy.categories
                ),
            ),
        )
        yield made


async def flagged(rig: Rig, category: str, **fields: object) -> str:
    rig.clock.advance(1.0)
    return await rig.flag(category=category, severity=SEVERITIES[category], **fields)


def taken(severe: int, urgent: int) -> list[TakenCount]:
    return [
        TakenCount(reviewer="ann", severity=3, items=severe),
        TakenCount(reviewer="ann", severity=4, items=urgent),
    ]


@pytest.mark.parametrize(
    ("limits", "severe", "urgent", "highest"),
    [
        (Limits(), 999, 999, 4),
        (Limits(severe=3), 2, 0, 4),
        (Limits(severe=3), 2, 1, 2),
        (Limits(urgent=3), 99, 2, 4),
        (Limits(urgent=3), 0, 3, 3),
        (Limits(severe=9, urgent=3), 0, 3, 3),
        (Limits(severe=3, urgent=3), 3, 0, 2),
    ],
)
def test_what_may_still_come(limits: Limits, severe: int, urgent: int, highest: int) -> None:
    assert limits.highest(taken(severe, urgent)) == highest


async def test_behind_the_limit_milder_ones_come_and_it_is_said_kindly(rig: Rig) -> None:
    urgent, _ = await flagged(rig, "urgent"), await flagged(rig, "urgent")
    severe, mild = await flagged(rig, "severe"), await flagged(rig, "mild")
    ann = await rig.signed_in()
    assert await ann.take() == urgent
    assert ann.told == ""
    await ann.decide("approve")
    assert ann.item == severe
    assert "as many urgent pictures as one person should see in a day" in ann.told
    await ann.decide("approve")
    assert ann.item == mild
    assert "as many severe pictures" in ann.told
    await ann.decide("approve")
    assert ann.item == ""
    assert "as many severe pictures" in ann.page
    assert "others take those that wait" in ann.page


async def test_a_picture_that_was_skipped_has_been_seen(rig: Rig) -> None:
    await flagged(rig, "urgent")
    second = await flagged(rig, "urgent")
    ann = await rig.signed_in()
    await ann.take()
    await ann.post("/review/skip")
    assert ann.item == ""
    bob = await rig.signed_in("bob")
    assert await bob.take() != ""
    rig.clock.advance(24 * 3600.0 + 1)
    await ann.sign_in()
    assert await ann.take() in (second, ann.item)
    assert ann.item


async def test_what_no_category_flagged_does_not_come_behind_a_limit(rig: Rig) -> None:
    """It may be anything."""
    await flagged(rig, "urgent")
    await rig.flag(category="", severity=4)
    ann = await rig.signed_in()
    await ann.take()
    await ann.decide("approve")
    assert ann.item == ""


async def test_the_choice_of_categories_holds_behind_a_limit(rig: Rig) -> None:
    await flagged(rig, "urgent")
    await flagged(rig, "mild")
    ann = await rig.signed_in()
    await ann.take()
    await ann.post("/choose", category="urgent")
    await ann.decide("approve")
    assert ann.item == ""


async def test_what_was_seen_elsewhere_counts(rig: Rig) -> None:
    """Over the service, by another server, for another tenant: it is one pair of eyes."""
    rig.accounts["ann"] = account("ann", "reviewer", "t", "u")
    await flagged(rig, "urgent", tenant="u")
    await flagged(rig, "urgent")
    await rig.claim("ann")
    rig.clock.advance(601.0)
    await rig.queue.expire_leases()
    ann = await rig.signed_in()
    assert await ann.take() == ""
    await ann.get("/review")
    await ann.post("/tenant", tenant="u")
    assert await ann.take() == ""


async def test_the_own_last_item_comes_back_by_undo(rig: Rig) -> None:
    item = await flagged(rig, "urgent")
    ann = await rig.signed_in()
    await ann.take()
    await ann.decide("approve")
    await ann.post("/review/undo")
    assert ann.item == item


async def test_leads_see_who_is_at_the_limit(rig: Rig) -> None:
    await flagged(rig, "urgent")
    ann, lea = await rig.signed_in(), await rig.signed_in("lea")
    await ann.take()
    await lea.get("/overview")
    assert 'ann <small class="late">at the limit</small>' in lea.page
    assert "1 taken, 1 urgent" in lea.page
    assert "2 severe and urgent pictures, and of them 1 urgent ones" in lea.page


# --- breaks ----------------------------------------------------------------------------------


async def test_an_hour_without_a_break_is_worth_one_word(tmp_path: Path) -> None:
    async with console(tmp_path) as rig:
        ann = await rig.signed_in()
        told = []
        for minute in range(0, 100, 4):
            await rig.flag()
            if minute:
                rig.clock.advance(240.0)
            await ann.take()
            told += [minute] if "without a break" in ann.told else []
            await ann.decide("approve")
        assert told == [60]


def test_a_break_starts_the_count_anew() -> None:
    now = 10_000.0
    breaks = Breaks(after_s=3600.0, clock=lambda: now)
    work, told = breaks.noted(Work(busy_since=now - 3600.0, last_at=now - 301.0))
    assert (work.busy_since, told) == (now, "")
    work, told = breaks.noted(Work(busy_since=now - 3600.0, last_at=now - 299.0))
    assert told.startswith("You have been reviewing for 1 hour without a break.")
    assert breaks.noted(work)[1] == ""
    never = Breaks(after_s=0.0, clock=lambda: now)
    assert never.noted(Work(busy_since=0.0, last_at=now))[1] == ""
