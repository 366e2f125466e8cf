"""A flood in the console: the word beside an item, the leads' pages, one decision and its undo."""

from __future__ import annotations

import html
import re
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.console_rig import Browser, Rig, account, console
from imagesieve_server.console import group_shown
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.groups import Fate, GroupClose, Progress
from imagesieve_server.core.review import Cause, Outcome, State
from imagesieve_server.core.review_afterwards import ReopenRequest

BITS = "0123456789abcdef" * 4


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with console(tmp_path) as made:
        yield made


async def flood(rig: Rig, count: int = 3, **fields: Any) -> list[str]:
    """Look-alikes, a minute apart."""
    found = []
    for _ in range(count):
        found.append(await rig.flag(**{"picture_hash": BITS, **fields}))
        rig.clock.advance(60.0)
    return found


async def group_of(rig: Rig, item_id: str) -> str:
    return (await rig.item(item_id)).group_id


async def states(rig: Rig, items: list[str]) -> list[State]:
    return [(await rig.item(item)).state for item in items]


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the page's form on the group."""
    form = re.search(r'<form method="post" action="/groups/(confirm|close)".*?</form>', page, re.S)
    assert form, page
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0])
    return {name: html.unescape(value) for name, value in fields if name != "csrf"}


def words(page: str) -> str:
    main = page.split("<main")[1].split("<dialog")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main))


async def close(by: Browser, outcome: str, *labels: str, note: str = "") -> None:
    """The way of a person who is on the group's page: a button, then the number once more."""
    fields = {**hidden(by.page), "outcome": outcome, "label": list(labels), "note": note}
    await by.post("/groups/confirm", **fields)
    again = {**hidden(by.page), "label": list(labels)}
    await by.post("/groups/close", **again)


async def test_the_word_beside_an_item_says_how_many_look_alike(rig: Rig) -> None:
    items = await flood(rig)
    ann, lea = await rig.signed_in(), await rig.signed_in("lea")
    await ann.take()
    assert "One of 3 look-alikes; 3 of them wait." in words(ann.page)
    assert "/groups/" not in ann.page
    await ann.decide("approve")
    assert "One of 3 look-alikes; 2 of them wait." in words(ann.page)
    await lea.get(f"/items/{items[2]}")
    assert f"/groups/{await group_of(rig, items[2])}" in lea.page


async def test_of_a_picture_like_no_other_nothing_is_said(rig: Rig) -> None:
    await flood(rig, 1)
    ann = await rig.signed_in()
    await ann.take()
    assert "look-alike" not in words(ann.page)


async def test_of_a_blind_item_nothing_is_said_before_it_is_settled(rig: Rig) -> None:
    items = await flood(rig, blind=True)
    ann, lea = await rig.signed_in(), await rig.signed_in("lea")
    taken = await ann.take()
    assert taken in items
    await lea.get(f"/items/{taken}")
    for page in (ann.page, lea.page):
        assert "look-alikes;" not in page
        assert "/groups/" not in page
    await ann.decide("approve")
    await lea.get(f"/items/{taken}")
    assert "One of 3 look-alikes" in words(lea.page)


async def test_an_item_is_reviewed_although_its_group_cannot_be_looked_up(rig: Rig) -> None:
    await flood(rig)
    ann = await rig.signed_in()
    await ann.take()
    call = rig.queue.calls.call

    async def fails(what: str, *args: Any, **more: Any) -> Any:
        if what == "groups":
            raise StoreUnavailable("not now")
        return await call(what, *args, **more)

    rig.queue.calls.call = fails  # type: ignore[method-assign]
    answer = await ann.get("/review")
    assert answer.status_code == 200
    assert "look-alike" not in words(ann.page)
    assert "Approve" in ann.page


@pytest.mark.parametrize("path", ["/groups", "/groups/x"])
async def test_the_pages_are_for_leads(rig: Rig, path: str) -> None:
    ann = await rig.signed_in()
    assert (await ann.get(path)).status_code == 403
    await ann.get("/review")
    assert "/groups" not in ann.page


