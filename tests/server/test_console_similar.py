"""Similar pictures and their decisions beside the one in hand."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.console_rig import Browser, Rig, account, console
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.golden import GoldenRequest
from imagesieve_server.core.verdict import ReasonCode
from imagesieve_server.review_queue.quality import QueueQuality
from imagesieve_server.testing import ppm

BITS = "0123456789abcdef" * 4
NEAR = f"{int(BITS, 16) ^ 0xFF:064x}"  # 8 bits away


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with console(tmp_path) as made:
        yield made


async def decided(rig: Rig, by: Browser, outcome: str, **fields: Any) -> str:
    item = await rig.flag(**{"picture_hash": BITS, **fields})
    assert await by.take() == item
    await by.decide(outcome, label=["red"], note="as agreed")
    rig.clock.advance(120.0)
    return item


def panel(page: str) -> str:
    found = re.search(r'<details class="facts" id="similar">.*?</details>', page, re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[0])) if found else ""


def pictures(page: str) -> list[str]:
    return [
        path.replace("&amp;", "&") for path in re.findall(r'src="(/items/[^"]+veiled[^"]+)"', page)
    ]


async def test_what_was_decided_on_similar_pictures_is_shown(rig: Rig) -> None:
    ann, bob = await rig.signed_in(), await rig.signed_in("bob")
    await decided(rig, ann, "approve")
    await decided(rig, ann, "reject", picture_hash=NEAR)
    await rig.flag(picture_hash=BITS)
    await bob.take()
    shown = panel(bob.page)
    assert "decided before (2)" in shown
    assert "Approved almost the same, 4 minutes ago" in shown
    assert "Rejected as Red similar, 2 minutes ago" in shown
    assert "ann" not in shown
    assert "look" not in shown.split("decided before")[1]  # the page of an item is for leads
    lea = await rig.signed_in("lea")
    await lea.get(f"/items/{bob.item}")
    assert panel(lea.page).count("look") == 2


async def test_a_similar_picture_is_veiled_whatever_one_prefers(rig: Rig) -> None:
    """Nobody asked to see it."""
    ann, bob = await rig.signed_in(), await rig.signed_in("bob")
    item = await decided(rig, ann, "approve", data=ppm((9, 8, 7), side=64))
    await bob.get("/preferences")
    await bob.post("/preferences", grey="on")  # no veil
    await rig.flag(picture_hash=NEAR)
    await bob.take()
    (path,) = pictures(bob.page)
    answer = await bob.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    lea = await rig.signed_in("lea")
    assert answer.content == (await lea.get(f"/items/{item}/picture")).content
    assert (await bob.get(f"/items/{item}/picture")).status_code == 403
    assert (await bob.get(path + "&clear")).content == answer.content


async def test_only_what_a_session_was_shown_can_be_fetched(rig: Rig) -> None:
    ann, bob = await rig.signed_in(), await rig.signed_in("bob")
    item = await decided(rig, ann, "approve")
    other = await rig.flag()
    await rig.flag(picture_hash=NEAR, severity=4)
    await bob.take()
    (path,) = pictures(bob.page)
    for wrong in (
        path.replace(item, other),
        path.partition("?")[0],
        path[:-1] + ("0" if path[-1] != "0" else "1"),
        path.partition("=")[0] + "=é",
    ):
        assert (await bob.get(wrong)).status_code == 403, wrong
    assert (await ann.get(path)).status_code == 403
    assert (await bob.get(path)).status_code == 200
    await bob.get("/review")
    csrf = re.search(r'name="csrf" value="([^"]+)"', bob.page)
    assert csrf is not None
    for known in (csrf[1], ""):  # what the browser knows makes no proof
        forged = hmac.new(known.encode(), f"veiled t {other}".encode(), hashlib.sha256)
        answer = await bob.get(f"/items/{other}/veiled?proof={forged.hexdigest()[:32]}")
        assert answer.status_code == 403
    await bob.get("/review")
    await bob.post("/review/skip")
    assert bob.item == other
    assert (await bob.get(path)).status_code == 403  # not beside this one


async def test_with_nothing_in_hand_nothing_is_shown_beside_it(rig: Rig) -> None:
    ann, bob = await rig.signed_in(), await rig.signed_in("bob")
    item = await decided(rig, ann, "approve")
    await bob.get("/review")
    forged = hmac.new(b"", f"veiled t {item}".encode(), hashlib.sha256).hexdigest()[:32]
    assert (await bob.get(f"/items/{item}/veiled?proof={forged}")).status_code == 403


async def test_the_word_of_a_first_reviewer_is_not_among_them(rig: Rig) -> None:
    ann, bob = await rig.signed_in(), await rig.signed_in("bob")
    item = await rig.flag(picture_hash=BITS, reviews_needed=2)
    assert await ann.take() == item
    await ann.decide("reject", label=["red"])
    assert await bob.take() == item
    assert panel(bob.page) == ""
    assert "rejected" not in bob.page


async def test_a_sample_is_like_any_other(rig: Rig) -> None:
    ann, bob = await rig.signed_in(), await rig.signed_in("bob")
    await decided(rig, ann, "approve", audit=True, blind=True, reasons=(ReasonCode.AUDIT_SAMPLE,))
    await rig.flag(picture_hash=NEAR, blind=True)
    await bob.take()
    assert "Approved similar, 2 minutes ago" in panel(bob.page)
    assert "audit" not in bob.page.lower()


async def test_a_golden_items_decision_is_the_answer_to_its_copies(rig: Rig) -> None:
    ann, bob = await rig.signed_in(), await rig.signed_in("bob")
    item = await decided(rig, ann, "reject")
    quality = QueueQuality(calls=rig.queue.calls)
    await quality.mark_golden(GoldenRequest(tenant="t", item_id=item, actor="lea"))
    await rig.flag(picture_hash=NEAR)
    await bob.take()
    assert panel(bob.page) == ""
    lea = await rig.signed_in("lea")
    await lea.get(f"/items/{bob.item}")
    assert "Rejected as Red similar" in panel(lea.page)


async def test_other_tenants_pictures_are_nobodys_business(rig: Rig) -> None:
    rig.accounts["ann"] = account("ann", "reviewer", "t", "u")
    ann = await rig.signed_in()
    await decided(rig, ann, "approve")
    item = await rig.flag(picture_hash=BITS, tenant="u")
    await ann.get("/review")
    await ann.post("/tenant", tenant="u")
    assert await ann.take() == item
    assert panel(ann.page) == ""


async def test_an_item_stays_reviewable_where_nothing_can_be_looked_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await rig.signed_in()
    await decided(rig, ann, "approve")
    item = await rig.flag(picture_hash=NEAR)

    async def fails(**asked: Any) -> Any:
        raise StoreUnavailable("not now")

    monkeypatch.setattr(rig.queue, "similar", fails)
    assert await ann.take() == item
    assert panel(ann.page) == ""
