"""The fast way to a resized picture shows what the reference does."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from PIL import Image

from helpers import pictures
from imagesieve_server.core.views import Pixels, Preprocessing
from imagesieve_server.images import resample, simd
from imagesieve_server.images.preprocess import bundle_view

SIZES = [
    (1, 1), (2, 3), (31, 47), (63, 64), (64, 64), (65, 64), (128, 129), (320, 240), (241, 319),
    (300, 90), (90, 300), (100, 7), (7, 100), (2000, 20), (9000, 1), (1, 9000),
]  # fmt: skip
fast = pytest.mark.parametrize("way", [resample.by_simd] if simd.AVAILABLE else [])


def levels(image: Image.Image, settings: Preprocessing, way: resample.Resample) -> Pixels:
    return bundle_view(image, settings, resample=way)


@fast
@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("kind", [pictures.scene, pictures.noise])
def test_the_fast_way_differs_by_a_level_in_few_values(
    way: resample.Resample, mode: str, interpolation: str, kind: object
) -> None:
    """Weights of 16 bits instead of 22 move what stands at the edge between two levels."""
    settings = Preprocessing(size=64, resize=mode, interpolation=interpolation, fill=77)
    for number, size in enumerate(SIZES):
        image = kind(size, seed=number)  # type: ignore[operator]
        reference = levels(image, settings, resample.by_pillow).astype(int)
        apart = np.abs(levels(image, settings, way) - reference)
        assert apart.max() <= 2, size
        assert apart.mean() <= 0.05, size


@fast
@pytest.mark.parametrize("size", [(3000, 2400), (65_535, 90), (65_535, 1)])
def test_pictures_that_are_not_one_block_of_memory(
    way: resample.Resample, size: tuple[int, int]
) -> None:
    """Pillow keeps rows in blocks of 16 MiB: each row is found where it is."""
    patches = pictures.noise((size[0] // 9, max(1, size[1] // 9)), seed=7)
    image = patches.resize(size, Image.Resampling.BILINEAR)
    settings = Preprocessing(size=64)
    reference = levels(image, settings, resample.by_pillow).astype(int)
    apart = np.abs(levels(image, settings, way) - reference)
    assert apart.max() <= 2
    assert apart.mean() <= 0.05


@fast
def test_only_what_is_kept_is_the_same_as_cutting_it_out(way: resample.Resample) -> None:
    """The filter reaches beyond what is kept, into pixels that are there."""
    image = pictures.scene((640, 481), seed=5)
    filter_, size = Image.Resampling.BICUBIC, (298, 224)
    whole = np.asarray(way(image, size, filter_, keep=(0, 0, *size))).astype(int)
    for keep in [(37, 0, 261, 224), (0, 0, 5, 5), (290, 200, 298, 224)]:
        left, upper, right, lower = keep
        part = np.asarray(way(image, size, filter_, keep=keep))
        assert np.abs(part - whole[upper:lower, left:right]).max() <= 1


def test_the_fast_way_serves_wherever_its_package_is() -> None:
    """A newer Pillow, whose memory the package may not know, must not slow servers unnoticed."""
    assert (importlib.util.find_spec("cykooz_resizer") is not None) == simd.AVAILABLE
    assert resample.fastest is (resample.by_simd if simd.AVAILABLE else resample.by_pillow)
    assert bool(simd.version()) == simd.AVAILABLE