@pytest.mark.parametrize("form", ["confirm", "close", "undo", "reveal"])
async def test_the_forms_are_for_leads(rig: Rig, form: str) -> None:
    items = await flood(rig)
    lea, ann = await rig.signed_in("lea"), await rig.signed_in()
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    fields = {**hidden(lea.page), "outcome": "approve"}
    await ann.get("/review")
    assert (await ann.post(f"/groups/{form}", **fields)).status_code == 403
    assert await states(rig, items) == [State.READY] * 3


async def test_groups_are_listed_the_largest_or_the_newest_first(rig: Rig) -> None:
    lea = await rig.signed_in("lea")
    await lea.get("/groups")
    assert "No two pictures that wait look alike" in words(lea.page)
    large = await group_of(rig, (await flood(rig, 3))[0])
    await rig.flag()  # like no other
    small = await group_of(rig, (await flood(rig, 2, picture_hash="f" * 64))[0])
    for path, order in (("/groups", [large, small]), ("/groups?by=newest", [small, large])):
        await lea.get(path)
        assert re.findall(r'href="/groups/([^"]+)"', lea.page) == order
    assert "3 × Red" in words(lea.page)
    assert "3 waiting" in words(lea.page)
    (veiled, *_) = re.findall(r'src="(/items/[^"]+/veiled)"', lea.page)
    assert (await lea.get(veiled)).headers["content-type"] == "image/jpeg"


async def test_a_group_of_another_tenant_is_not_there(rig: Rig) -> None:
    items = await flood(rig)
    group_id = await group_of(rig, items[0])
    rig.accounts["eve"] = account("eve", "lead", "u")
    eve, lea = await rig.signed_in("eve"), await rig.signed_in("lea")
    await lea.get(f"/groups/{group_id}")
    fields = {**hidden(lea.page), "outcome": "approve"}
    await eve.get("/groups")
    assert group_id not in eve.page
    assert (await eve.get(f"/groups/{group_id}")).status_code == 404
    await eve.get("/groups")
    assert (await eve.post("/groups/close", **fields)).status_code == 404
    assert await states(rig, items) == [State.READY] * 3


async def test_one_decision_closes_what_was_shown_and_is_undone(rig: Rig) -> None:
    items = await flood(rig)
    lea = await rig.signed_in("lea")
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    assert "3 pictures would be decided." in words(lea.page)
    await lea.post(
        "/groups/confirm", **hidden(lea.page), outcome="reject", label="red", note="a <flood>"
    )
    assert "Reject 3 pictures? As Red." in words(lea.page)
    assert "a &lt;flood&gt;" in lea.page
    assert await states(rig, items) == [State.READY] * 3, "so far nothing was decided"
    await lea.post("/groups/close", **hidden(lea.page))
    assert await states(rig, items) == [State.DECIDED] * 3
    decisions = [(await rig.item(item)).decisions[-1] for item in items]
    assert {(d.outcome, d.labels, d.note, d.reviewer, d.cause) for d in decisions} == {
        (Outcome.REJECT, ("red",), "a <flood>", "lea", Cause.GROUP_CLOSE)
    }
    assert "Rejected 3 pictures as Red" in words(lea.page)
    assert "3 decided." in words(lea.page)
    assert "Nothing to decide at once" in words(lea.page)
    assert "Undo: reopen 3" in lea.page

    (made,) = re.findall(r'name="close_id" value="([^"]+)"', lea.page)
    rig.clock.advance(120.0)
    await lea.post("/groups/undo", close_id=made, note="one was not")
    assert await states(rig, items) == [State.READY] * 3
    assert "Undone by lea just now: 3 reopened." in words(lea.page)
    assert "Undo: reopen" not in lea.page


