"""Drawings that reports share: histograms on either side of a line, and forests of intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.measures.ranking import Doubles
from imagesieve_server.offline.report.numbers import THIN
from imagesieve_server.offline.report.svg import Axis, box, drawing, line, words

BINS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A threshold on a histogram."""

    at: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """Where things go in a histogram drawing."""

    axis: Axis
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Height of the line between the two groups."""
        return 8 + (self.height - 38) / 2

    def across(self, value: float) -> float:
        return 12 + (self.width - 24) * self.axis.at(value)


def two_histograms(
    above: Doubles,
    below: Doubles,
    *,
    names: tuple[str, str],
    limits: Sequence[Limit],
    label: str,
    width: float = 660.0,
    height: float = 210.0,
) -> str:
    """Where two groups' values lie: one group's bars go up, the other's down, each scaled to its
    own highest bar. What lies far outside is counted in the end bars."""
    low, high = _ends(np.concatenate([above, below]), [limit.at for limit in limits])
    axis = Axis(low=low, high=high, ticks=_round_ticks(low, high), label=label)
    field = _Field(axis=axis, width=width, height=height)
    parts = [_bars(field, above, "shown", names[0]), _bars(field, below, "other", names[1])]
    parts += [
        words(field.across(value), height - 16, text, "tick", anchor="middle")
        for value, text in axis.ticks
    ]
    parts.append(line(12, field.middle, width - 12, field.middle, "base"))
    parts += [_limit(field, limit, 12 + 13 * n) for n, limit in enumerate(limits)]
    parts.append(words(width / 2, height - 2, label, "axis", anchor="middle"))
    below_the_words = 4  # what hangs below a line of text: g, p
    return drawing(
        width,
        height + below_the_words,
        "".join(parts),
        about=f"Histogram of {label}",
        style="chart wide",
    )


def _ends(values: Doubles, limits: Sequence[float]) -> tuple[float, float]:
    low, high = (float(end) for end in np.quantile(values, [0.002, 0.998]))
    low, high = min([low, *limits]), max([high, *limits])
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _bars(field: _Field, values: Doubles, style: str, name: str) -> str:
    """The group ``shown`` stands above the line, the other hangs below it."""
    up = style == "shown"
    low, high, middle = field.axis.low, field.axis.high, field.middle
    edges = np.linspace(low, high, BINS + 1)
    counts = np.histogram(values.clip(low, high), edges)[0]
    tallest = max(int(counts.max(initial=0)), 1)
    parts = []
    for k, count in enumerate(counts.tolist()):
        if not count:
            continue
        size = (middle - 10) * count / tallest
        left, right = field.across(float(edges[k])), field.across(float(edges[k + 1]))
        about = f"{name}: {count} between {edges[k]:.1f} and {edges[k + 1]:.1f}"
        top = middle - size if up else middle
        parts.append(box(left, top, max(right - left - 1, 0.5), size, style, about=about))
    total = f"{name} ({len(values):,})".replace(",", THIN)
    parts.append(words(12, 16 if up else 2 * middle - 9, total, f"label {style}"))
    return "".join(parts)


def _limit(field: _Field, limit: Limit, y: float) -> str:
    x = field.across(limit.at)
    left = x > field.width * 0.7
    return line(x, 4, x, 2 * field.middle - 4, "limit") + words(
        x - 5 if left else x + 5, y, limit.name, "label limit", anchor="end" if left else "start"
    )


def forest(
    rows: Sequence[tuple[str, Figure, str]], *, label: str, least: float, width: float = 660.0
) -> str:
    """Differences with their intervals around zero: (name, figure, as text); the last is bold.

    The scale reaches at least ``least`` either way, so that next to nothing looks like it.
    """
    ends = [end for _, figure, _ in rows for end in (figure.low, figure.high)]
    widest = max([abs(end) for end in ends] + [least]) * 1.1
    left, right, step = 140.0, 150.0, 22.0
    height = step * len(rows) + 40
    ticks = [tick for tick in _round_ticks(-widest, widest) if abs(tick[0]) <= widest]
    axis = Axis(low=-widest, high=widest, ticks=ticks, label=label)

    def place(value: float) -> float:
        return left + (width - left - right) * axis.at(value)

    parts = [
        line(place(value), 4, place(value), height - 34, "base" if value == 0 else "grid")
        for value, _ in ticks
    ]
    parts += [words(place(v), height - 20, text, "tick", anchor="middle") for v, text in ticks]
    for number, (name, figure, text) in enumerate(rows):
        y = step * number + 14
        sure = "" if figure.low <= 0 <= figure.high else " sure"
        strong = " strong" if number == len(rows) - 1 and len(rows) > 1 else ""
        parts.append(words(left - 10, y + 4, name, f"label{strong}", anchor="end"))
        parts.append(line(place(figure.low), y, place(figure.high), y, f"range{sure}{strong}"))
        x = place(figure.value)
        parts.append(f'<circle class="mark{sure}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        parts.append(words(width - right + 10, y + 4, text, f"label{strong}"))
    parts.append(words((left + width - right) / 2, height - 4, label, "axis", anchor="middle"))
    return drawing(width, height, "".join(parts), about=label, style="chart wide")


def interval_strip(figure: Figure, *, low: float, high: float, width: float = 110.0) -> str:
    """A value and its interval on a scale from ``low`` to ``high``, for a table's cell."""
    axis = Axis(low=low, high=high, ticks=(), label="")

    def place(value: float) -> float:
        return 5 + (width - 10) * axis.at(value)

    middle = 8.0
    body = (
        line(5, middle, width - 5, middle, "base")
        + line(place(figure.low), middle, place(figure.high), middle, "range sure strong")
        + f'<circle class="mark sure" cx="{place(figure.value):.1f}" cy="{middle}" r="3.5"/>'
    )
    about = f"{figure.value:.3f}, between {figure.low:.3f} and {figure.high:.3f}"
    return drawing(width, 16, body, about=about, style="strip")


def _round_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Four to nine round numbers."""
    step = 10 ** math.floor(math.log10(max(high - low, 1e-12)))
    for part in (0.1, 0.2, 0.5, 1.0):
        if (high - low) / (step * part) <= 9:
            step *= part
            break
    first = math.ceil(low / step)
    values = [k * step for k in range(first, math.floor(high / step) + 1)]
    return [
        (value, f"{value:g}".replace("-", "−") if abs(value) > 1e-12 else "0") for value in values
    ]
