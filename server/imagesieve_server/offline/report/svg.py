"""Drawings in SVG whose colors are the page's: a chart of lines and marks over two axes.

Written by hand and not by a plotting library: a drawing follows light and dark mode and print
because it only names classes of the page's style sheet, needs no extra to be installed, and
is small enough to have six of each in a page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]

LEFT, RIGHT, TOP, BOTTOM = 44.0, 22.0, 10.0, 40.0
"""Margins around the axes, in the drawing's own units (px where nothing scales it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One direction of a chart."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]  # (value, what stands there)
    label: str
    log: bool = False  # low must be above 0; what is below counts as low

    def at(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve. ``style`` is a class of the style sheet."""

    points: Points
    style: str = "line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point of interest, with what the reader sees beside it and on touching it."""

    x: float
    y: float
    label: str = ""
    about: str = ""
    style: str = "mark"
    label_left: bool = False  # the label stands to the left of the mark
    low: float | None = None  # ends of a vertical interval
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines and marks over two axes."""

    x: Axis
    y: Axis
    about: str  # what the drawing shows, for who does not see it
    lines: Sequence[Line] = ()
    marks: Sequence[Mark] = ()
    width: float = 320.0
    height: float = 260.0

    def svg(self) -> str:
        """The drawing."""
        parts = [self._grid(), *map(self._line, self.lines), *map(self._mark, self.marks)]
        return drawing(self.width, self.height, "".join(parts), about=self.about)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        across = self.width - LEFT - RIGHT
        down = self.height - TOP - BOTTOM
        return LEFT + across * self.x.at(x), TOP + down * (1 - self.y.at(y))

    def _grid(self) -> str:
        parts = []
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        for value, text in self.x.ticks:
            x, _ = self._place(value, self.y.low)
            parts.append(line(x, TOP, x, bottom, "grid"))
            parts.append(words(x, bottom + 16, text, "tick", anchor="middle"))
        for value, text in self.y.ticks:
            _, y = self._place(self.x.low, value)
            parts.append(line(LEFT, y, right, y, "grid"))
            parts.append(words(LEFT - 5, y + 3.5, text, "tick", anchor="end"))
        middle = (LEFT + right) / 2
        parts.append(words(middle, self.height - 6, self.x.label, "axis", anchor="middle"))
        parts.append(
            f'<text class="axis" text-anchor="middle" transform="translate(10 '
            f'{number((TOP + bottom) / 2)}) rotate(-90)">{escape(self.y.label)}</text>'
        )
        return "".join(parts)

    def _line(self, one: Line) -> str:
        places = [self._place(x, y) for x, y in one.points]
        path = " ".join(f"{number(x)},{number(y)}" for x, y in places)
        return f'<polyline class="{one.style}" points="{path}"/>'

    def _mark(self, one: Mark) -> str:
        x, y = self._place(one.x, one.y)
        parts = []
        if one.low is not None and one.high is not None:
            parts.append(
                line(x, self._place(one.x, one.low)[1], x, self._place(one.x, one.high)[1], "range")
            )
        about = f"<title>{escape(one.about)}</title>" if one.about else ""
        place = f'cx="{number(x)}" cy="{number(y)}"'
        parts.append(f'<circle class="{one.style}" {place} r="4.5">{about}</circle>')
        if one.label:
            # Below a curve that bends to a corner there is room on the side away from it.
            left = one.label_left or x > self.width * 0.75
            place_x = x - 9 if left else x + 9
            parts.append(
                words(place_x, y + 16, one.label, "label", anchor="end" if left else "start")
            )
        return "".join(parts)


SHARES = [(0.0, "0"), (0.25, "25"), (0.5, "50"), (0.75, "75"), (1.0, "100 %")]


def share_axis(label: str) -> Axis:
    """0 to 100 %."""
    return Axis(low=0.0, high=1.0, ticks=SHARES, label=label)


def drawing(width: float, height: float, body: str, *, about: str, style: str = "chart") -> str:
    """An SVG element that scales with the page."""
    return (
        f'<svg class="{style}" viewBox="0 0 {number(width)} {number(height)}" role="img" '
        f'aria-label="{escape(about)}">{body}</svg>'
    )


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """A straight line."""
    return (
        f'<line class="{style}" x1="{number(x1)}" y1="{number(y1)}" '
        f'x2="{number(x2)}" y2="{number(y2)}"/>'
    )


def box(x: float, y: float, width: float, height: float, style: str, *, about: str = "") -> str:
    """A filled rectangle."""
    title = f"<title>{escape(about)}</title>" if about else ""
    return (
        f'<rect class="{style}" x="{number(x)}" y="{number(y)}" width="{number(width)}" '
        f'height="{number(height)}">{title}</rect>'
    )


def words(x: float, y: float, text: str, style: str, *, anchor: str = "start") -> str:
    """A line of text."""
    return (
        f'<text class="{style}" x="{number(x)}" y="{number(y)}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def number(value: float) -> str:
    """A coordinate, as short as it can be."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