async def test_an_approval_takes_no_labels_along(rig: Rig) -> None:
    items = await flood(rig)
    lea = await rig.signed_in("lea")
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    await close(lea, "approve", "red")
    assert (await rig.item(items[0])).decisions[-1].labels == ()


async def test_a_rejection_wants_a_label_and_keeps_the_note(rig: Rig) -> None:
    items = await flood(rig)
    lea = await rig.signed_in("lea")
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    await lea.post("/groups/confirm", **hidden(lea.page), outcome="reject", note="why ever")
    assert lea.told == "Choose at least one label for a rejection."
    assert ">why ever</textarea>" in lea.page
    assert await states(rig, items) == [State.READY] * 3


async def test_a_group_that_has_changed_is_told_kindly_with_the_new_number(rig: Rig) -> None:
    items = await flood(rig)
    lea, bob = await rig.signed_in("lea"), await rig.signed_in("bob")
    assert await bob.take() == items[0]
    await bob.decide("approve")
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    await lea.post(
        "/groups/confirm", **hidden(lea.page), outcome="reject", label="other", note="all bad"
    )
    await bob.post("/review/undo")
    await lea.post("/groups/close", **hidden(lea.page))
    assert lea.told.startswith("Nothing was recorded: the group has changed since you looked.")
    assert "Now 3 pictures would be decided, not 2" in lea.told
    assert ">all bad</textarea>" in lea.page
    assert 'value="other" checked' in lea.page
    assert State.DECIDED not in await states(rig, items)
    await close(lea, "reject", "other")
    assert await states(rig, items) == [State.DECIDED] * 3


async def test_what_arrives_after_the_look_stays_open(rig: Rig) -> None:
    items = await flood(rig)
    lea = await rig.signed_in("lea")
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    later = await flood(rig, 1)
    await close(lea, "reject", "red")
    assert await states(rig, items + later) == [State.DECIDED] * 3 + [State.READY]
    assert "1 picture would be decided" in words(lea.page)


async def test_the_same_order_sent_twice_is_one_close(rig: Rig) -> None:
    items = await flood(rig)
    lea = await rig.signed_in("lea")
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    await lea.post("/groups/confirm", **hidden(lea.page), outcome="approve")
    fields = hidden(lea.page)
    for _ in range(2):
        answer = await lea.post("/groups/close", **fields)
        assert answer.status_code == 200
    assert words(lea.page).count("Approved 3 pictures") == 1


async def test_what_stays_open_is_counted_before(rig: Rig) -> None:
    items = await flood(rig)
    await flood(rig, 1, reviews_needed=2)
    ann, lea = await rig.signed_in(), await rig.signed_in("lea")
    await ann.take()
    await ann.decide("escalate")
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    said = words(lea.page)
    assert "2 pictures would be decided; left open:" in said
    assert "1 that needs several reviews" in said
    assert "1 that was escalated" in said


async def test_an_undo_leaves_what_was_decided_since(rig: Rig) -> None:
    items = await flood(rig)
    lea = await rig.signed_in("lea")
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    await close(lea, "reject", "red")
    reopened = ReopenRequest(
        tenant="t", item_id=items[0], cause=Cause.OVERTURN, note="", actor="mia"
    )
    await rig.queue.reopen(reopened)
    (made,) = re.findall(r'name="close_id" value="([^"]+)"', lea.page)
    await lea.post("/groups/undo", close_id=made)
    assert "Undone by lea just now: 2 reopened, 1 left" in words(lea.page)


