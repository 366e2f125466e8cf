"""A drawing surface with smooth edges and text in whatever letters the fonts here have.

Coordinates are px of the finished picture; it is drawn at twice the size and reduced. Knows
Pillow and fonts; refuses to know what is drawn.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from imagesieve_server.core.errors import ConfigError

Colour = str
Font = ImageFont.FreeTypeFont

_FINE: Final = 2
_ABSENT: Final = "\U0010ffff"  # no font has it: what it looks like is what a missing letter does
_NEAR: Final = {"−": "-", "×": "x"}  # what Pillow's own font has in their place
_SYSTEM: Final = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial Unicode.ttf",
    "Arial.ttf", "arial.ttf", "NotoSansCJK-Regular.ttc",
)  # fmt: skip


class Fonts:
    """Pillow's own font first, for it is the same everywhere; others where it lacks a letter."""

    def __init__(self, *, extra: Path | None = None) -> None:
        """``extra`` is asked before the system's fonts. Raises ConfigError where it is no font."""
        self.missing: set[str] = set()
        self._extra = str(extra) if extra else ""
        if extra:
            try:
                ImageFont.truetype(self._extra, 12)
            except OSError as error:
                raise ConfigError(f"{extra}: not a font that can be read ({error})") from None

    def pick(self, text: str, size: float) -> tuple[Font, str]:
        """A font and the text to draw with it; letters that no font has are replaced."""
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
        fewest: tuple[int, str] = (len(text) + 1, "")
        for name in self._names():
            lacking = sum(_nearest(name, letter) is None for letter in text)
            if lacking < fewest[0]:
                fewest = (lacking, name)
            if lacking == 0:
                break
        name = fewest[1]
        return _font(name, size), "".join(self._letter(name, letter) for letter in text)

    def _names(self) -> Iterator[str]:
        yield ""
        if self._extra:
            yield self._extra
        yield from (name for name in _SYSTEM if _exists(name))

    def _letter(self, name: str, letter: str) -> str:
        if found := _nearest(name, letter):
            return found
        self.missing.add(letter)
        plain = unicodedata.normalize("NFKD", letter)[:1]
        return plain if plain != letter and _has(name, plain) else "?"


@functools.lru_cache(maxsize=256)
def _font(name: str, size: float) -> Font:
    found = ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont)  # Pillow's wheels are built with FreeType
    return found


@functools.cache
def _exists(name: str) -> bool:
    try:
        ImageFont.truetype(name, 12)
    except OSError:
        return False
    return True


@functools.lru_cache(maxsize=4096)
def _has(name: str, letter: str) -> bool:
    if letter.isspace():
        return True
    font = _font(name, 20)
    absent, found = font.getmask(_ABSENT), font.getmask(letter)
    return found.size != absent.size or bytes(found) != bytes(absent)


def _nearest(name: str, letter: str) -> str | None:
    """The letter, or one that will do; None where the font has neither."""
    if _has(name, letter):
        return letter
    other = _NEAR.get(letter)
    return other if other and _has(name, other) else None


class Canvas:
    """A picture that grows downwards as it is drawn on, up to ``max_height``."""

    def __init__(self, *, width: int, max_height: int, background: Colour, fonts: Fonts) -> None:
        size = (width * _FINE, max_height * _FINE)
        self._image = Image.new("RGB", size, background)
        self._draw = ImageDraw.Draw(self._image)
        self._fonts = fonts
        self.width = width

    def finished(self, height: float) -> Image.Image:
        """The picture, cut at ``height``."""
        fine = self._image.crop((0, 0, self.width * _FINE, round(height) * _FINE))
        return fine.resize((self.width, round(height)), Image.Resampling.LANCZOS)

    def box(
        self,
        at: tuple[float, float, float, float],
        *,
        fill: Colour | None = None,
        outline: Colour | None = None,
        width: float = 1,
        radius: float = 0,
    ) -> None:
        """A rectangle: left, upper, right, lower."""
        left, upper, right, lower = (value * _FINE for value in at)
        if right < left or lower < upper:
            return
        self._draw.rounded_rectangle(
            (left, upper, right, lower),
            radius=radius * _FINE,
            fill=fill,
            outline=outline,
            width=round(width * _FINE),
        )

    def line(
        self, at: tuple[float, float, float, float], *, colour: Colour, width: float = 1
    ) -> None:
        self._draw.line([value * _FINE for value in at], fill=colour, width=round(width * _FINE))

    def dot(self, x: float, y: float, *, radius: float, colour: Colour) -> None:
        box = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse([value * _FINE for value in box], fill=colour)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float,
        colour: Colour,
        bold: bool = False,
        anchor: str = "ls",
    ) -> float:
        """One line with its baseline at ``y``; returns its width. Anchors as Pillow's."""
        font, words = self._fonts.pick(words, size * _FINE)
        self._draw.text(
            (x * _FINE, y * _FINE),
            words,
            font=font,
            fill=colour,
            anchor=anchor,
            stroke_width=1 if bold else 0,
            stroke_fill=colour,
        )
        return font.getlength(words) / _FINE

    def length(self, words: str, *, size: float) -> float:
        """Width of one line."""
        font, words = self._fonts.pick(words, size * _FINE)
        return font.getlength(words) / _FINE

    def fitted(self, words: str, *, size: float, width: float) -> str:
        """One line cut to ``width``, with dots where something is missing."""
        if self.length(words, size=size) <= width:
            return words
        while words and self.length(words + "…", size=size) > width:
            words = words[:-1]
        return words.rstrip() + "…"

    def paragraph(
        self, x: float, y: float, words: str, *, size: float, colour: Colour, width: float
    ) -> float:
        """Lines broken at spaces; the first baseline is at ``y``. Returns the next free one."""
        row = ""
        for word in words.split():
            longer = f"{row} {word}".strip()
            if row and self.length(longer, size=size) > width:
                self.text(x, y, self.fitted(row, size=size, width=width), size=size, colour=colour)
                y, longer = y + size * 1.4, word
            row = longer
        self.text(x, y, self.fitted(row, size=size, width=width), size=size, colour=colour)
        return y + size * 1.4

    def paste(self, image: Image.Image, at: tuple[float, float, float, float]) -> None:
        """An RGB picture, scaled to fill the rectangle."""
        left, upper, right, lower = (round(value * _FINE) for value in at)
        size = (max(1, right - left), max(1, lower - upper))
        enlarges = size[0] > image.width
        how = Image.Resampling.BICUBIC if enlarges else Image.Resampling.LANCZOS
        self._image.paste(image.resize(size, how), (left, upper))
