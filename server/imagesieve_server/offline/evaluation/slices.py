"""Recall and false-positive rate by what else the label file says of a picture.

A gap is a slice whose share differs from that of all other pictures by more than chance: a
two-sided exact test, corrected for the number of tests in the whole report (Holm), so that a
report with a hundred slices does not cry wolf five times. Slices with fewer than ten pictures on
either side are not tested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from imagesieve_server.core.errors import LabelsError
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.views import ViewKind
from imagesieve_server.offline.evaluation.judging import Judged
from imagesieve_server.offline.evaluation.results import Gap, SliceRow, Slices, SliceTable
from imagesieve_server.offline.labelled.label_file import NO, YES
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.measures import needed
from imagesieve_server.offline.measures.figures import Figure, proportion
from imagesieve_server.offline.measures.fisher import exact_test, holm
from imagesieve_server.offline.measures.ranking import Flags

LEVEL = 0.05
"""The chance that a report without any real gap flags one."""
MOST_VALUES = 20
"""Columns with more values are sliced only where asked for, and then by their commonest."""
SEEN_AS = "(seen as)"
"""A column of our own: how the picture was looked at."""
OTHERS = "(all others)"
EMPTY = "(empty)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """One share of one slice, and of all other pictures."""

    hits: int
    of: int
    other_hits: int
    other_of: int

    @property
    def enough(self) -> bool:
        return min(self.of, self.other_of) >= needed.LEAST_EACH

    def figure(self) -> Figure | None:
        return proportion(self.hits, self.of) if self.of >= needed.LEAST_EACH else None

    def gap(self) -> Gap | None:
        """Uncorrected; None where there are too few pictures to tell."""
        if not self.enough:
            return None
        difference = self.hits / self.of - self.other_hits / self.other_of
        p = exact_test(self.hits, self.of, self.other_hits, self.other_of)
        return Gap(difference=difference, p=p, flagged=False)


def slice_all(
    policy: Policy, labelled: LabelledSet, judged: Judged, columns: Sequence[str] | None
) -> Slices:
    """Every category by every column named; None takes each with 2 to 20 different values.

    Raises LabelsError for a column that the label file does not have.
    """
    values, notes = _columns(labelled, columns)
    tables = []
    for column, texts in values.items():
        for category in policy.categories:
            if category.thresholds.review_at is None and category.thresholds.block_at is None:
                continue
            answers = labelled.labels[category.id]
            flagged = judged.bands[category.id] > 0
            table = SliceTable(
                column=column,
                category=category.id,
                rows=tuple(_rows(texts, answers == YES, answers == NO, flagged)),
            )
            tables.append(table)
    corrected, tests = _correct(tables)
    return Slices(tables=corrected, tests=tests, level=LEVEL, notes=notes)


def _columns(
    labelled: LabelledSet, asked: Sequence[str] | None
) -> tuple[Mapping[str, Sequence[str]], tuple[str, ...]]:
    """(column → text of each picture, notes)."""
    known = {**labelled.columns, SEEN_AS: seen_as(labelled)}
    for name in asked or ():
        if name not in known:
            raise LabelsError(
                f"--slices: the label file has no column {name!r} beside its labels; it has "
                f"{', '.join(map(repr, known))}"
            )
    found: dict[str, Sequence[str]] = {}
    notes = []
    for name in known if asked is None else asked:
        counts = Counter(known[name])
        if len(counts) > MOST_VALUES:
            if asked is None:
                notes.append(f"column {name!r} has {len(counts)} values: slice it with --slices")
                continue
            notes.append(f"column {name!r} has {len(counts)} values: the commonest are shown")
        if len(counts) > 1:
            kept = {value for value, _ in counts.most_common(MOST_VALUES)}
            found[name] = [(value or EMPTY) if value in kept else OTHERS for value in known[name]]
    return found, tuple(notes)


def seen_as(labelled: LabelledSet) -> tuple[str, ...]:
    """How each picture was looked at: as a still, as tiles, or as frames of an animation."""
    found = ["still"] * len(labelled)
    names = {ViewKind.TILE: "tiles", ViewKind.FRAME: "animation"}
    for number, view in zip(labelled.image_of.tolist(), labelled.views, strict=True):
        if view.kind in names and found[number] != "animation":
            found[number] = names[view.kind]
    return tuple(found)


def _rows(texts: Sequence[str], positive: Flags, negative: Flags, flagged: Flags) -> list[SliceRow]:
    every = np.array(texts)
    rows = []
    for value, _ in Counter(texts).most_common():
        mine = every == value
        recall = _count(flagged, positive, mine)
        false = _count(flagged, negative, mine)
        rows.append(
            SliceRow(
                value=value,
                positives=recall.of,
                negatives=false.of,
                recall=recall.figure(),
                false_positive_rate=false.figure(),
                recall_gap=recall.gap(),
                false_positive_gap=false.gap(),
            )
        )
    return rows


def _count(flagged: Flags, among: Flags, mine: Flags) -> _Counted:
    return _Counted(
        hits=int((flagged & among & mine).sum()),
        of=int((among & mine).sum()),
        other_hits=int((flagged & among & ~mine).sum()),
        other_of=int((among & ~mine).sum()),
    )


_GAPS = ("recall_gap", "false_positive_gap")


def _correct(tables: Sequence[SliceTable]) -> tuple[tuple[SliceTable, ...], int]:
    """The tables with corrected gaps, and how many tests there were.

    Two values of one column are one question: the second's gap is the first's, seen from the
    other side, and is counted once.
    """

    def question(table: int, row: int, gap: str) -> tuple[int, int, str]:
        return (table, 0 if len(tables[table].rows) == 2 else row, gap)

    chances = {
        question(t, r, name): getattr(row, name).p
        for t, table in enumerate(tables)
        for r, row in enumerate(table.rows)
        for name in _GAPS
        if getattr(row, name) is not None
    }
    corrected = dict(zip(chances, holm(list(chances.values())), strict=True))

    def row_of(t: int, r: int, row: SliceRow) -> SliceRow:
        changes: dict[str, Any] = {}
        for name in _GAPS:
            gap: Gap | None = getattr(row, name)
            if gap is not None:
                p = corrected[question(t, r, name)]
                changes[name] = replace(gap, p=p, flagged=p < LEVEL)
        return replace(row, **changes)

    return tuple(
        replace(table, rows=tuple(row_of(t, r, row) for r, row in enumerate(table.rows)))
        for t, table in enumerate(tables)
    ), len(chances)
