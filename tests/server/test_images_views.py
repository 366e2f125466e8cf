"""Which squares of a picture are seen, in which order, and what is said about the rest."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers import pictures
from imagesieve_server.core.views import (
    Background,
    Coverage,
    DecodedImage,
    Preprocessing,
    ViewKind,
    ViewPlan,
)
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.preprocess import bundle_view, squash_view
from imagesieve_server.images.views import plan_squares, spread

PREPROCESSING = Preprocessing(size=32)


def decode(image: Image.Image | bytes, plan: ViewPlan | None = None) -> DecodedImage:
    data = image if isinstance(image, bytes) else pictures.encode(image, "PNG")
    return decode_image(data, plan=plan or ViewPlan(), preprocessing=PREPROCESSING, limits=Limits())


@pytest.mark.parametrize("size", [(100, 100), (100, 81), (80, 100), (1, 1)])
def test_a_nearly_square_picture_has_the_bundles_own_view(size: tuple[int, int]) -> None:
    """Where the crop sees 80 % there is one view, and it is the bundle's, to the bit."""
    image = pictures.noise(size)
    decoded = decode(image)
    assert [view.kind for view in decoded.views] == [ViewKind.STILL]
    np.testing.assert_array_equal(decoded.pixels[0], bundle_view(image, PREPROCESSING))
    assert decoded.coverage == 1.0
    assert decoded.truncated == ()
    assert decoded.crop_fraction == min(size) / max(size)


@pytest.mark.parametrize(
    ("size", "count"),
    [((640, 480), 2), ((480, 640), 2), ((1920, 1080), 2), ((100, 200), 2), ((300, 900), 3),
     ((301, 100), 4), ((79, 100), 2)],
)  # fmt: skip
def test_tiles_cover_every_pixel_and_are_squares(size: tuple[int, int], count: int) -> None:
    """⌈aspect⌉ squares, flush with both ends, no gap between them."""
    geometry = plan_squares(*size, plan=ViewPlan(), preprocessing=PREPROCESSING)
    assert geometry.kind is ViewKind.TILE
    assert len(geometry.boxes) == count
    seen = np.zeros((size[1], size[0]), dtype=bool)
    for left, upper, right, lower in geometry.boxes:
        assert right - left == lower - upper == min(size)
        seen[upper:lower, left:right] = True
    assert seen.all()


def test_each_tile_is_the_bundles_view_of_its_box() -> None:
    """The pixels are those of the cut-out square."""
    image = pictures.noise((200, 80))
    decoded = decode(image)
    assert [view.box for view in decoded.views] == [
        (0, 0, 80, 80), (60, 0, 140, 80), (120, 0, 200, 80),
    ]  # fmt: skip
    for view, pixels in zip(decoded.views, decoded.pixels, strict=True):
        np.testing.assert_array_equal(pixels, bundle_view(image.crop(view.box), PREPROCESSING))


def test_squash_and_centre() -> None:
    """One view each: of everything, or of the middle."""
    image = pictures.noise((200, 80))
    squashed = decode(image, ViewPlan(coverage=Coverage.SQUASH))
    assert [view.box for view in squashed.views] == [(0, 0, 200, 80)]
    np.testing.assert_array_equal(squashed.pixels[0], squash_view(image, PREPROCESSING))
    centre = decode(image, ViewPlan(coverage=Coverage.CENTRE))
    assert [view.box for view in centre.views] == [(60, 0, 140, 80)]
    np.testing.assert_array_equal(centre.pixels[0], bundle_view(image, PREPROCESSING))
    for decoded in (squashed, centre):
        assert [view.kind for view in decoded.views] == [ViewKind.STILL]
        assert decoded.coverage == 1.0
        assert decoded.crop_fraction == pytest.approx(0.4)


def test_a_thin_strip_is_scaled_not_tiled() -> None:
    """A black 20000×20 PNG has some hundred bytes and would have 1 000 tiles."""
    data = pictures.black_png(20_000, 20)
    assert len(data) < 2_000
    decoded = decode(data)
    assert [view.box for view in decoded.views] == [(0, 0, 20_000, 20)]
    assert decoded.coverage == 1.0
    assert decoded.crop_fraction == pytest.approx(0.001)


def test_the_cap_on_views_is_said_never_silent() -> None:
    """Of 100 tiles 32 are seen, evenly spread with both ends, and coverage says so."""
    decoded = decode(pictures.black_png(4_000, 40))
    assert len(decoded.views) == 32
    assert decoded.coverage == pytest.approx(0.32)
    assert decoded.truncated == ("tiles",)
    assert decoded.views[0].box == (0, 0, 40, 40)
    assert decoded.views[-1].box == (3_960, 0, 4_000, 40)


def test_backgrounds_come_one_after_the_other_and_share_the_cap() -> None:
    """White then black, each with the same tiles."""
    image = pictures.noise((300, 100)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((300, 100)))
    decoded = decode(image)
    assert [view.background for view in decoded.views] == [Background.WHITE] * 3 + [
        Background.BLACK
    ] * 3
    assert decoded.coverage == 1.0
    capped = decode(image, ViewPlan(max_views=4))
    assert [view.box[0] for view in capped.views] == [0, 200, 0, 200]
    assert capped.coverage == pytest.approx(4 / 6)
    assert capped.truncated == ("tiles",)
    one = decode(image, ViewPlan(max_views=1))
    assert [view.background for view in one.views] == [Background.WHITE]
    assert one.coverage == pytest.approx(1 / 6)


@pytest.mark.parametrize("resize", ["squash", "longest"])
def test_a_bundle_that_sees_everything_needs_no_tiles(resize: str) -> None:
    """The crop rule is about crops."""
    preprocessing = Preprocessing(size=32, resize=resize)
    geometry = plan_squares(900, 100, plan=ViewPlan(), preprocessing=preprocessing)
    assert geometry.boxes == ((0, 0, 900, 100),)
    assert geometry.crop_fraction == 1.0
    assert not geometry.squash


def test_tiles_of_a_reduced_jpeg_are_told_in_px_of_the_original() -> None:
    """DCT scaling changes how pixels are read, not what the boxes mean."""
    image = pictures.scene((1600, 800))
    image.paste((255, 0, 0), (0, 0, 200, 800))
    decoded = decode(pictures.encode(image, "JPEG", quality=95))
    assert decoded.info.scale_denominator == 8
    assert [view.box for view in decoded.views] == [(0, 0, 800, 800), (800, 0, 1600, 800)]
    direct = decode(image)
    assert direct.info.scale_denominator == 1
    assert [view.box for view in direct.views] == [view.box for view in decoded.views]
    assert np.abs(decoded.pixels.astype(int) - direct.pixels.astype(int)).mean() < 4


def test_spread() -> None:
    """Even steps, the first always, the last from two on."""
    assert spread(3, 5) == (0, 1, 2)
    assert spread(1_000, 1) == (0,)
    assert spread(1_000, 2) == (0, 999)
    assert spread(10, 4) == (0, 3, 6, 9)
    assert len(set(spread(2_048, 32))) == 32
