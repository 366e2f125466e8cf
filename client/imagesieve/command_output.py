"""How the ``imagesieve`` command shows things: aligned columns, or one JSON object a line.

What is shown may come from strangers (file names, an uploader's labels): in tables, characters
that a terminal would act on are replaced. JSON escapes them by itself.
"""

from __future__ import annotations

import dataclasses
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO


def plain(value: Any) -> Any:
    """A value as JSON can hold it: no bytes, no infinities, times as ISO 8601."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {name: plain(v) for name, v in fields.items() if not isinstance(v, bytes)}
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_line(out: TextIO, value: Any) -> None:
    """The value as one line of JSON, written at once."""
    out.write(json.dumps(plain(value), allow_nan=False) + "\n")
    out.flush()


def printable(text: str) -> str:
    """The text with everything replaced that is not printable."""
    return "".join(c if c.isprintable() else "?" for c in text)


def width_of(text: str) -> int:
    """Cells of a terminal that the text takes: East Asian wide characters take two."""
    return sum(_cells_of(c) for c in text)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shortened(text: str, width: int) -> str:
    """The text, its middle replaced by … where it is wider than ``width`` (at least 3)."""
    if width_of(text) <= width:
        return text
    head, tail = _first(text, (width - 1) // 3), _first(text[::-1], width - 1 - (width - 1) // 3)
    return f"{head}…{tail[::-1]}"


def _first(text: str, width: int) -> str:
    taken = 0
    for position, character in enumerate(text):
        taken += _cells_of(character)
        if taken > width:
            return text[:position]
    return text


class Columns:
    """Rows under a heading. A cell wider than its column is shortened, or, where nothing may
    be lost, pushes the rest of its row; the last column has no limit."""

    def __init__(self, out: TextIO, columns: Mapping[str, int], *, shorten: bool = False) -> None:
        """``columns`` are headings and widths in characters."""
        self._out = out
        self._shorten = shorten
        self._widths = [max(len(name), width) for name, width in columns.items()]
        self.row(*columns)

    def row(self, *cells: str) -> None:
        *first, last = map(printable, cells)
        padded = [self._fit(cell, w) for cell, w in zip(first, self._widths, strict=False)]
        self._out.write("  ".join([*padded, last]).rstrip() + "\n")
        self._out.flush()

    def _fit(self, cell: str, width: int) -> str:
        shown = shortened(cell, width) if self._shorten else cell
        return shown + " " * (width - width_of(shown))


def record(out: TextIO, value: Any, *, form: str) -> None:
    """One value: a line of JSON, or its fields, one a line, empty ones left out."""
    if form == "jsonl":
        json_line(out, value)
        return
    fields: dict[str, Any] = plain(value)
    shown = {name: v for name, v in fields.items() if v not in (None, "", [], {})}
    width = max((len(name) for name in shown), default=0)
    for name, inner in shown.items():
        text = inner if isinstance(inner, str) else json.dumps(inner, allow_nan=False)
        out.write(f"{name.ljust(width)}  {printable(text)}\n")


def listing(out: TextIO, values: Sequence[Any], columns: Mapping[str, str], *, form: str) -> None:
    """Many values: lines of JSON, or the named fields (heading to field) in columns."""
    if form == "jsonl":
        for value in values:
            json_line(out, value)
        return
    cells = [[_cell(getattr(value, name)) for name in columns.values()] for value in values]
    rows(out, list(columns), cells)


def rows(out: TextIO, head: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Rows of texts under their headings, each column as wide as its widest cell."""
    widths = [max((width_of(row[i]) for row in cells), default=0) for i in range(len(head))]
    table = Columns(out, dict(zip(head, widths, strict=True)))
    for row in cells:
        table.row(*row)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return "" if value is None else str(value)
