"""No frame hides: all are compared, the most different are seen, and the rest is accounted for."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers import pictures
from imagesieve_server.core.errors import ImageUndecodable, UndecodableDetail
from imagesieve_server.core.views import (
    Background,
    DecodedImage,
    Preprocessing,
    ViewKind,
    ViewPlan,
)
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.frames import NEAR, Survey, choose
from imagesieve_server.images.limits import Limits

SIZE = (64, 60)
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")


def decode(
    data: bytes,
    *,
    plan: ViewPlan | None = None,
    limits: Limits | None = None,
    key: bytes = b"",
) -> DecodedImage:
    return decode_image(
        data,
        plan=plan or ViewPlan(),
        preprocessing=Preprocessing(size=32),
        limits=limits or Limits(),
        frame_key=key,
    )


def calm(seed: int = 0) -> Image.Image:
    """A light grey picture with a little noise of its own: no two frames are equal."""
    return Image.fromarray(200 + np.asarray(pictures.noise(SIZE, seed=seed)) // 64)


def options(format_: str) -> dict[str, object]:
    return {"WEBP": {"lossless": True}, "AVIF": {"speed": 10}}.get(format_, {})


def animation(frames: list[Image.Image], format_: str, **more: object) -> bytes:
    return pictures.animation(frames, format_, **options(format_), **more)


@pytest.mark.parametrize("format_", ANIMATED)
@pytest.mark.parametrize("place", [1, 13, 38])
def test_one_frame_among_forty_is_found(format_: str, place: int) -> None:
    """Wherever the different frame is, it is seen, with first and last and nothing more."""
    frames = [calm(seed) for seed in range(40)]
    frames[place] = pictures.halves(SIZE)
    decoded = decode(animation(frames, format_))
    assert [view.frame for view in decoded.views] == [0, place, 39]
    assert [view.kind for view in decoded.views] == [
        ViewKind.STILL,
        ViewKind.FRAME,
        ViewKind.FRAME,
    ]
    assert decoded.coverage == 1.0
    assert decoded.truncated == ()
    assert decoded.info.frames == 40
    red, blue = decoded.pixels[1, 8, 24].tolist(), decoded.pixels[1, 26, 8].tolist()
    assert red[0] > 200 > 60 > red[2]
    assert blue[2] > 200 > 60 > blue[0]


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP"])
def test_a_decoy_of_a_millisecond_hides_nothing(format_: str) -> None:
    """The first frame flashes by, the second stays for a minute: both are seen."""
    data = animation([calm(), pictures.halves(SIZE)], format_, duration=[1, 60_000])
    decoded = decode(data)
    assert [view.frame for view in decoded.views] == [0, 1]
    assert decoded.coverage == 1.0


@pytest.mark.parametrize("format_", ANIMATED)
def test_more_scenes_than_views_is_said(format_: str) -> None:
    """Of 12 different frames 5 are seen; the first and the last are among them."""
    frames = [
        Image.fromarray(np.asarray(pictures.scene(SIZE, seed=seed))) for seed in range(100, 112)
    ]
    decoded = decode(animation(frames, format_), plan=ViewPlan(max_views=5))
    numbers = [view.frame for view in decoded.views]
    assert len(numbers) == 5
    assert numbers[0] == 0
    assert numbers[-1] == 11
    assert numbers == sorted(numbers)
    assert decoded.truncated == ("frames",)
    assert 5 / 12 <= decoded.coverage < 1


def test_frames_and_squares_share_the_cap() -> None:
    """A wide animation: each chosen frame with all its squares, in the fixed order."""
    wide = (128, 60)
    frames = [pictures.noise(wide), pictures.halves(wide), Image.new("RGB", wide)]
    decoded = decode(animation(frames, "PNG"))
    assert [(view.frame, view.box[0]) for view in decoded.views] == [
        (0, 0), (0, 34), (0, 68), (1, 0), (1, 34), (1, 68), (2, 0), (2, 34), (2, 68),
    ]  # fmt: skip
    assert {view.kind for view in decoded.views if view.frame == 0} == {ViewKind.TILE}
    assert {view.kind for view in decoded.views if view.frame} == {ViewKind.FRAME}
    capped = decode(animation(frames, "PNG"), plan=ViewPlan(max_views=4))
    assert [(view.frame, view.box[0]) for view in capped.views] == [
        (0, 0), (0, 68), (2, 0), (2, 68),
    ]  # fmt: skip
    assert capped.truncated == ("tiles", "frames")
    assert capped.coverage == pytest.approx(2 / 3 * 2 / 3)


@pytest.mark.parametrize("cap", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_cap_holds_for_every_mixture(cap: int, mode: str) -> None:
    """Frames × squares × backgrounds never exceed it, and what is missing is said."""
    frames = [pictures.scene((200, 60), seed=seed).convert(mode) for seed in range(4)]
    if mode == "RGBA":
        for frame in frames:
            frame.putalpha(Image.linear_gradient("L").resize(frame.size))
    decoded = decode(animation(frames, "WEBP"), plan=ViewPlan(max_views=cap))
    assert 1 <= len(decoded.views) <= cap
    assert decoded.coverage < 1
    assert decoded.truncated
    assert decoded.views[0].frame == 0


def test_what_only_one_background_shows_counts_as_a_difference() -> None:
    """Black on transparent: a drawing that a black background hides is still found."""
    frames = []
    for number in range(5):
        frame = Image.new("RGBA", SIZE, (0, 0, 0, 0))
        frame.putpixel((number, 0), (0, 0, 0, 255))  # or the writer would merge equal frames
        frames.append(frame)
    frames[2].paste((0, 0, 0, 255), (10, 10, 50, 50))
    decoded = decode(animation(frames, "PNG", blend=0))
    assert decoded.info.frames == 5
    assert {view.frame for view in decoded.views} == {0, 2, 4}
    assert {view.background for view in decoded.views} == {Background.WHITE, Background.BLACK}


def test_later_frames_are_composited_over_earlier_ones() -> None:
    """A GIF frame that paints one corner is seen with the rest of the picture around it."""
    base = Image.new("RGB", SIZE, (250, 250, 250))
    corner = base.copy()
    corner.paste((0, 0, 0), (0, 0, 32, 30))
    decoded = decode(pictures.animation([base, corner], "GIF"))
    assert decoded.pixels[1, 4, 4].tolist() == [0, 0, 0]
    assert decoded.pixels[1, 28, 28].tolist() == [250, 250, 250]


def test_the_pixel_budget_cuts_and_says_so() -> None:
    """Frames beyond the budget are unseen."""
    frames = [calm(seed) for seed in range(10)]
    limits = Limits(animation_pixels=4 * SIZE[0] * SIZE[1])
    decoded = decode(animation(frames, "GIF"), limits=limits)
    assert decoded.coverage == pytest.approx(0.4)
    assert decoded.truncated == ("frames",)
    assert {view.frame for view in decoded.views} == {0, 3}


@pytest.mark.parametrize("format_", ["GIF", "PNG"])
def test_a_cut_animation_shows_what_can_be_read(format_: str) -> None:
    """Cut in the middle: the readable frames are seen, the others lower the coverage.

    A file that holds no whole first frame is TRUNCATED.
    """
    frames = [pictures.noise(SIZE, seed=seed) for seed in range(8)]
    data = animation(frames, format_)
    with pytest.raises(ImageUndecodable) as caught:
        decode(data[: len(data) // 16])
    assert caught.value.detail is UndecodableDetail.TRUNCATED
    if format_ == "PNG":  # the header still announces all
        decoded = decode(data[: len(data) // 2])
        assert 0 < decoded.coverage < 1
        assert decoded.truncated == ("frames",)


def test_an_animation_that_announces_too_few_frames() -> None:
    """Three frames of which two are announced: what viewers play is seen, both of them."""
    frames = [pictures.scene(SIZE, seed=seed) for seed in range(3)]
    data = animation(frames, "PNG")
    at = data.index(b"acTL")
    control = pictures.png_chunk(b"acTL", (2).to_bytes(4, "big") + data[at + 8 : at + 12])
    decoded = decode(data[: at - 4] + control + data[at + 16 :])
    assert decoded.info.frames == 2
    assert [view.frame for view in decoded.views] == [0, 1]
    np.testing.assert_array_equal(decoded.pixels, decode(data).pixels[:2])


def hidden_between(plain: Image.Image, offence: Image.Image) -> DecodedImage:
    """One frame of an offence among plain ones, each with a pixel of its own."""
    frames = [plain.copy() for _ in range(9)]
    frames[5] = offence
    for number, frame in enumerate(frames):
        frame.putpixel((number, 0), (number, 0, 0))
    return decode(animation(frames, "PNG"))


def test_a_drawing_in_colours_of_one_brightness_is_a_difference() -> None:
    """Red on grey of the same luma: to a comparison of brightness alone the frames are equal."""
    plain = Image.new("RGB", SIZE, (76, 76, 76))
    offence = plain.copy()
    offence.paste((254, 0, 0), (16, 16, 48, 48))
    assert abs(offence.convert("L").getpixel((32, 32)) - plain.convert("L").getpixel((0, 0))) < 2
    assert [view.frame for view in hidden_between(plain, offence).views] == [0, 5, 8]


def test_a_drawing_in_fine_lines_is_a_difference() -> None:
    """Black and white lines with the mean of the grey around them: no cell's colour changes."""
    plain = Image.new("RGB", SIZE, (128, 128, 128))
    lines = np.full((SIZE[1], SIZE[0], 3), 128, dtype=np.uint8)
    lines[16:48:2, 16:48] = 28
    lines[17:48:2, 16:48] = 228
    decoded = hidden_between(plain, Image.fromarray(lines))
    assert [view.frame for view in decoded.views] == [0, 5, 8]


