"""Part of a resized picture, by the filters of Pillow: the way it does it, and a faster one.

Knows two ways to one picture. ``by_pillow`` is the reference, to the bit. ``by_simd`` goes the same
way (columns first, then rows, eight bits between) with weights of 16 bits where Pillow's have 22:
a value in two hundred differs, by one level of 255, two at most. It refuses to know what is
resized and why.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

from PIL import Image

from imagesieve_server.images import simd

Box = tuple[int, int, int, int]

# Resizing a 65535×1 strip to a short side of 224 px would make 3 Gpx to keep 50 000 of them.
# Beyond this share Pillow resizes only the part that is kept; the box is in float32 there, so
# that a value may differ by one level from the full resize.
_FULL_RESIZE: Final = 16
_EVENLY: Final = 1.05  # both sides reduced alike, but for the rounding of sides
_REACH: Final = 2.0  # px of the larger of both grids; the widest filter's


class Resample(Protocol):
    """The part ``keep`` (px of the result) of an RGB picture that is resized to ``size`` px."""

    def __call__(
        self, image: Image.Image, size: tuple[int, int], filter_: Image.Resampling, *, keep: Box
    ) -> Image.Image: ...


def by_pillow(
    image: Image.Image, size: tuple[int, int], filter_: Image.Resampling, *, keep: Box
) -> Image.Image:
    """By Pillow's own resize: the reference."""
    left, upper, right, lower = keep
    width, height = right - left, lower - upper
    if image.size == size:
        return image.crop(keep)
    if size[0] * size[1] <= _FULL_RESIZE * width * height:
        return image.resize(size, filter_).crop(keep)
    across, down = image.width / size[0], image.height / size[1]
    box = (left * across, upper * down, min(right * across, image.width),
           min(lower * down, image.height))  # fmt: skip
    return image.resize((width, height), filter_, box=box)


def by_simd(
    image: Image.Image, size: tuple[int, int], filter_: Image.Resampling, *, keep: Box
) -> Image.Image:
    """The same several times as fast, where ``simd.AVAILABLE``; only what is kept is computed."""
    left, upper, right, lower = keep
    if image.size == size:
        return image.crop(keep)
    across, down = image.width / size[0], image.height / size[1]
    if image.height > 2 * image.width or down > _EVENLY * across:
        return by_pillow(image, size, filter_, keep=keep)  # which may take the rows first here
    reach = _REACH * max(1.0, down)
    first = max(0, math.floor(upper * down - reach))
    last = min(image.height, math.ceil(lower * down + reach))
    # In one call the package would take the rows first and round in another order than Pillow.
    columns = simd.convolved(
        image,
        (right - left, last - first),
        filter_,
        box=(left * across, first, right * across, last),
    )
    return simd.convolved(
        columns,
        (right - left, lower - upper),
        filter_,
        box=(0, upper * down - first, right - left, lower * down - first),
    )


fastest: Final[Resample] = by_simd if simd.AVAILABLE else by_pillow
"""What serves here."""
