"""An evaluation as the bodies of a page's sections: summary, slices, comparisons, glossary.

Everything that comes from a label file, a policy or a file name goes through ``escape``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from html import escape

from imagesieve_server.core.verdict import Verdict
from imagesieve_server.offline.evaluation import wording
from imagesieve_server.offline.evaluation.html_categories import figure_cell, share_cell
from imagesieve_server.offline.evaluation.results import (
    CategoryResult,
    Compared,
    Comparison,
    Evaluation,
    Gap,
    SliceRow,
    SliceTable,
)
from imagesieve_server.offline.evaluation.slices import SEEN_AS
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.report.numbers import count, index, percent, points, signed
from imagesieve_server.offline.report.page import paragraph, table
from imagesieve_server.offline.report.plots import forest

NONE = '<span class="none">–</span>'


# --- in short -----------------------------------------------------------------------------------


def summary(evaluation: Evaluation) -> str:
    """Headline tiles, the bar of verdicts, a few sentences, and all categories at a glance."""
    told = "".join(f"<li>{escape(line)}</li>" for line in wording.findings(evaluation))
    notes = [wording.left_out_line(evaluation), *evaluation.notes]
    return (
        _tiles(evaluation)
        + _bar(evaluation)
        + f'<ul class="findings">{told}</ul>'
        + "".join(paragraph(note, style="soft small") for note in notes if note)
        + _glance(evaluation.categories)
    )


def _tiles(evaluation: Evaluation) -> str:
    found = evaluation.verdicts
    tiles = []
    for share, text in (
        (found.flagged_showing, "of the pictures that show something forbidden are flagged"),
        (found.flagged_clean, "of the pictures that show nothing of it are flagged too"),
    ):
        if share is not None:
            between = f"between {percent(share.low)} and {percent(share.high)}"
            tiles.append((percent(share.value), f"{text}; {between}"))
    labelled = evaluation.labelled
    tiles.append(
        (count(len(labelled)), f"pictures, looked at in {count(len(labelled.views))} views")
    )
    with_figures = sum(not c.statement for c in evaluation.categories)
    tiles.append(
        (f"{with_figures} of {len(evaluation.categories)}", "categories have labels enough")
    )
    inner = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(text)}</span></div>'
        for value, text in tiles
    )
    return f'<div class="tiles">{inner}</div>'


def _bar(evaluation: Evaluation) -> str:
    counts, total = evaluation.verdicts.counts, len(evaluation.labelled)
    bars = "".join(
        f'<span class="{verdict.lower()}" style="flex:{counts[verdict]}"></span>'
        for verdict in Verdict
        if counts[verdict]
    )
    legend = "".join(
        f'<span><i class="{verdict.lower()}"></i>{verdict} {count(counts[verdict])} '
        f"({percent(counts[verdict] / total)})</span>"
        for verdict in Verdict
    )
    return f'<div class="verdicts">{bars}</div><div class="legend">{legend}</div>'


def _glance(categories: Sequence[CategoryResult]) -> str:
    head = (
        "category", "show it", "AUC", "caught now<br>(recall)",
        "false alarms among<br>clean pictures", "flags that are right<br>in this set",
    )  # fmt: skip
    rows = []
    for one in categories:
        at = one.at[0] if one.at else None
        rows.append(
            (
                f'<a href="#category-{one.category.id}">{escape(one.category.title)}</a>',
                count(one.positives),
                figure_cell(one.figures["auc"]),
                share_cell(at.recall if at else None),
                share_cell(at.false_positive_rate if at else None),
                share_cell(at.precision if at else None),
            )
        )
    return "<h4>All categories at a glance</h4>" + table(head, rows)


# --- slices -------------------------------------------------------------------------------------


def slices(evaluation: Evaluation) -> str:
    """A matrix of values by categories for each column, once for recall, once for false alarms."""
    found = evaluation.slices
    by_column: dict[str, list[SliceTable]] = defaultdict(list)
    for one in found.tables:
        by_column[one.column].append(one)
    if not by_column:
        return paragraph("The label file has no column to slice by.", style="soft")
    titles = {c.category.id: c.category.title for c in evaluation.categories}
    intro = (
        f"Each cell is a share among the pictures of that row, at the present thresholds. Colored "
        f"cells differ from all other pictures by more than chance: Fisher's exact test, corrected "
        f"(Holm) for all {count(found.tests)} tests of this report, so that a report without any "
        f"real gap colors one in {1 / found.level:.0f} times. ▼ is worse than the rest, ▲ better. "
        "Cells with fewer than ten pictures are empty."
    )
    cards = "".join(_column(name, tables, titles) for name, tables in by_column.items())
    return (
        paragraph(intro, style="soft")
        + cards
        + "".join(paragraph(note, style="soft small") for note in found.notes)
    )


def _column(name: str, tables: Sequence[SliceTable], titles: dict[str, str]) -> str:
    head = [escape(name), "pictures", *(escape(titles[one.category]) for one in tables)]
    values = [row.value for row in tables[0].rows]
    title = "how the picture was seen" if name == SEEN_AS else name
    parts = [f'<article class="card slices"><h3>By {escape(title)}</h3>']
    for heading, what in (("Recall", "recall"), ("False alarms among clean pictures", "false")):
        rows = [
            [
                escape(value),
                count(tables[0].rows[number].positives + tables[0].rows[number].negatives),
                *(_slice_cell(one.rows[number], what) for one in tables),
            ]
            for number, value in enumerate(values)
        ]
        parts.append(f"<h4>{heading}</h4>" + table(head, rows))
    return "".join(parts) + "</article>"


def _slice_cell(row: SliceRow, what: str) -> str:
    recall = what == "recall"
    share: Figure | None = row.recall if recall else row.false_positive_rate
    gap: Gap | None = row.recall_gap if recall else row.false_positive_gap
    if share is None:
        return NONE
    of = row.positives if recall else row.negatives
    about = f"between {percent(share.low)} and {percent(share.high)}, of {count(of)}"
    if gap is None:
        return f'<td title="{escape(about)}">{percent(share.value)}</td>'
    about += f"; {points(gap.difference)} points against the rest, p = {gap.p:.2g}"
    if not gap.flagged:
        return f'<td title="{escape(about)}">{percent(share.value)}</td>'
    worse = (gap.difference < 0) == recall
    style, sign = ("worse", "▼") if worse else ("better", "▲")
    return f'<td class="{style}" title="{escape(about)}">{percent(share.value)} {sign}</td>'


# --- comparisons ----------------------------------------------------------------------------------


def comparisons(evaluation: Evaluation) -> str:
    """Each choice as a question, its answer, and a forest of differences."""
    titles = {c.category.id: c.category.title for c in evaluation.categories}
    intro = (
        "Each choice against its alternative on the same pictures. A bar is the 95 % interval of "
        "the difference; blue ones do not reach zero."
    )
    return paragraph(intro, style="soft") + "".join(
        _comparison(one, titles) for one in evaluation.comparisons
    )


def _comparison(one: Comparison, titles: dict[str, str]) -> str:
    head = (
        f'<article class="card comparison" id="comparison-{one.id}"><h3>{escape(one.question)}</h3>'
    )
    if not one.mean:
        return f"{head}{paragraph('Too few labels to say.')}</article>"
    answer = wording.conclusion(one).removeprefix(one.question).strip()
    shown = "fpr_at_threshold" if one.id == "counter_prompts" else "auc"
    shares = shown not in wording.INDICES
    found = [(titles[row.category], row.measures[shown]) for row in one.rows if row.measures]
    rows = [
        (name, _scaled(compared.difference, 100.0 if shares else 1.0), _difference(shown, compared))
        for name, compared in [*found, ("mean", one.mean[shown])]
    ]
    unit = ", in points" if shares else ""
    label = f"{wording.MEASURE_TITLES[shown]}: {one.first} − {one.second}{unit}"
    drawn = forest(rows, label=label, least=1.0 if shares else 0.02)
    return (
        f'{head}{paragraph(answer)}<div class="scroll">{drawn}</div>'
        f"<details><summary>All measures</summary>{_measures(one, titles)}"
        f"{paragraph(one.method, style='soft small')}</details></article>"
    )


def _scaled(figure: Figure, by: float) -> Figure:
    return Figure(value=figure.value * by, low=figure.low * by, high=figure.high * by)


def _difference(name: str, found: Compared) -> str:
    write = signed if name in wording.INDICES else points
    d = found.difference
    return f"{write(d.value)} [{write(d.low)}, {write(d.high)}]"


def _measures(one: Comparison, titles: dict[str, str]) -> str:
    names = list(one.mean)
    head = ["category", *(wording.MEASURE_TITLES[name] for name in names)]
    rows = [
        [
            escape(titles[row.category])
            + (f"<small>{escape(row.note)}</small>" if row.note else ""),
            *(_compared(name, row.measures.get(name)) for name in names),
        ]
        for row in one.rows
    ]
    rows.append(["mean", *(_compared(name, one.mean[name]) for name in names)])
    return table(head, rows)


def _small(note: str) -> str:
    return f"<small>{escape(note)}</small>" if note else ""


def _compared(name: str, found: Compared | None) -> str:
    if found is None:
        return NONE
    value = index if name in wording.INDICES else percent
    change = _difference(name, found)
    return f"{value(found.first)} / {value(found.second)}<small>{change}</small>"


# --- reading aid ----------------------------------------------------------------------------------

_WORDS = (
    ("Recall", "Of the pictures that show it, the share that is flagged. What is not flagged goes "
     "out unseen."),
    ("False positives", "Of the pictures that do not show it, the share that is flagged anyway. "
     "They cost reviewers' time and uploaders' patience."),
    ("Precision", "Of the flagged pictures, the share that shows it. It depends on how rare "
     "offences are: in real uploads they are usually much rarer than in a labelled set, and far "
     "more of the flags are false alarms. Each card says what it would be at one in a thousand."),
    ("AUC", "The chance that a picture that shows it scores above one that does not. .5 is a coin, "
     "1 is perfect; it says nothing about the threshold."),
    ("Average precision", "Precision averaged over all thresholds; harder on false alarms among "
     "the highest scores than the AUC."),
    ("Interval", "The values that would not surprise, had other pictures of the same kind been "
     "labelled. It knows nothing of wrong labels, or of pictures unlike the labelled ones."),
    ("Log-odds", "The scale on which scores are compared: 0 is as much like the category as like "
     "ordinary content, each 0.7 more doubles the odds."),
)  # fmt: skip


def reading_aid(evaluation: Evaluation) -> str:
    """What the words mean, and the pictures that are not in the figures."""
    terms = "".join(f"<dt>{escape(t)}</dt><dd>{escape(text)}</dd>" for t, text in _WORDS)
    left_out = evaluation.labelled.left_out
    listed = "".join(
        f"<li><code>{escape(one.file)}</code> {escape(one.reason)}</li>" for one in left_out[:500]
    )
    more = f"<p>and {count(len(left_out) - 500)} more</p>" if len(left_out) > 500 else ""
    files = (
        f"<details><summary>{count(len(left_out))} pictures that could not be decoded</summary>"
        f"<ul>{listed}</ul>{more}</details>"
        if left_out
        else ""
    )
    return f'<dl class="words">{terms}</dl>{files}'
