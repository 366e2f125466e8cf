"""The bundle's own transform from an upright RGB picture to the square the encoder sees.

Knows how open_clip resizes and crops: the same filter, the same rounding of sides; to the bit by
``resample.by_pillow``, to a level by what serves. It refuses to know where pictures come from
and what is done with them; mean, standard deviation and the division by 255 are inside the
encoder's graph.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from imagesieve_server.core.views import Pixels, Preprocessing
from imagesieve_server.images.resample import Resample, fastest

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


def bundle_view(
    image: Image.Image,
    preprocessing: Preprocessing,
    *,
    resample: Resample = fastest,
    original: tuple[int, int] | None = None,
) -> Pixels:
    """The picture as the bundle's encoder was trained to see it.

    ``image`` is RGB and upright, of any size. Where it is a reduced copy, ``original`` is the
    size in px of what it shows: a copy's sides are rounded, and a row more or less of the result
    would shift the crop. Returns uint8 [S, S, 3]; with ``resample.by_pillow`` the bits that
    ``open_clip.image_transform`` gives before it scales and normalises. Raises ValueError for
    another mode or an unknown resize mode.
    """
    filter_ = _checked_filter(image, preprocessing)
    if preprocessing.resize == "shortest":
        return pixels_of(_shortest(image, preprocessing.size, filter_, resample, original))
    if preprocessing.resize == "longest":
        return pixels_of(_longest(image, preprocessing, filter_, resample, original))
    if preprocessing.resize == "squash":
        return squash_view(image, preprocessing, resample=resample)
    raise ValueError(f"unknown resize mode {preprocessing.resize!r}")


def squash_view(
    image: Image.Image, preprocessing: Preprocessing, *, resample: Resample = fastest
) -> Pixels:
    """The whole picture in one square, its aspect ratio lost: uint8 [S, S, 3].

    Raises ValueError for a picture that is not RGB.
    """
    filter_ = _checked_filter(image, preprocessing)
    size = (preprocessing.size, preprocessing.size)
    return pixels_of(resample(image, size, filter_, keep=(0, 0, *size)))


def crop_box(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int, int, int]:
    """The part of a width × height picture (px) that ``bundle_view`` shows.

    Left, upper, right, lower, rounded to whole px; everything unless the mode is "shortest".
    """
    if preprocessing.resize != "shortest":
        return (0, 0, width, height)
    short = min(width, height)
    left, upper = round((width - short) / 2), round((height - short) / 2)
    return (left, upper, left + short, upper + short)


def _checked_filter(image: Image.Image, preprocessing: Preprocessing) -> Image.Resampling:
    if image.mode != "RGB":
        raise ValueError(f"expected an RGB picture, got mode {image.mode!r}")
    try:
        return _FILTERS[preprocessing.interpolation]
    except KeyError:
        raise ValueError(f"unknown interpolation {preprocessing.interpolation!r}") from None


def _shortest(
    image: Image.Image,
    size: int,
    filter_: Image.Resampling,
    resample: Resample,
    original: tuple[int, int] | None,
) -> Image.Image:
    """Short side to ``size``, then the centre: torchvision's Resize and CenterCrop."""
    width, height = original or image.size
    short, long = min(width, height), max(width, height)
    new_long = int(size * long / short)  # torchvision truncates here
    new_width, new_height = (size, new_long) if width <= height else (new_long, size)
    left = round((new_width - size) / 2.0)  # and rounds half to even here
    upper = round((new_height - size) / 2.0)
    keep = (left, upper, left + size, upper + size)
    return resample(image, (new_width, new_height), filter_, keep=keep)


def _longest(
    image: Image.Image,
    preprocessing: Preprocessing,
    filter_: Image.Resampling,
    resample: Resample,
    original: tuple[int, int] | None,
) -> Image.Image:
    """Long side to the square's, the rest padded: ResizeKeepRatio and CenterCropOrPad."""
    size, fill = preprocessing.size, preprocessing.fill
    sides = original or image.size
    ratio = max(sides) / size
    # open_clip fails where a side would round to 0 px; here it stays one.
    new_width, new_height = (max(1, round(side / ratio)) for side in sides)
    image = resample(image, (new_width, new_height), filter_, keep=(0, 0, new_width, new_height))
    canvas = Image.new("RGB", (size, size), (fill, fill, fill))
    canvas.paste(image, ((size - new_width) // 2, (size - new_height) // 2))
    return canvas


def pixels_of(image: Image.Image) -> Pixels:
    """The picture as uint8 [H, W, 3]."""
    return np.asarray(image)
