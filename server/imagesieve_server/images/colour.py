"""Embedded colour profiles to sRGB, where that is sound.

Knows ICC profiles through Pillow's ImageCms. A profile that is too large, made for another
kind of pixel, broken, or that turns the picture into something else is ignored, as viewers
do: it refuses to fail an image because of its profile.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

_SPACE_OF_MODE: Final = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_SAME_LEVELS: Final = 2  # of 255; a profile that moves no colour further is sRGB in practice
_MIN_CORRELATION: Final = 0.5  # of luma before and after, over all colours
_MIN_SPREAD: Final = 25.0  # levels; standard deviation of luma that a real profile keeps


def to_srgb(image: Image.Image, profile: object, *, max_bytes: int) -> tuple[Image.Image, bool]:
    """The picture in RGB, and whether ``profile`` was applied to it.

    ``image`` is L, RGB or CMYK. ``profile`` is the embedded ICC profile's bytes; whatever else
    a file made of it counts as none. Pixels are touched only by a profile that changes them.
    """
    if isinstance(profile, bytes) and 0 < len(profile) <= max_bytes:
        transform = _sound_transform(profile, image.mode)
        if transform is not None:
            return transform.apply(image), True
    return (image if image.mode == "RGB" else image.convert("RGB")), False


def _sound_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from ``profile`` to sRGB; None where there is none, or none worth walking."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACE_OF_MODE[mode]:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        before, after = _levels(_probe(mode).convert("RGB")), _levels(transform.apply(_probe(mode)))
    except Exception:  # noqa: BLE001 - viewers show the picture without a profile that fails
        return None
    if np.abs(before - after).max() <= _SAME_LEVELS:
        return None
    return transform if _keeps_the_picture(before, after) else None


def _probe(mode: str) -> Image.Image:
    """Every colour of ``mode`` on a coarse grid, one row of pixels."""
    bands = len(mode)
    steps = {1: 256, 3: 9, 4: 5}[bands]
    axes = np.meshgrid(*[np.linspace(0, 255, steps)] * bands, indexing="ij")
    grid = np.stack([axis.ravel() for axis in axes], axis=-1).round().astype(np.uint8)
    return Image.frombytes(mode, (grid.shape[0], 1), grid.tobytes())


def _levels(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(image, dtype=np.float64).reshape(-1, 3)


def _keeps_the_picture(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> bool:
    """False for a profile that blanks or inverts: light and dark must stay light and dark."""
    weights = np.array([0.299, 0.587, 0.114])
    luma_before, luma_after = before @ weights, after @ weights
    if luma_after.std() < _MIN_SPREAD:
        return False
    return bool(np.corrcoef(luma_before, luma_after)[0, 1] >= _MIN_CORRELATION)
