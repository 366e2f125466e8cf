"""Which squares of a picture the encoder sees, and what share of the plan that is.

Knows geometry: boxes in px of the upright original, the order of views, the cap on their
number. It refuses to know codecs and policies; a plan is pure arithmetic until ``render``
cuts the squares out of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

from imagesieve_server.core.views import Coverage, Pixels, Preprocessing, ViewKind, ViewPlan
from imagesieve_server.images.preprocess import bundle_view, crop_box, squash_view

ENOUGH: Final = 0.80  # share of the pixels that the bundle's own crop must see to stand alone
MIN_TILE_SIDE: Final = 32  # px; a thinner strip is scaled, not tiled

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The squares planned for a picture of one size, before any cap."""

    boxes: tuple[Box, ...]  # px of the upright original, in the fixed order
    kind: ViewKind
    squash: bool  # the box is scaled to a square, its aspect ratio lost
    crop_fraction: float  # share of the pixels that the bundle's own crop keeps


def plan_squares(
    width: int, height: int, *, plan: ViewPlan, preprocessing: Preprocessing
) -> Geometry:
    """The squares that ``plan`` wants of a width × height picture (px, upright)."""
    crop = crop_box(width, height, preprocessing)
    fraction = (crop[2] - crop[0]) * (crop[3] - crop[1]) / (width * height)
    whole = (0, 0, width, height)
    if fraction >= ENOUGH or plan.coverage is Coverage.CENTRE:
        return Geometry(boxes=(crop,), kind=ViewKind.STILL, squash=False, crop_fraction=fraction)
    if plan.coverage is Coverage.SQUASH or min(width, height) < MIN_TILE_SIDE:
        return Geometry(boxes=(whole,), kind=ViewKind.STILL, squash=True, crop_fraction=fraction)
    tiles = tuple(_tiles(width, height))
    return Geometry(boxes=tiles, kind=ViewKind.TILE, squash=False, crop_fraction=fraction)


def spread(count: int, limit: int) -> tuple[int, ...]:
    """At most ``limit`` of the numbers below ``count``: even steps, the first and the last."""
    if count <= limit:
        return tuple(range(count))
    if limit == 1:
        return (0,)
    return tuple(round(number * (count - 1) / (limit - 1)) for number in range(limit))


def render(
    picture: Image.Image,
    geometry: Geometry,
    chosen: Sequence[int],
    *,
    width: int,
    height: int,
    preprocessing: Preprocessing,
) -> list[Pixels]:
    """The chosen squares of a picture, each uint8 [S, S, 3].

    ``picture`` is RGB and may be a reduced copy (DCT scaling) of the width × height original
    that ``geometry`` speaks of.
    """
    if geometry.squash:
        return [squash_view(picture, preprocessing)]
    if geometry.kind is ViewKind.STILL:
        return [bundle_view(picture, preprocessing, original=(width, height))]
    return [
        bundle_view(picture.crop(_scaled(geometry.boxes[number], picture, width, height)),
                    preprocessing)
        for number in chosen
    ]  # fmt: skip


def _tiles(width: int, height: int) -> list[Box]:
    """⌈aspect⌉ squares along the long side, the outer ones flush with its ends."""
    short, long = min(width, height), max(width, height)
    count = math.ceil(long / short)
    offsets = [round(number * (long - short) / (count - 1)) for number in range(count)]
    if width >= height:
        return [(at, 0, at + short, short) for at in offsets]
    return [(0, at, short, at + short) for at in offsets]


def _scaled(box: Box, picture: Image.Image, width: int, height: int) -> Box:
    """The same square in px of a reduced copy; still a square, still inside."""
    side = min(picture.size)
    left = min(round(box[0] * picture.width / width), picture.width - side)
    upper = min(round(box[1] * picture.height / height), picture.height - side)
    return (left, upper, left + side, upper + side)
