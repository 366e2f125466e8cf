"""The preprocessing is open_clip's: to the bit by Pillow, nearly so by what serves."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers import pictures
from imagesieve_server.core.views import Preprocessing
from imagesieve_server.images.preprocess import bundle_view, crop_box, squash_view
from imagesieve_server.images.resample import by_pillow

SIZES = [
    (224, 224), (225, 224), (224, 225), (223, 224), (448, 448), (449, 223), (1, 1), (2, 3),
    (31, 47), (640, 480), (480, 640), (641, 479), (1023, 767), (1080, 1920), (333, 1000),
    (1000, 333), (100, 7), (7, 100), (225, 3599), (299, 300), (500, 499), (90, 1433),
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("side", [224, 225, 336])
@pytest.mark.parametrize("resize", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_same_bits_as_open_clip(side: int, resize: str, interpolation: str) -> None:
    """Every size and aspect ratio gives the bits that open_clip's own transform gives."""
    import open_clip
    import torch

    transform = open_clip.image_transform(
        side,
        is_train=False,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        resize_mode=resize,
        interpolation=interpolation,
        fill_color=77,
    )
    ours = Preprocessing(size=side, resize=resize, interpolation=interpolation, fill=77)
    for number, size in enumerate(SIZES):
        image = pictures.noise(size, seed=number)
        theirs = (transform(image) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        shown = bundle_view(image, ours, resample=by_pillow)
        np.testing.assert_array_equal(shown, theirs, err_msg=str(size))


@pytest.mark.parametrize("size", [(3584 + 16, 224), (20000, 20), (65535, 1), (1, 65535)])
def test_extreme_aspect_ratios_stay_small_and_close(size: tuple[int, int]) -> None:
    """Beyond 16:1 only the kept part is resized, within one level of the full resize."""
    image = pictures.scene(size, seed=3)
    shown = bundle_view(image, Preprocessing(size=32))
    assert shown.shape == (32, 32, 3)
    # The reference resizes the middle of the strip in full; 64 squares of it are far more than
    # the filter reaches, and an even margin keeps its middle where the strip's is.
    short, long = min(size), max(size)
    margin = (long - 64 * short) // 2 if long > 64 * short else 0
    wide = size[0] > size[1]
    box = (margin, 0, long - margin, short) if wide else (0, margin, short, long - margin)
    part = image.crop(box)
    longer = round(32 * max(part.size) / short)
    full = part.resize((longer, 32) if wide else (32, longer), Image.Resampling.BICUBIC)
    at = (longer - 32) / 2
    reference = np.asarray(full.crop((at, 0, at + 32, 32) if wide else (0, at, 32, at + 32)))
    assert np.abs(shown.astype(int) - reference.astype(int)).mean() <= 1.0


def test_squash_shows_the_whole_picture() -> None:
    """Both ends of a wide picture are in the squashed view, and only there."""
    image = Image.new("RGB", (400, 100), (0, 0, 0))
    image.paste((255, 0, 0), (0, 0, 40, 100))
    image.paste((0, 0, 255), (360, 0, 400, 100))
    settings = Preprocessing(size=64)
    squashed = squash_view(image, settings)
    assert squashed[32, 1].tolist() == [255, 0, 0]
    assert squashed[32, 62].tolist() == [0, 0, 255]
    assert not bundle_view(image, settings).any()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 100), (0, 0, 100, 100)), ((400, 100), (150, 0, 250, 100)), ((3, 9), (0, 3, 3, 6))],
)
def test_crop_box(size: tuple[int, int], expected: tuple[int, int, int, int]) -> None:
    """The box is the middle square in px of the original."""
    assert crop_box(*size, Preprocessing(size=32)) == expected
    assert crop_box(*size, Preprocessing(size=32, resize="squash")) == (0, 0, *size)


def test_refuses_what_it_does_not_know() -> None:
    """A wrong mode or an unknown setting is an error, never a guess."""
    with pytest.raises(ValueError, match="mode 'L'"):
        bundle_view(Image.new("L", (8, 8)), Preprocessing(size=8))
    with pytest.raises(ValueError, match="resize"):
        bundle_view(Image.new("RGB", (8, 8)), Preprocessing(size=8, resize="stretch"))
    with pytest.raises(ValueError, match="interpolation"):
        bundle_view(Image.new("RGB", (8, 8)), Preprocessing(size=8, interpolation="nearest"))


def test_padding_keeps_the_whole_picture() -> None:
    """The long side fills the square, the rest is the fill value; a strip stays one px high."""
    longest = Preprocessing(size=32, resize="longest", fill=77)
    shown = bundle_view(Image.new("RGB", (100, 50), (200, 0, 0)), longest)
    assert shown[16, 0].tolist() == shown[16, 31].tolist() == [200, 0, 0]
    assert shown[7, 16].tolist() == shown[24, 16].tolist() == [77, 77, 77]
    strip = bundle_view(Image.new("RGB", (1000, 1), (200, 0, 0)), longest)
    assert (strip == 200).any(axis=2).sum() == 32
    same = bundle_view(Image.new("RGB", (32, 16), (9, 9, 9)), longest)
    assert (same == 9).all(axis=2).sum() == 32 * 16


def test_a_transform_that_does_not_exist_is_refused() -> None:
    image = Image.new("RGB", (9, 9))
    with pytest.raises(ValueError, match="resize mode"):
        bundle_view(image, Preprocessing(size=8, resize="stretch"))
    with pytest.raises(ValueError, match="interpolation"):
        bundle_view(image, Preprocessing(size=8, interpolation="nearest"))
    with pytest.raises(ValueError, match="RGB"):
        bundle_view(image.convert("L"), Preprocessing(size=8))
    squash = bundle_view(pictures.noise((90, 30)), Preprocessing(size=8, resize="squash"))
    assert squash.shape == (8, 8, 3)
