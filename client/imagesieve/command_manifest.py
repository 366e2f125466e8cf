"""Manifests: CSV with a heading, or JSON Lines, that say what is known of each image.

Strict: an unknown column, a missing path, a value beyond the server's limits or a request_id
given twice is an error with its line. Paths are relative to the manifest's folder.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagesieve.results import Upload

MANIFESTS = (".csv", ".jsonl", ".ndjson")
"""Endings of the files that are read as manifests."""

LIMITS = {"request_id": 128, "content_ref": 512, "uploader_ref": 512, "surface": 128}
"""The server's limits, in characters."""
MAX_LABELS, MAX_LABEL_KEY, MAX_LABEL_VALUE = 16, 64, 256
COLUMNS = ("path", *LIMITS, "labels")

_SHOWN = 10  # problems that a message lists


class ManifestError(ValueError):
    """What is wrong with a manifest; ``problems`` name file and line."""

    def __init__(self, problems: list[str]) -> None:
        more = len(problems) - _SHOWN
        shown = problems[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        super().__init__("\n".join(shown))
        self.problems = tuple(problems)


class _Wrong(ValueError):
    """What is wrong with one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image of a manifest."""

    path: str  # below the manifest's folder where it was relative
    upload: Upload


def read_manifest(file: str) -> list[Row]:
    """The manifest's rows. Raises ManifestError, and OSError where it cannot be read."""
    text = _text(file)
    lines = _csv_lines if file.lower().endswith(".csv") else _json_lines
    problems: list[str] = []
    rows: list[Row] = []
    seen: dict[str, int] = {}
    try:
        for number, values in lines(text):
            try:
                if isinstance(values, _Wrong):
                    raise values
                row = _row(values, folder=os.path.dirname(file))
                _once(row.upload.request_id, number, seen)
            except _Wrong as error:
                problems.append(f"{file}:{number}: {error}")
            else:
                rows.append(row)
    except _Wrong as error:  # nothing after this line can be read
        problems.append(f"{file}:{error}")
    if problems:
        raise ManifestError(problems)
    return rows


def _text(file: str) -> str:
    raw = Path(file).read_bytes()
    try:
        return raw.decode("utf-8-sig")  # spreadsheets begin with a byte order mark
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ManifestError([f"{file}:{line}: is not UTF-8"]) from None


def _csv_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any] | _Wrong]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heading = next(reader, [])
        _check_heading(heading)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(heading):
                yield (
                    reader.line_num,
                    _Wrong(f"has {len(cells)} cells, the heading {len(heading)}"),
                )
                continue
            values: dict[str, Any] = dict(zip(heading, cells, strict=True))
            try:
                values["labels"] = _label_cell(values.get("labels", ""))
            except _Wrong as error:
                yield reader.line_num, error
            else:
                yield reader.line_num, values
    except csv.Error as error:
        raise _Wrong(f"{reader.line_num}: {error}") from None


def _check_heading(heading: list[str]) -> None:
    unknown = sorted(set(heading) - set(COLUMNS))
    if unknown:
        raise _Wrong(f"1: no column {unknown[0]!r}; there are {', '.join(COLUMNS)}")
    if len(set(heading)) != len(heading):
        raise _Wrong("1: a column is there twice")
    if "path" not in heading:
        raise _Wrong("1: the heading must have the column 'path'")


def _label_cell(cell: str) -> dict[str, str]:
    """``key=value;key=value``."""
    labels: dict[str, str] = {}
    for part in filter(None, cell.split(";")):
        key, equals, value = part.partition("=")
        if not equals:
            raise _Wrong(f"labels: {part!r} is not key=value")
        if key.strip() in labels:
            raise _Wrong(f"labels: {key.strip()!r} is there twice")
        labels[key.strip()] = value.strip()
    return labels


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any] | _Wrong]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_object)
            if not isinstance(values, dict):
                raise _Wrong("is not a JSON object")
        except _Wrong as error:
            yield number, error
        except (ValueError, RecursionError) as error:
            yield number, _Wrong(f"is not JSON: {error}")
        else:
            yield number, values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _Wrong("a name is there twice")
    return values


def _row(values: Mapping[str, Any], *, folder: str) -> Row:
    unknown = sorted(set(values) - set(COLUMNS))
    if unknown:
        raise _Wrong(f"no field {unknown[0]!r}; there are {', '.join(COLUMNS)}")
    texts = {name: _checked(name, values.get(name, "")) for name in ("path", *LIMITS)}
    if not texts["path"] or "\0" in texts["path"]:
        raise _Wrong("path: is missing" if not texts["path"] else "path: has a NUL")
    path = os.path.join(folder, texts["path"])
    upload = Upload(
        image=Path(path),
        request_id=texts["request_id"] or None,
        content_ref=texts["content_ref"],
        uploader_ref=texts["uploader_ref"],
        surface=texts["surface"],
        labels=_labels(values.get("labels", {})),
    )
    return Row(path=path, upload=upload)


def _checked(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"{name}: must be text")
    if len(value) > LIMITS.get(name, len(value)):
        raise _Wrong(f"{name}: has {len(value)} characters; at most {LIMITS[name]} are allowed")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only JSON can spell
        raise _Wrong(f"{name}: is not valid text") from None
    return value


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _Wrong("labels: must be an object of texts")
    if len(value) > MAX_LABELS:
        raise _Wrong(f"labels: has {len(value)}; at most {MAX_LABELS} are allowed")
    for key, text in value.items():
        _checked("labels", key)
        _checked("labels", text)
        if not 1 <= len(key) <= MAX_LABEL_KEY:
            raise _Wrong(f"labels: a key has 1 to {MAX_LABEL_KEY} characters")
        if len(text) > MAX_LABEL_VALUE:
            raise _Wrong(f"labels: {key!r} has more than {MAX_LABEL_VALUE} characters")
    return value


def _once(request_id: str | None, number: int, seen: dict[str, int]) -> None:
    if request_id is None:
        return
    if request_id in seen:
        raise _Wrong(f"request_id: {request_id!r} is in line {seen[request_id]} already")
    seen[request_id] = number
