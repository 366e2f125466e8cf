"""Pictures with what is said about them: a CSV or JSON Lines file as numbers.

Columns: ``file``; ``caption`` (in JSON Lines a text or a list of texts); and, where zero-shot
accuracy is to be measured, ``class``: what the picture shows, in a few words. Pictures are told
apart by their bytes, so one that lies there under two names is never on both sides of a split.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imagesieve_server.offline.labelled.label_file import FILE, LabelFile
from imagesieve_server.offline.labelled.label_rows import Row, Rows, read_rows
from imagesieve_server.offline.labelled.pictures import Picture, find_pictures

CAPTION = "caption"
CLASS = "class"
LEAST = 100
"""Pairs below which nothing is trained: the share held out would be a handful."""

Numbers = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """P pairs of I different pictures and C different captions."""

    pictures: tuple[Picture, ...]  # I
    captions: tuple[str, ...]  # C
    picture_of: Numbers  # [P]
    caption_of: Numbers  # [P]
    classes: tuple[str, ...]  # the different classes; empty where the file has none
    class_of: Numbers  # [I]; -1 where nothing is said

    def __len__(self) -> int:
        return len(self.picture_of)


def read_pairs(path: Path, images: Path) -> Pairs:
    """Read a file of pairs; pictures lie below ``images``.

    Raises LabelsError, which names file, line and column.
    """
    rows = read_rows(path)
    for column in (FILE, CAPTION):
        if column not in rows.columns:
            raise rows.error(
                f"is missing; the columns here are {', '.join(map(repr, rows.columns))}",
                column=column,
            )
    said = [(_text(rows, row, FILE), row, _captions(rows, row)) for row in rows.rows]
    listed = LabelFile(
        path=str(path),
        files=tuple(file for file, _, _ in said),
        lines=tuple(row.line for _, row, _ in said),
        labels={},
        columns={},
    )
    return _numbered(rows, said, find_pictures(listed, images))


def _numbered(
    rows: Rows, said: list[tuple[str, Row, tuple[str, ...]]], found: tuple[Picture, ...]
) -> Pairs:
    pictures: dict[str, int] = {}
    captions: dict[str, int] = {}
    classes: dict[str, int] = {}
    kept: list[Picture] = []
    class_of: list[int] = []
    pairs: list[tuple[int, int]] = []
    for (file, row, texts), picture in zip(said, found, strict=True):
        if not picture.sha256:
            raise rows.error(
                f"{file!r} is larger than the server takes", line=row.line, column=FILE
            )
        if picture.sha256 not in pictures:
            pictures[picture.sha256] = len(kept)
            kept.append(picture)
            class_of.append(_class(rows, row, classes))
        for text in texts:
            caption = captions.setdefault(text, len(captions))
            pairs.append((pictures[picture.sha256], caption))
    numbers = np.asarray(pairs, dtype=np.intp)
    return Pairs(
        pictures=tuple(kept),
        captions=tuple(captions),
        picture_of=numbers[:, 0],
        caption_of=numbers[:, 1],
        classes=tuple(classes),
        class_of=np.asarray(class_of, dtype=np.intp),
    )


def _text(rows: Rows, row: Row, column: str) -> str:
    value = row.values[column]
    if not isinstance(value, str) or not value.strip():
        raise rows.error("is empty", line=row.line, column=column)
    return value.strip()


def _captions(rows: Rows, row: Row) -> tuple[str, ...]:
    value = row.values[CAPTION]
    if not isinstance(value, tuple):
        return (_text(rows, row, CAPTION),)
    texts = tuple(text.strip() for text in value)
    if not texts or not all(texts):
        raise rows.error("is empty", line=row.line, column=CAPTION)
    return texts


def _class(rows: Rows, row: Row, classes: dict[str, int]) -> int:
    value = row.values.get(CLASS)
    if isinstance(value, tuple):
        raise rows.error("is a list; write one class", line=row.line, column=CLASS)
    if value is None or not value.strip():
        return -1
    return classes.setdefault(value.strip(), len(classes))


def held_out(pairs: Pairs, *, share: float, seed: int) -> Flags:
    """Bool [I]: which pictures are kept out of training, the same ones for the same bytes."""
    keys = [
        hashlib.sha256(f"{seed}/{picture.sha256}".encode()).digest() for picture in pairs.pictures
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    out = np.zeros(len(keys), dtype=np.bool_)
    out[order[: round(share * len(keys))]] = True
    return out