def test_a_texture_that_moves_is_no_difference() -> None:
    """Other noise of the same kind in each frame: one look at it is enough."""
    frames = [pictures.noise(SIZE, seed=seed) for seed in range(12)]
    decoded = decode(animation(frames, "PNG"))
    assert [view.frame for view in decoded.views] == [0, 11]
    assert decoded.coverage == 1.0


def test_a_small_offence_is_a_difference() -> None:
    """A quarter of the side, a sixteenth of the picture: lost in a mean over the whole."""
    plain = Image.new("RGB", (128, 128), (160, 190, 220))
    offence = plain.copy()
    offence.paste((60, 40, 40), (80, 10, 112, 42))
    assert 5 in {view.frame for view in hidden_between(plain, offence).views}


def survey_of(rows: list[list[float]]) -> Survey:
    """Frames of one number each, or of one a cell."""
    values = np.array([np.resize(row, 64) for row in rows], dtype=np.float32)
    return Survey(signatures=values.reshape(-1, 1, 8, 8), has_alpha=False)


def test_near_frames_count_as_seen_and_far_ones_do_not() -> None:
    """The threshold decides what a chosen frame stands for."""
    rows = [[0.0], [NEAR - 1], [NEAR + 1], [0.0]]
    assert choose(survey_of(rows), limit=2, key=b"").frames == (0, 3)
    assert choose(survey_of(rows), limit=2, key=b"").seen == 3
    assert choose(survey_of(rows), limit=3, key=b"").frames == (0, 2, 3)
    assert choose(survey_of(rows), limit=9, key=b"").seen == 4
    assert choose(survey_of(rows), limit=9, key=b"").frames == (0, 2, 3)
    assert choose(survey_of(rows), limit=1, key=b"").frames == (0,)


def test_ties_depend_on_the_secret_only() -> None:
    """Equal candidates: one secret always picks the same, different ones differ."""
    rows = [[0.0] * 64] + [[200.0 * (at == row) for at in range(64)] for row in range(64)]
    rows.append([0.0] * 64)
    picks = {choose(survey_of(rows), limit=3, key=bytes([n])).frames[1] for n in range(20)}
    assert len(picks) > 5
    again = choose(survey_of(rows), limit=3, key=b"\x01").frames
    assert again == choose(survey_of(rows), limit=3, key=b"\x01").frames
