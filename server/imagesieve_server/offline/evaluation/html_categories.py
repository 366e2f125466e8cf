"""One card per category: headline figures, curves with the present thresholds on them, where
scores lie, and the most confident mistakes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from imagesieve_server.core.policy import Method, Scale, Threshold
from imagesieve_server.offline.evaluation import wording
from imagesieve_server.offline.evaluation.categories import MEASURES
from imagesieve_server.offline.evaluation.results import (
    AtThreshold,
    CategoryResult,
    Evaluation,
    Mistake,
)
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.measures.quality import precision
from imagesieve_server.offline.measures.ranking import Doubles, Ranking
from imagesieve_server.offline.report.numbers import THIN, count, index, log_odds, percent
from imagesieve_server.offline.report.page import paragraph
from imagesieve_server.offline.report.plots import Limit, two_histograms
from imagesieve_server.offline.report.svg import Axis, Chart, Line, Mark, share_axis
from imagesieve_server.offline.report.thumbnails import Thumbnail

NONE = '<span class="none">–</span>'
_CORNERS = 400
"""The most corners of a curve that are drawn."""
_RATES = Axis(
    low=0.0001,
    high=1.0,
    ticks=[
        (0.0001, f"0.01{THIN}%"),
        (0.001, "0.1"),
        (0.01, "1"),
        (0.1, "10"),
        (1.0, f"100{THIN}%"),
    ],
    label="false alarms among clean pictures (log scale)",
    log=True,
)


def figure_cell(figure: Figure | None) -> str:
    """An index with its interval below, for a table."""
    if figure is None:
        return NONE
    return f"{index(figure.value)}<small>{index(figure.low)} – {index(figure.high)}</small>"


def share_cell(figure: Figure | None) -> str:
    """A share with its interval below, for a table."""
    if figure is None:
        return NONE
    between = f"{percent(figure.low)} – {percent(figure.high)}"
    return f"{percent(figure.value)}<small>{between}</small>"


def categories(evaluation: Evaluation, thumbnails: Mapping[int, Thumbnail]) -> str:
    """All cards."""
    return "".join(_card(one, thumbnails) for one in evaluation.categories)


def _card(one: CategoryResult, thumbnails: Mapping[int, Thumbnail]) -> str:
    category = one.category
    pills = [
        f"severity {category.severity}",
        wording.mode_text(category.mode),
        f"method {category.method.value}",
        *(f"{at.name} {wording.threshold_text(at.threshold)}" for at in one.at),
    ]
    head = (
        f'<article class="card" id="category-{category.id}"><header>'
        f"<h3>{escape(category.title)}</h3><code>{category.id}</code>"
        + "".join(f'<span class="pill">{escape(pill)}</span>' for pill in pills)
        + "</header>"
    )
    said = (
        f"{count(one.positives)} pictures show it, {count(one.negatives)} do not"
        + (f", nobody said of {count(one.unsaid)}" if one.unsaid else "")
        + "."
    )
    body = (
        f'<p class="notice">{escape(one.statement)}</p>'
        if one.statement
        else _numbers(one) + "".join(map(_at_sentence, one.at)) + _plots(one)
    )
    mistakes = _mistakes(one, thumbnails)
    return f"{head}{paragraph(said, style='soft small')}{body}{mistakes}</article>"


def _numbers(one: CategoryResult) -> str:
    parts = []
    for name, asked in MEASURES.items():
        figure = one.figures[name]
        share = not name.startswith(("auc", "average"))
        write = percent if share else index
        title = asked.title[0].upper() + asked.title[1:]
        if figure is None:
            parts.append(
                f"<div><b>{NONE}</b><span>{escape(title)}: {escape(one.lacking[name])}</span></div>"
            )
        else:
            between = f"{write(figure.low)} – {write(figure.high)}"
            parts.append(
                f"<div><b>{write(figure.value)}</b><span>{escape(title)}<br>{between}</span></div>"
            )
    return f'<div class="numbers">{"".join(parts)}</div>'


def _at_sentence(at: AtThreshold) -> str:
    shown, clean = at.hits + at.misses, at.false_alarms + at.passed
    text = (
        f"At {at.name} {wording.threshold_text(at.threshold)}: {count(at.hits)} of {count(shown)} "
        f"are caught and {count(at.misses)} missed; {count(at.false_alarms)} of {count(clean)} "
        "clean ones are flagged."
    )
    rare = wording.right_when_rare(at)
    if rare is not None:
        text += (
            f" If one upload in {count(round(1 / wording.RARE))} showed it, {percent(rare.value)} "
            f"({percent(rare.low)} to {percent(rare.high)}) of the flags would be right."
        )
    return paragraph(text)


# --- plots --------------------------------------------------------------------------------------


def _plots(one: CategoryResult) -> str:
    ranking = Ranking(one.log_odds, one.positive)
    steps = ranking.steps()
    recall = steps.true[0] / steps.positives[0, 0]
    rate = steps.false[0] / steps.negatives[0, 0]
    right = precision(steps)[0]
    first = next((number for number, value in enumerate(recall.tolist()) if value > 0), 0)
    roc = Chart(
        x=_RATES,
        y=share_axis("caught (recall)"),
        about=f"Recall over the false-positive rate of {one.category.title}",
        lines=[
            Line(points=[(10 ** (k / 10), 10 ** (k / 10)) for k in range(-40, 1)], style="even"),
            Line(points=_thinned(np.append(0.0, rate), np.append(0.0, recall))),
        ],
        marks=[_mark(at, "rate") for at in one.at if at.false_positive_rate and at.recall],
    )
    pr = Chart(
        x=share_axis("caught (recall)"),
        y=share_axis("flags that are right (precision)"),
        about=f"Precision over the recall of {one.category.title}",
        lines=[Line(points=_thinned(recall[first:], right[first:]))],
        marks=[_mark(at, "precision") for at in one.at if at.precision],
    )
    scale = "cosine" if one.category.method is Method.COSINE else "log-odds"
    histogram = two_histograms(
        one.log_odds[one.positive],
        one.log_odds[~one.positive],
        names=("show it", "do not"),
        limits=_limits(one),
        label=f"{scale} of each picture (the highest of its views)",
    )
    return (
        f'<div class="plots"><figure>{roc.svg()}<figcaption>Further to the upper left is better; '
        "the dotted line is chance. Circles are the present thresholds.</figcaption></figure>"
        f"<figure>{pr.svg()}<figcaption>Further to the upper right is better.</figcaption></figure>"
        "</div><h4>Where the scores lie</h4>"
        f'<figure><div class="scroll">{histogram}</div><figcaption>Above the line: '
        "pictures that show it. Below: those that do not. Each side is scaled to its own highest "
        "bar; what lies right of a dashed line is flagged.</figcaption></figure>"
    )


def _mark(at: AtThreshold, kind: str) -> Mark:
    assert at.recall is not None
    assert at.false_positive_rate is not None
    caught = f"catches {percent(at.recall.value)}"
    if kind == "rate":
        y = at.recall
        x = at.false_positive_rate.value
        about = f"{at.name}: {caught}, flags {percent(x)} of the clean ones"
    else:
        assert at.precision is not None
        y, x = at.precision, at.recall.value
        about = f"{at.name}: {caught}, {percent(y.value)} of the flags are right"
    return Mark(
        x=x, y=y.value, low=y.low, high=y.high, label=at.name, about=about,
        label_left=kind == "precision",
    )  # fmt: skip


def _thinned(x: Doubles, y: Doubles) -> list[tuple[float, float]]:
    chosen = np.unique(np.linspace(0, len(x) - 1, _CORNERS).round().astype(int))
    return [(float(x[n]), float(y[n])) for n in chosen]


def _limits(one: CategoryResult) -> list[Limit]:
    """The stills' thresholds, where they are numbers on the histogram's scale."""
    found = []
    for at in one.at:
        place = _place(at.threshold, one.category.method) if at.threshold else math.inf
        if math.isfinite(place):
            found.append(Limit(at=place, name=at.name))
    return found


def _place(threshold: Threshold, method: Method) -> float:
    if method is Method.COSINE or threshold.scale is Scale.LOGIT:
        return threshold.value
    return threshold.log_odds()


# --- mistakes -------------------------------------------------------------------------------------


def _mistakes(one: CategoryResult, thumbnails: Mapping[int, Thumbnail]) -> str:
    parts = []
    for title, found in (
        ("The most confident false alarms", one.false_alarms),
        ("The most confident misses", one.misses),
    ):
        if found:
            parts.append(f"<h4>{title}</h4>{_thumbs(found, thumbnails)}")
    return "".join(parts)


def _thumbs(found: Sequence[Mistake], thumbnails: Mapping[int, Thumbnail]) -> str:
    inner = "".join(_thumb(one, thumbnails.get(one.view)) for one in found)
    return f'<div class="thumbs">{inner}</div>'


def _thumb(one: Mistake, thumbnail: Thumbnail | None) -> str:
    image = thumbnail.html(one.file) if thumbnail else ""
    if math.isfinite(one.margin):
        side = "above" if one.margin >= 0 else "below"
        distance = f"{abs(one.margin):.1f} {side}"
    else:
        distance = f"log-odds {log_odds(one.log_odds)}"
    about = f"{one.file}: log-odds {log_odds(one.log_odds)}"
    return (
        f'<div class="thumb" title="{escape(about)}">{image}'
        f'<span class="name">{escape(one.file)}</span>{distance}</div>'
    )
