"""An evaluation for a terminal: the summary, then one table per question."""

from __future__ import annotations

import textwrap

from imagesieve_server.core.verdict import Verdict
from imagesieve_server.offline.evaluation import wording
from imagesieve_server.offline.evaluation.results import (
    Compared,
    Comparison,
    Evaluation,
)
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.report.numbers import (
    index,
    percent,
    points,
    signed,
    with_interval,
)
from imagesieve_server.offline.report.table import table

WIDTH = 100
GAPS = 15
"""Gaps that are listed."""
VALUE = 32
"""Characters of a label file's text that are shown."""
_COMPARED = (
    "auc", "recall_at_fpr_1", "recall_at_threshold", "fpr_at_threshold", "fpr_at_equal_recall",
)  # fmt: skip
"""Measures of a comparison that are shown; the others are in the JSON and in the page."""


def summary(evaluation: Evaluation) -> str:
    """What was measured, and what to know of it."""
    lines = [wording.head_line(evaluation), wording.left_out_line(evaluation), *evaluation.notes]
    told = "\n".join(
        textwrap.fill(line, WIDTH, initial_indent="- ", subsequent_indent="  ")
        for line in wording.summary(evaluation)
    )
    return "\n".join(line for line in lines if line) + "\n\n" + told


def verdicts(evaluation: Evaluation) -> str:
    """Shares of each verdict."""
    found = evaluation.verdicts
    total = len(evaluation.labelled)
    counts = ", ".join(
        f"{verdict.value} {found.counts[verdict]} ({percent(found.counts[verdict] / total)})"
        for verdict in Verdict
    )
    return f"Verdicts: {counts}"


def figures(evaluation: Evaluation) -> str:
    """How well each category is told apart, whatever the thresholds."""
    head = ("category", "shows", "not", "AUC", "AP", "P@R.80", "P@R.90", "P@R.95", "R@FPR1%")
    rows = []
    for one in evaluation.categories:
        found = one.figures
        rows.append(
            (
                one.category.id,
                str(one.positives),
                str(one.negatives),
                _figure(found["auc"], share=False),
                _figure(found["average_precision"], share=False),
                *(_value(found[f"precision_at_recall_{recall}"]) for recall in (80, 90, 95)),
                _value(found["recall_at_fpr_1"]),
            )
        )
    told = [
        textwrap.fill(f"{one.category.id}: {why}", WIDTH, subsequent_indent="  ")
        for one in evaluation.categories
        for why in ([one.statement] if one.statement else one.lacking.values())
    ]
    return "\n".join(["Told apart, at any threshold (95 % intervals)", table(head, rows), *told])


def thresholds(evaluation: Evaluation) -> str:
    """What each category does at its present thresholds."""
    head = ("category", "threshold", "recall", "false positives", "precision here")
    rows = [
        (
            one.category.id,
            f"{at.name} {wording.threshold_text(at.threshold)}",
            _figure(at.recall, share=True),
            _figure(at.false_positive_rate, share=True),
            _figure(at.precision, share=True),
        )
        for one in evaluation.categories
        for at in one.at
    ]
    if not rows:
        return ""
    return "\n".join(["At the present thresholds", table(head, rows, left=2)])


def slices(evaluation: Evaluation) -> str:
    """What is served worse; every slice is in the JSON and in the page."""
    found = evaluation.slices
    worse = wording.worse_slices(evaluation)
    head = ("worse in", "category", "column", "value", "here", "than the rest", "p")
    rows = [
        (
            one.what, one.table.category, _short(one.table.column), _short(one.row.value),
            percent(one.here), points(one.gap.difference), f"{one.gap.p:.1g}",
        )
        for one in worse[:GAPS]
    ]  # fmt: skip
    lines = list(found.notes)
    if worse:
        more = [f"and {len(worse) - GAPS} more"] if len(worse) > GAPS else []
        title = (
            "Slices that are served worse than all other pictures, by more than chance (points; "
            f"p corrected for {found.tests} tests)"
        )
        lines = [textwrap.fill(title, WIDTH), table(head, rows, left=4), *more, *lines]
    elif found.tests:
        lines = [f"Slices: no gap beyond chance in {found.tests} tests", *lines]
    return "\n".join(lines)


def _short(text: str) -> str:
    return text if len(text) <= VALUE else text[: VALUE - 1] + "…"


def comparison(one: Comparison) -> str:
    """One choice against its alternative."""
    names = [name for name in _COMPARED if name in one.mean]
    if not names:
        return f"{one.question}\n  too few labels to say"
    head = ("category", *(f"{wording.MEASURE_TITLES[name]}" for name in names))
    rows = [
        (row.category, *(_compared(name, row.measures.get(name)) for name in names))
        for row in one.rows
    ]
    rows.append(("mean", *(_compared(name, one.mean[name]) for name in names)))
    return "\n".join(
        [
            one.question,
            textwrap.fill(
                f"{one.first} − {one.second}. {one.method}",
                WIDTH,
                initial_indent="  ",
                subsequent_indent="  ",
            ),
            table(head, rows),
        ]
    )


def _compared(name: str, found: Compared | None) -> str:
    if found is None:
        return "–"
    write = signed if name in wording.INDICES else points
    d = found.difference
    return f"{write(d.value)} [{write(d.low)}, {write(d.high)}]"


def _figure(found: Figure | None, *, share: bool) -> str:
    return "–" if found is None else with_interval(found, share=share)


def _value(found: Figure | None) -> str:
    return "–" if found is None else index(found.value)
