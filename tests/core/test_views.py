"""What is kept of a decoded image once its views are encoded."""

from __future__ import annotations

import dataclasses

import numpy as np

from helpers.policies import still
from imagesieve_server.core.near_duplicates import PictureHash
from imagesieve_server.core.views import DecodedImage, DecodeInfo


def test_without_pixels_everything_else_is_kept() -> None:
    image = DecodedImage(
        pixels=np.ones((2, 8, 8, 3), dtype=np.uint8),
        views=still(2),
        info=DecodeInfo(format="PNG", width=8, height=8, mode="RGB"),
        coverage=0.5,
        crop_fraction=0.25,
        truncated=("tiles",),
        picture_hash=PictureHash(bits="0f" * 32, quality=99),
    )
    light = image.without_pixels()
    assert (light.pixels.shape, light.pixels.dtype) == ((0, 0, 0, 3), np.uint8)
    for field in dataclasses.fields(DecodedImage):
        if field.name != "pixels":
            assert getattr(light, field.name) == getattr(image, field.name)
    assert image.pixels.shape == (2, 8, 8, 3)
