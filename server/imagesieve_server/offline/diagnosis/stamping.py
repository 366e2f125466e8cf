"""Words printed on pictures, as somebody would who wants to steer the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imagesieve_server.core.views import Pixels

SIZES = (0.1, 0.2, 0.35)
"""Height of the letters ÷ height of the view."""

_WIDEST = 0.94  # of the view's width
_SMALLEST = 5.0  # px


def sizes_that_fit(side: int, words: Sequence[str]) -> tuple[float, ...]:
    """Those of ``SIZES`` at which all words fit into ``side`` px, and the largest that does instead
    of those that do not."""
    found: list[float] = []
    for size in SIZES:
        fitting = min(size, _points(side, words, size) / side)
        if not found or fitting > 1.15 * found[-1]:
            found.append(fitting)
    return tuple(found)


def stamp(view: Pixels, word: str, *, size: float, words: Sequence[str]) -> Pixels:
    """The view uint8 [S, S, 3] with ``word`` in black on a white label near its lower edge.

    The label has room for each of ``words`` and the letters are as large as ``size`` asks and all
    of them allow, so that every one of them covers the same part of the picture.
    """
    side = view.shape[0]
    points = _points(side, words, size)
    font = _font(points)
    width = max(font.getlength(text) for text in (word, *words))
    image = Image.fromarray(np.ascontiguousarray(view))
    draw = ImageDraw.Draw(image)
    middle = (side / 2, side * 0.96 - points * 0.7)
    half = (width / 2 + points * 0.2, points * 0.7)
    draw.rectangle(
        (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]),
        fill="white",
    )
    draw.text(middle, word, font=font, fill="black", anchor="mm")
    return np.asarray(image)


def nonsense(word: str, *, count: int, seed: int) -> tuple[str, ...]:
    """``count`` words of as many letters as ``word`` that spell nothing."""
    generator = np.random.default_rng(seed)
    letters = generator.choice(list("bcdfghjklmnpqrstvwxz"), size=(count, len(word)))
    return tuple(
        "".join(" " if old == " " else str(new) for old, new in zip(word, row, strict=True))
        for row in letters
    )


def _points(side: int, words: Sequence[str], size: float) -> float:
    points = max(_SMALLEST, size * side)
    longest = max(_font(points).getlength(text) for text in words)
    return max(_SMALLEST, min(points, points * _WIDEST * side / longest))


def _font(points: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)
