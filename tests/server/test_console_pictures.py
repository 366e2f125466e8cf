"""Pictures in the console: veiled first, each reveal on record, never the file itself."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from helpers.console_rig import Browser, Rig, console
from imagesieve_server.console.pictures import _encode
from imagesieve_server.core.review_afterwards import EraseRequest
from imagesieve_server.core.views import DecodeInfo, Preview


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with console(tmp_path) as made:
        yield made


def picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


async def in_hand(rig: Rig) -> tuple[Browser, str]:
    await rig.flag()
    ann = await rig.signed_in()
    return ann, await ann.take()


async def test_a_picture_is_grey_and_blurred_until_it_is_revealed(rig: Rig) -> None:
    ann, item = await in_hand(rig)
    veiled = await ann.get(f"/items/{item}/picture")
    assert picture(veiled.content).mode == "L"
    assert (await ann.get(f"/items/{item}/picture?clear")).status_code == 403
    assert await rig.database.reveals_of(tenant="t", item_id=item) == ()
    await ann.get("/review")
    await ann.post("/review/reveal")
    clear = await ann.get(f"/items/{item}/picture?clear")
    red, green, _ = picture(clear.content).convert("RGB").getpixel((5, 5))  # type: ignore[misc]
    assert red > 200 > green
    (reveal,) = await rig.database.reveals_of(tenant="t", item_id=item)
    assert (reveal.account, reveal.how, reveal.at) == ("ann", "asked", rig.clock())
    assert reveal.sha256 == (await rig.item(item)).sha256
    assert rig.metrics.named("console_reveal") == [{"how": "asked"}]


async def test_no_cache_keeps_a_picture_and_nobody_sniffs_it(rig: Rig) -> None:
    ann, item = await in_hand(rig)
    headers = (await ann.get(f"/items/{item}/picture")).headers
    assert headers["content-type"] == "image/jpeg"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


async def test_only_who_has_the_item_in_hand_sees_its_picture(rig: Rig) -> None:
    ann, item = await in_hand(rig)
    bob = await rig.signed_in("bob")
    await bob.get("/review")
    assert (await bob.get(f"/items/{item}/picture")).status_code == 403
    assert (await bob.post("/review/reveal", item_id=item)).status_code == 403
    await ann.decide("approve")
    assert (await ann.get(f"/items/{item}/picture")).status_code == 403
    assert (await rig.browser().get(f"/items/{item}/picture")).status_code == 303


async def test_an_item_that_went_on_to_somebody_else_shows_nothing_any_more(rig: Rig) -> None:
    ann, item = await in_hand(rig)
    await ann.post("/review/reveal")
    rig.clock.advance(601.0)
    bob = await rig.signed_in("bob")
    assert await bob.take() == item
    for path in (f"/items/{item}/picture", f"/items/{item}/picture?clear"):
        assert (await ann.get(path)).status_code == 403
    assert (await ann.post("/review/reveal", item_id=item)).status_code == 403
    assert (await bob.get(f"/items/{item}/picture")).status_code == 200


async def test_an_erased_picture_is_not_shown_from_memory(rig: Rig) -> None:
    item = await rig.flag()
    lea = await rig.signed_in("lea")
    await lea.get(f"/items/{item}")
    await lea.post("/review/reveal")
    clear = f"/items/{item}/picture?clear"
    assert (await lea.get(clear)).status_code == 200
    await rig.queue.erase(EraseRequest(tenant="t", item_id=item, reason="court", actor="a"))
    answer = await lea.get(clear)
    assert (answer.status_code, answer.text) == (404, "The file is not kept any more.")
    await lea.get(f"/items/{item}")
    assert "The file is not kept any more." in lea.page
    assert len(rig.previews.asked) == 1


async def test_a_reveal_is_for_one_item(rig: Rig) -> None:
    await rig.flag()
    ann, _ = await in_hand(rig)
    await ann.post("/review/reveal")
    await ann.decide("approve")
    assert (await ann.get(f"/items/{ann.item}/picture?clear")).status_code == 403


async def test_a_person_may_choose_to_see_pictures_at_once_and_that_is_on_record(rig: Rig) -> None:
    ann, item = await in_hand(rig)
    await ann.get("/preferences")
    await ann.post("/preferences", shortcuts="on")
    await ann.get("/review")
    await ann.get("/review")
    assert (await ann.get(f"/items/{item}/picture?clear")).status_code == 200
    reveals = await rig.database.reveals_of(tenant="t", item_id=item)
    assert [reveal.how for reveal in reveals] == ["shown"]


async def test_the_organisation_can_choose_for_all(tmp_path: Path) -> None:
    async with console(tmp_path, always_veil=True) as rig:
        ann, item = await in_hand(rig)
        await ann.get("/preferences")
        await ann.post("/preferences", shortcuts="on")
        assert "Your organisation has chosen this" in ann.page
        await ann.get("/review")
        assert (await ann.get(f"/items/{item}/picture?clear")).status_code == 403


async def test_preferences_are_kept(rig: Rig) -> None:
    ann, _ = await in_hand(rig)
    await ann.get("/preferences")
    await ann.post("/preferences", veil="on", grey="on")
    await ann.get("/review")
    assert 'data-shortcuts="off"' in ann.page
    assert 'class="frame grey' in ann.page


async def test_a_file_that_cannot_be_opened_has_no_preview_but_can_be_decided(rig: Rig) -> None:
    item = await rig.flag(data=b"P6 64 64 255\n short")
    ann = await rig.signed_in()
    await ann.take()
    assert "No preview." in ann.page
    assert "The file ends before the picture does." in ann.page
    assert (await ann.get(f"/items/{item}/picture")).status_code == 404
    await ann.decide("reject", label="other")
    assert ann.item == ""


async def test_a_preview_is_made_once_for_the_page_and_its_picture(rig: Rig) -> None:
    ann, item = await in_hand(rig)
    await ann.get("/review")
    await ann.get(f"/items/{item}/picture?frame=0&background=white")
    assert len(rig.previews.asked) == 1


async def test_odd_questions_get_an_ordinary_picture(rig: Rig) -> None:
    ann, item = await in_hand(rig)
    for query in ("frame=-1", "frame=x", "frame=99999999999", "background=blue", "frame=٣"):
        assert (await ann.get(f"/items/{item}/picture?{query}")).status_code == 200


def test_the_veil_hides_what_is_fine() -> None:
    """Two pictures whose small copies are alike have the same veiled twin: nothing finer is in
    it."""
    import numpy as np

    pixels = np.full((480, 480, 3), 128, dtype=np.uint8)
    stripes = pixels.copy()
    stripes[::2], stripes[1::2] = 100, 156
    info = DecodeInfo(format="PNG", width=480, height=480, mode="RGB")
    plain, fine = (_encode(Preview(pixels=p, frame=0, info=info)) for p in (pixels, stripes))
    assert plain.clear != fine.clear
    assert plain.veiled == fine.veiled
    assert max(picture(fine.veiled).size) == 480


def test_a_thin_strip_can_be_veiled() -> None:
    import numpy as np

    pixels = np.zeros((1, 1280, 3), dtype=np.uint8)
    info = DecodeInfo(format="PNG", width=65_535, height=1, mode="RGB")
    made = _encode(Preview(pixels=pixels, frame=0, info=info))
    assert picture(made.veiled).size == (480, 1)
    assert picture(made.clear).size == (1280, 1)
