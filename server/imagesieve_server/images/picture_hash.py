"""PDQ, the perceptual hash that near-duplicates are found by: 256 bits and a quality.

Follows the reference implementation (Meta's ThreatExchange, ``pdq/cpp``, BSD licence; algorithm in
"The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", 2019): luma, a tent
filter down to 64 x 64, the 16 x 16 lowest frequencies of its cosine transform without the
constant, each compared with their median. Tests hold ``exact_square`` to the reference's results
and ``quick_square`` to a few bits of them.

Knows pixels. What a distance means is ``core/near_duplicates.py``.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from imagesieve_server.core.near_duplicates import PictureHash
from imagesieve_server.images import simd

_SIDE: Final = 64  # px of the square that is transformed
_LOW: Final = 16  # frequencies kept, per axis
_LARGEST: Final = 512  # px; the reference's own tools reduce larger pictures to it first
_SMALLEST: Final = 5  # px; the reference's own limit
_TENTS_FIT: Final = 256  # px; in smaller pictures the reference's tents reach beyond the edge
_LUMA: Final = (0.299, 0.587, 0.114)  # of red, green, blue; the reference's

Matrix = npt.NDArray[np.float32]


def hash_of(picture: Image.Image) -> PictureHash:
    """The hash of an upright RGB picture; quality 0 where a side is under 5 px."""
    if min(picture.size) < _SMALLEST:
        return PictureHash(bits="0" * 64, quality=0)
    is_large = min(picture.size) > _TENTS_FIT
    square = quick_square(picture) if simd.AVAILABLE and is_large else exact_square(picture)
    return hash_of_square(square)


def hash_of_square(square: Matrix) -> PictureHash:
    """The hash of a picture that was brought to 64 x 64 grey values."""
    waves = _cosines() @ square @ _cosines().T
    # The reference's median is the lower one, and bit 0 is the lowest of both frequencies.
    bits = (waves > np.partition(waves.ravel(), 127)[127]).ravel()[::-1]
    return PictureHash(bits=np.packbits(bits).tobytes().hex(), quality=_quality(square))


def exact_square(picture: Image.Image) -> Matrix:
    """float32 [64, 64], as the reference filters it."""
    width, height = (min(side, _LARGEST) for side in picture.size)
    bare = picture.copy()
    bare.info.clear()  # what a file says there may make Pillow's conversion fail
    grey = bare.convert("L")  # the reference's weights
    if (width, height) != grey.size:
        grey = grey.resize((width, height), Image.Resampling.BOX)
    square = np.asarray(grey, dtype=np.float32)
    if (width, height) != (_SIDE, _SIDE):
        square = np.asarray(_tent(height) @ square @ _tent(width).T, dtype=np.float32)
    return square


def quick_square(picture: Image.Image) -> Matrix:
    """float32 [64, 64] in one pass, for sides over 256 px where ``simd.AVAILABLE``.

    The reference's two means are a tent as wide as a cell of 64. A bilinear reduction to twice as
    many cells has that tent; every second of its values is taken, from where the reference's
    lie: its means are not centred.
    """
    (left, right), (upper, lower) = (_tents_place(side) for side in picture.size)
    size = (2 * _SIDE - 1, 2 * _SIDE - 1)
    filter_ = Image.Resampling.BILINEAR
    small = simd.convolved(picture, size, filter_, box=(left, upper, right, lower))
    colours = np.asarray(small)[::2, ::2].astype(np.float32)
    return np.asarray(colours @ np.array(_LUMA, dtype=np.float32), dtype=np.float32)


@functools.lru_cache(maxsize=32)
def _tents_place(side: int) -> tuple[float, float]:
    """Where, in px of a side, 127 tents begin and end of which every second is the reference's."""
    reduced = min(side, _LARGEST)
    window, ahead = _window(reduced)
    cells = (np.arange(_SIDE) + 0.5) * reduced / _SIDE
    # Each mean lies half a window ahead of its own place, and pixels' centres half a pixel on.
    shift = float(np.mean(cells.astype(int) + 2 * ahead - (window - 1) + 0.5 - cells))
    start = reduced / (4 * _SIDE) + shift
    length = reduced * (2 * _SIDE - 1) / (2 * _SIDE)
    return start * side / reduced, min(start + length, reduced) * side / reduced


def _quality(square: Matrix) -> int:
    """0 to 100: how much the picture has to compare, by the steps between neighbours."""
    steps = sum(
        int(np.abs(np.trunc(np.diff(square, axis=axis) * 100 / 255)).sum()) for axis in (0, 1)
    )
    return min(100, steps // 90)


@functools.lru_cache(maxsize=32)  # 128 KiB each at most
def _tent(side: int) -> Matrix:
    """float32 [64, side]: two means over 1/128 of the side, read off at the cells' centres."""
    window, ahead = _window(side)
    places = np.arange(side)
    step = places[None, :] - places[:, None]
    mean = ((step <= ahead) & (step > ahead - window)).astype(np.float32)
    mean /= mean.sum(axis=1, keepdims=True)
    centres = ((np.arange(_SIDE) + 0.5) * side / _SIDE).astype(int)
    return np.asarray(mean[centres] @ mean, dtype=np.float32)


def _window(side: int) -> tuple[int, int]:
    """How many px one mean takes, and how many of them lie ahead of its place."""
    window = (side + 2 * _SIDE - 1) // (2 * _SIDE)
    return window, (window + 2) // 2 - 1


@functools.lru_cache(maxsize=1)
def _cosines() -> Matrix:
    """float32 [16, 64]: rows 1 to 16 of the orthonormal cosine transform."""
    rows = np.arange(1, _LOW + 1)[:, None]
    columns = 2 * np.arange(_SIDE)[None, :] + 1
    cosines = np.sqrt(2 / _SIDE) * np.cos(np.pi / (2 * _SIDE) * rows * columns)
    return np.asarray(cosines, dtype=np.float32)
