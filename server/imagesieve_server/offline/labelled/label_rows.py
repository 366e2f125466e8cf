"""A label file as rows of text: CSV or JSON Lines, each row with its line.

Knows files, encodings and quoting; refuses to know what a column means. A label file may come
from anywhere, so its size, its number of columns and the length of a field are bounded.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import LabelsError

MAX_BYTES = 256 << 20
"""A label file larger than this is refused unread (some four million pictures)."""
MAX_COLUMNS = 256
MAX_ROWS = 2_000_000
"""More pictures than this are refused: a file of a few bytes a line takes fifty times its size in
memory. Looking at so many takes days on a processor."""
MAX_FIELDS = 20_000_000
"""Rows times columns."""
MAX_LINE = 1_000_000
"""Characters of a JSON line: one object takes some fifteen times its size in memory, and a file may
be one line."""
_WORKBOOK = b"PK\x03\x04"  # what spreadsheets save by themselves is a zip archive
_UNCLOSED = "; a field that begins with a quote ends with one, and a quote inside is doubled"
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One picture's line. ``None`` is a JSON null, or a key that this line does not have."""

    line: int  # 1-based, where the row begins
    values: Mapping[str, str | tuple[str, ...] | None]  # a tuple is a JSON list of texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A label file's rows; every row has a value for every column."""

    file: str  # as messages name it
    columns: tuple[str, ...]  # in the file's order
    rows: tuple[Row, ...]

    def error(self, problem: str, *, line: int | None = None, column: str = "") -> LabelsError:
        """An error at a place of this file."""
        return LabelsError(problem, file=self.file, line=line, column=column)


def read_rows(path: Path) -> Rows:
    """Read a label file, JSON Lines by its suffix (.jsonl, .ndjson), CSV otherwise.

    Raises LabelsError.
    """
    text = _text(path)
    if path.suffix.lower() in _JSON_SUFFIXES:
        rows = _json_rows(text, str(path))
    else:
        rows = _csv_rows(text, str(path))
    if not rows.rows:
        raise rows.error("has no rows; one line per picture is expected")
    return rows


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LabelsError(
                f"is larger than {MAX_BYTES >> 20} MiB; split it into several files",
                file=str(path),
            )
        data = path.read_bytes()
    except OSError as error:
        raise LabelsError(f"cannot be read: {error.strerror}", file=str(path)) from None
    try:
        return data.decode("utf-8-sig")  # Excel begins its UTF-8 with a mark
    except UnicodeDecodeError as error:
        if data.startswith(_WORKBOOK):
            raise LabelsError(
                "is a spreadsheet's own format (.xlsx, .ods); save it as CSV UTF-8", file=str(path)
            ) from None
        line = data[: error.start].count(b"\n") + 1
        raise LabelsError(
            "is not UTF-8 text; save it again as UTF-8 (in a spreadsheet: CSV UTF-8)",
            file=str(path),
            line=line,
        ) from None


def _csv_rows(text: str, file: str) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records = _csv_records(reader, file)
    first = next(records, None)
    if first is None:
        raise LabelsError("is empty; the first line names the columns", file=file)
    _, header = first
    columns = tuple(name.strip() for name in header)
    _check_header(columns, file)
    rows = []
    for line, cells in records:
        if len(cells) != len(columns):
            raise LabelsError(
                f"has {len(cells)} fields where the first line names {len(columns)} columns; "
                'a field with a comma in it stands in quotes, as in "a, b.jpg"',
                file=file,
                line=line,
            )
        rows.append(Row(line=line, values=dict(zip(columns, cells, strict=True))))
        _check_size(len(rows), len(columns), file, line)
    return Rows(file=file, columns=columns, rows=tuple(rows))


def _csv_records(reader: Any, file: str) -> Iterator[tuple[int, list[str]]]:
    """(line where it begins, fields) of every record that is not blank."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            long = "field larger" in str(error) and reader.line_num == line
            hint = "" if long else _UNCLOSED
            raise LabelsError(f"is not valid CSV: {error}{hint}", file=file, line=line) from None
        if any(cell.strip() for cell in cells):
            yield line, cells


def _check_size(rows: int, columns: int, file: str, line: int) -> None:
    if rows > MAX_ROWS:
        raise LabelsError(
            f"more than {MAX_ROWS} pictures; split the file into several", file=file, line=line
        )
    if rows * columns > MAX_FIELDS:
        raise LabelsError(
            f"more than {MAX_FIELDS} fields, {columns} to a line; leave columns out, or split "
            "the file into several",
            file=file,
            line=line,
        )


def _check_header(columns: tuple[str, ...], file: str) -> None:
    if len(columns) == 1:
        for character, name in ((";", "semicolons"), ("\t", "tabs")):
            if character in columns[0]:
                raise LabelsError(
                    f"is separated by {name}; save it with commas between the fields",
                    file=file,
                    line=1,
                )
    if len(columns) > MAX_COLUMNS:
        raise LabelsError(
            f"has {len(columns)} columns; at most {MAX_COLUMNS} are read", file=file, line=1
        )
    for position, name in enumerate(columns):
        if not name:
            raise LabelsError(f"column {position + 1} has no name", file=file, line=1)
        if name in columns[:position]:
            raise LabelsError("stands twice; name it once", file=file, line=1, column=name)


def _json_rows(text: str, file: str) -> Rows:
    objects = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if len(line) > MAX_LINE:
            raise LabelsError(
                f"is longer than {MAX_LINE} characters; each line is one picture",
                file=file,
                line=number,
            )
        found = _json_object(line, file, number)
        columns.update(dict.fromkeys(found))
        if len(columns) > MAX_COLUMNS:
            raise LabelsError(
                f"more than {MAX_COLUMNS} different keys; at most that many are read",
                file=file,
                line=number,
            )
        objects.append((number, found))
        _check_size(len(objects), len(columns), file, number)
    rows = tuple(
        Row(line=number, values={name: found.get(name) for name in columns})
        for number, found in objects
    )
    return Rows(file=file, columns=tuple(columns), rows=rows)


def _json_object(line: str, file: str, number: int) -> dict[str, str | tuple[str, ...] | None]:
    twice: list[str] = []
    try:
        found = json.loads(line, object_pairs_hook=lambda pairs: _once(pairs, twice))
    except (ValueError, RecursionError):
        found = None
    if twice:
        raise LabelsError("stands twice; name it once", file=file, line=number, column=twice[0])
    if not isinstance(found, dict):
        raise LabelsError(
            'is not a JSON object; each line is one, as in {"file": "a.jpg", "categories": []}',
            file=file,
            line=number,
        )
    try:  # JSON can write half a character, which is no text anywhere else
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise LabelsError(
            "holds half a character (a lone surrogate such as \\ud800); write the text as UTF-8",
            file=file,
            line=number,
        ) from None
    return {name: _json_value(value, file, number, name) for name, value in found.items()}


def _once(pairs: list[tuple[str, Any]], twice: list[str]) -> dict[str, Any]:
    """The object; keys that it has twice are added to ``twice``."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            twice.append(name)
        found[name] = value
    return found


def _json_value(value: Any, file: str, line: int, column: str) -> str | tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    if isinstance(value, dict | list):
        raise LabelsError(
            "holds a nested value; write a text, a number or a list of texts",
            file=file,
            line=line,
            column=column,
        )
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:g}" if isinstance(value, float) else str(value)