async def test_pictures_are_veiled_until_revealed_each_on_record(rig: Rig) -> None:
    items = await flood(rig)
    lea = await rig.signed_in("lea")
    group_id = await group_of(rig, items[0])
    await lea.get("/preferences")
    await lea.post("/preferences", grey="on")  # no veil for single items
    await lea.get(f"/groups/{group_id}")
    assert lea.page.count("/veiled") == 3
    assert "?clear" not in lea.page
    assert (await lea.get(f"/items/{items[0]}/picture?clear")).status_code == 403
    await lea.get(f"/groups/{group_id}")
    await lea.post("/groups/reveal", group_id=group_id, after="")
    assert lea.page.count("/picture?clear") == 3
    assert "/veiled" not in lea.page
    assert (await lea.get(f"/items/{items[0]}/picture?clear")).status_code == 200
    for item in items:
        (reveal,) = await rig.database.reveals_of(tenant="t", item_id=item)
        assert (reveal.account, reveal.how) == ("lea", "asked")
    await lea.get(f"/groups/{group_id}")
    assert "/groups/reveal" not in lea.page


async def test_a_large_group_has_several_pages(rig: Rig) -> None:
    items = await flood(rig, 30)
    lea = await rig.signed_in("lea")
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    assert lea.page.count("/veiled") == 24
    assert "30 pictures would be decided" in words(lea.page)
    (path,) = re.findall(r'href="(/groups/[^"?]+\?after=[^"]+)"', lea.page)
    await lea.get(path)
    assert re.findall(r"/items/([^/\"]+)/veiled", lea.page) == items[24:]
    after = urllib.parse.unquote(path.split("=", 1)[1])
    answer = await lea.post("/groups/reveal", group_id=await group_of(rig, items[0]), after=after)
    assert lea.page.count("/picture?clear") == 6
    assert answer.url.query, "it leads back to the same page"
    assert (await lea.get("/groups/x?after=nonsense")).status_code == 404


@pytest.mark.parametrize(
    "fields", [{"outcome": "escalate"}, {"outcome": ""}, {"count": "-1"}, {"count": "many"}]
)
async def test_what_no_page_sends_is_refused(rig: Rig, fields: dict[str, str]) -> None:
    items = await flood(rig)
    lea = await rig.signed_in("lea")
    await lea.get(f"/groups/{await group_of(rig, items[0])}")
    sent = {**hidden(lea.page), "outcome": "approve", **fields}
    for form in ("confirm", "close"):
        assert (await lea.post(f"/groups/{form}", **sent)).status_code == 403
        await lea.get(f"/groups/{await group_of(rig, items[0])}")
    await lea.post("/groups/close", **{**sent, "outcome": "approve", "count": "2"})
    assert lea.told, "another number than the snapshot's"
    assert await states(rig, items) == [State.READY] * 3


def close_with(progress: Progress, **fates: int) -> group_shown.Close:
    made = GroupClose(
        close_id="c", group_id="g", outcome=Outcome.REJECT, labels=(), note="", actor="lea",
        ordered_at=0.0, count=10, progress=progress, undone_by="mia", undone_at=30.0,
        by_fate={Fate(name): count for name, count in fates.items()},
    )  # fmt: skip
    return group_shown.close(made, titles={}, now=90.0)


def test_how_far_a_close_is_and_what_an_undo_reopens() -> None:
    closing = close_with(Progress.CLOSING, PENDING=6, CLOSED=3, SKIPPED=1)
    assert (closing.outcome, closing.under_way) == ("Under way: 4 of 10 done.", True)
    assert (closing.done, closing.count, closing.reopens) == (4, 10, 9)
    undoing = close_with(Progress.UNDOING, CLOSED=6, REOPENED=3, SKIPPED=1)
    assert (undoing.outcome, undoing.under_way) == ("Being undone by mia: 4 of 10 done.", True)
    assert undoing.reopens == 0
    closed = close_with(Progress.CLOSED, CLOSED=9, SKIPPED=1)
    assert closed.outcome.startswith("9 decided, 1 left: somebody settled")
    assert (closed.reopens, closed.under_way) == (9, False)
    undone = close_with(Progress.UNDONE, REOPENED=9, KEPT=1)
    assert undone.outcome.startswith("Undone by mia 1 minute ago: 9 reopened, 1 left")
