"""What a label file says: which pictures show which categories, and everything else it notes.

Column ``file``, then either ``categories`` (or ``category``): ids separated by ``;``, empty
where none applies, ``?`` for what nobody said; or one column per category id with 1, 0 or
nothing (nobody said). All other columns are kept as text, for slices.

Knows the grammar of answers; refuses to know pictures and models.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imagesieve_server.offline.labelled.label_rows import Row, Rows, read_rows

Labels = npt.NDArray[np.int8]
"""Answers for one category, one per picture: YES, NO or UNSAID."""

YES, NO, UNSAID = 1, 0, -1

FILE = "file"
LISTS = ("categories", "category")
_NOBODY_SAID = "?"
_ALIKE = 0.85  # similarity at which a column's name is taken for a misspelt category


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFile:
    """The answers of N pictures, each file once, in the order of the label file."""

    path: str
    files: tuple[str, ...]  # N
    lines: tuple[int, ...]  # N, for messages
    labels: Mapping[str, Labels]  # category id → int8 [N]
    columns: Mapping[str, tuple[str, ...]]  # every other column → text [N]


def read_labels(path: Path, *, categories: Sequence[str]) -> LabelFile:
    """Read a label file for a policy's categories. Raises LabelsError.

    A category that the file does not speak of is UNSAID for every picture. A file that stands
    twice with the same answers counts once.
    """
    rows = read_rows(path)
    if FILE not in rows.columns:
        raise rows.error(
            f"is missing; the columns are {_listed(rows.columns)}", line=1, column=FILE
        )
    answered = _answer_columns(rows, categories)
    seen: dict[str, Row] = {}
    answers: dict[str, tuple[int, ...]] = {}
    for row in rows.rows:
        name = _file_of(rows, row)
        said = _answers(rows, row, answered, categories)
        if name not in seen:
            seen[name], answers[name] = row, said
        elif answers[name] != said:
            raise rows.error(
                f"{name!r} stands in line {seen[name].line} with other labels; keep one of them",
                line=row.line,
                column=FILE,
            )
    matrix = np.array([answers[name] for name in seen], dtype=np.int8)
    others = [name for name in rows.columns if name != FILE and name not in answered]
    return LabelFile(
        path=rows.file,
        files=tuple(seen),
        lines=tuple(row.line for row in seen.values()),
        labels={one: matrix[:, number].copy() for number, one in enumerate(categories)},
        columns={name: tuple(_text(row.values[name]) for row in seen.values()) for name in others},
    )


def _answer_columns(rows: Rows, categories: Sequence[str]) -> tuple[str, ...]:
    """The columns that say what a picture shows: one list, or one column per category."""
    lists = [name for name in LISTS if name in rows.columns]
    own = [name for name in rows.columns if name in categories]
    if lists and (own or len(lists) > 1):
        both = [*lists, *own]
        raise rows.error(f"columns {_listed(both)} say the same thing twice; keep one way", line=1)
    if not lists and not own:
        raise rows.error(
            "no column says what a picture shows; add one named 'categories' with ids separated "
            f"by ';', or one column per category id: {_listed(categories)}",
            line=1,
        )
    for name in rows.columns if own else ():
        alike = difflib.get_close_matches(name, set(categories) - set(own), n=1, cutoff=_ALIKE)
        if alike and name not in own:
            raise rows.error(
                f"is no category of the policy; {alike[0]!r} is. Rename the column, or give it a "
                "name that is less alike if it means something else",
                line=1,
                column=name,
            )
    return tuple(lists or own)


def _file_of(rows: Rows, row: Row) -> str:
    value = row.values[FILE]
    if not isinstance(value, str) or not value.strip():
        raise rows.error("is empty; write the picture's path", line=row.line, column=FILE)
    return value.strip()


def _answers(
    rows: Rows, row: Row, answered: Sequence[str], categories: Sequence[str]
) -> tuple[int, ...]:
    if answered[0] in LISTS:
        return _from_list(rows, row, answered[0], categories)
    said = {name: _from_cell(rows, row, name) for name in answered}
    return tuple(said.get(one, UNSAID) for one in categories)


def _from_list(rows: Rows, row: Row, column: str, categories: Sequence[str]) -> tuple[int, ...]:
    value = row.values[column]
    if value is None:
        raise rows.error(
            'has no value; write [] where no category applies, "?" where nobody said',
            line=row.line,
            column=column,
        )
    parts = value if isinstance(value, tuple) else value.split(";")
    named = [part.strip() for part in parts if part.strip()]
    unknown = [one for one in named if one not in categories and one != _NOBODY_SAID]
    if unknown:
        raise rows.error(
            f"{unknown[0]!r} is no category of the policy; it has {_listed(categories)}"
            + ("; several ids are separated by ';'" if "," in unknown[0] else ""),
            line=row.line,
            column=column,
        )
    otherwise = UNSAID if _NOBODY_SAID in named else NO
    return tuple(YES if one in named else otherwise for one in categories)


def _from_cell(rows: Rows, row: Row, column: str) -> int:
    value = row.values[column]
    text = value.strip() if isinstance(value, str) else value
    meanings = {"1": YES, "0": NO, "": UNSAID, None: UNSAID, _NOBODY_SAID: UNSAID}
    if isinstance(text, tuple) or text not in meanings:
        raise rows.error(
            f"{text!r} is no answer; write 1 (yes), 0 (no) or nothing (nobody said)",
            line=row.line,
            column=column,
        )
    return meanings[text]


def _text(value: str | tuple[str, ...] | None) -> str:
    if isinstance(value, tuple):
        return ";".join(value)
    return (value or "").strip()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
