"""The leads' page about quality, and golden items in the console."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from helpers.console_rig import Rig, console
from imagesieve_server.console.quality_plot import quality_bars
from imagesieve_server.core.agreement import Table
from imagesieve_server.core.golden import GoldenPlan
from imagesieve_server.core.quality_report import Counts
from imagesieve_server.core.review import State


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with console(tmp_path) as made:
        yield made


async def decided(rig: Rig, name: str = "ann", **fields: object) -> str:
    """An item that one person rejected."""
    item = await rig.flag(**fields)
    person = await rig.signed_in(name)
    await person.take()
    await person.decide("reject", label="red")
    return item


async def test_quality_and_golden_items_are_for_leads(rig: Rig) -> None:
    item = await decided(rig)
    bob = await rig.signed_in("bob")
    assert (await bob.get("/quality")).status_code == 403
    for action in ("/items/golden", "/items/golden/end"):
        assert (await bob.post(action, item_id=item)).status_code == 403
    assert not (await rig.item(item)).golden
    await bob.get("/review")
    assert "Quality" not in bob.page


async def test_a_lead_sees_how_well_people_decide(rig: Rig) -> None:
    for _ in range(3):
        await rig.flag(reviews_needed=2)
        for name in ("ann", "bob"):
            person = await rig.signed_in(name)
            await person.take()
            await person.decide("reject", label="red")
    rig.clock.advance(1.0)
    lea = await rig.signed_in("lea")
    await lea.get("/quality")
    assert '<th scope="row">Red</th><td>3</td><td>too few</td>' in lea.page
    assert '<th scope="row">ann</th><td>3</td>' in lea.page
    rig.clock.advance(8 * 86400.0)
    lea = await rig.signed_in("lea")
    await lea.get("/quality?days=7")
    assert "Nobody decided." in lea.page
    await lea.get("/quality?days=nonsense")
    assert '<th scope="row">ann</th>' in lea.page, "thirty days"


def test_figures_are_drawn_with_their_intervals() -> None:
    table = Table(both_reject=30, only_first=10, neither=20)
    counts = Counts(table=table, decisions=40, overturned=4, golden=5, golden_right=5)
    drawn = {bar.title.partition(",")[0]: bar for bar in quality_bars(counts)}
    agreement, kappa = drawn["Agreement of two reviewers"], drawn["Cohen's kappa"]
    for bar in (agreement, kappa, drawn["Overturned"]):
        assert bar.value is not None
        assert 0 < bar.low < bar.value < bar.high < 100
    assert agreement.value == 83.3
    assert drawn["Overturned"].value == 10.0
    assert drawn["Golden items right"].value is None
    assert drawn["Golden items right"].text == "too few"


async def test_a_golden_item_is_marked_given_and_answered(rig: Rig) -> None:
    item = await decided(rig)
    lea = await rig.signed_in("lea")
    await lea.get(f"/items/{item}")
    assert "Mark as golden" in lea.page
    await lea.post("/items/golden", item_id=item)
    assert (await rig.item(item)).golden
    await lea.get(f"/items/{item}")
    assert "Golden: copies of it" in lea.page
    rig.store.goldens = GoldenPlan(share=1.0)
    waiting = await rig.flag()
    bob = await rig.signed_in("bob")
    copy = await bob.take()
    assert copy not in (item, waiting)
    assert "olden" not in bob.page
    assert "The same file" not in bob.page
    await bob.decide("approve")
    assert bob.item == waiting, "and on it goes"
    await lea.get(f"/items/{copy}")
    assert "A copy of the" in lea.page
    rig.clock.advance(1.0)
    await lea.get("/quality")
    assert '<th scope="row">bob</th><td>0</td><td>–</td><td>–</td><td>1</td>' in lea.page
    assert item[-8:] in lea.page
    await lea.post("/items/golden/end", item_id=item)
    assert not (await rig.item(item)).golden


async def test_a_golden_copy_is_skipped_and_undone_as_any_other(rig: Rig) -> None:
    item = await decided(rig)
    lea = await rig.signed_in("lea")
    await lea.post("/items/golden", item_id=item)
    rig.store.goldens = GoldenPlan(share=1.0)
    waiting = await rig.flag()
    bob = await rig.signed_in("bob")
    copy = await bob.take()
    await bob.post("/review/skip", item_id=copy)
    await bob.get("/review")
    assert await bob.take() == waiting
    await bob.decide("approve")
    await bob.post("/review/take-skipped")
    assert await bob.take() == copy
    await bob.decide("approve")
    await bob.post("/review/undo")
    assert (await rig.item(copy)).state is State.LEASED
    await bob.get("/review")
    assert bob.item == copy


async def test_what_cannot_be_golden_is_not(rig: Rig) -> None:
    item = await rig.flag()
    lea = await rig.signed_in("lea")
    await lea.get(f"/items/{item}")
    assert "olden" not in lea.page
    await lea.post("/items/golden", item_id=item)
    assert not (await rig.item(item)).golden
