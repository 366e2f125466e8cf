"""One linear filter over part of a picture, by SIMD instructions, where there is a package for it.

Knows the package cykooz_resizer (Rust, fast_image_resize) and the order of its passes: rows before
columns where both sides change. It reads and writes Pillow's memory in place, so it is used with
the major versions of Pillow whose layout it knows, and with no other.
"""

from __future__ import annotations

import math
from typing import Final

import PIL
from PIL import Image

try:
    import cykooz_resizer
except ImportError:  # there are no wheels for every machine; Pillow's own way is always there
    cykooz_resizer = None

FloatBox = tuple[float, float, float, float]

_KNOWN_PILLOW: Final = frozenset(["13"])  # major versions
_FILTERS: Final = {
    Image.Resampling.BICUBIC: "catmull_rom",  # both are the cubic with a = -0.5
    Image.Resampling.BILINEAR: "bilinear",
}

AVAILABLE: Final = cykooz_resizer is not None and PIL.__version__.split(".")[0] in _KNOWN_PILLOW
"""Whether ``convolved`` can be called here."""


def version() -> str:
    """What makes the pixels, for names of builds; "" where nothing does."""
    if not AVAILABLE:
        return ""
    from importlib.metadata import version as version_of

    return version_of("cykooz-resizer")


def convolved(
    image: Image.Image, size: tuple[int, int], filter_: Image.Resampling, *, box: FloatBox
) -> Image.Image:
    """The part ``box`` of an RGB picture, resized to ``size`` px with an antialiasing filter.

    ``box`` is left, upper, right, lower in px; it need not be whole, and pixels around it count
    as far as the filter reaches. A side whose length stays whole and the same is not filtered.
    """
    target = Image.new("RGB", size)
    kind = cykooz_resizer.FilterType[_FILTERS[filter_]]
    options = cykooz_resizer.ResizeOptions(
        resize_alg=cykooz_resizer.ResizeAlg.convolution(kind),
        use_alpha=False,
        crop_box=_inside(image, box),
    )
    cykooz_resizer.Resizer().resize_pil(image, target, options)
    return target


def _inside(image: Image.Image, box: FloatBox) -> cykooz_resizer.CropBox:
    """The box as the package takes it, whose rounding must not reach beyond the picture."""
    left, upper = max(0.0, box[0]), max(0.0, box[1])
    return cykooz_resizer.CropBox(
        left,
        upper,
        _length(left, box[2], image.width),
        _length(upper, box[3], image.height),
    )


def _length(start: float, end: float, side: int) -> float:
    length = min(end, side) - start
    return length if start + length <= side else math.nextafter(length, 0.0)
