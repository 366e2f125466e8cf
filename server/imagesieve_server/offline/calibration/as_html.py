"""A calibration's outcome as the sections of a page, with reliability diagrams.

Names come from the policy and are escaped where they enter the page.
"""

from __future__ import annotations

import math
from html import escape

from imagesieve_server.core.binomial import Share
from imagesieve_server.core.policy import Threshold
from imagesieve_server.offline.calibration import summary
from imagesieve_server.offline.calibration.outcome import CategoryOutcome, Outcome
from imagesieve_server.offline.calibration.reliability import Bin, Reliability
from imagesieve_server.offline.calibration.view_kinds import PICTURES
from imagesieve_server.offline.policy_text.written import threshold_text
from imagesieve_server.offline.report.numbers import count, percent
from imagesieve_server.offline.report.page import page, paragraph, table
from imagesieve_server.offline.report.section import Section
from imagesieve_server.offline.report.svg import Axis, Chart, Line, Mark

_LEAST, _MOST = 0.0003, 0.9997  # what lies beyond is drawn at the edge
_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


def report(outcome: Outcome, *, policy: str, model: str, diff: str) -> str:
    """The whole page. ``diff`` is the change to the policy's text."""
    categories = Section(
        id="categories",
        title="Category by category",
        text="",
        data=None,
        html=lambda: "".join(_card(one, outcome) for one in outcome.categories),
        entries=[(_anchor(one), one.category.title) for one in outcome.categories],
    )
    sections = [
        Section(id="short", title="In short", text="", data=None, html=lambda: _short(outcome)),
        categories,
        Section(id="change", title="The change", text="", data=None, html=lambda: _change(diff)),
        Section(id="words", title="What the words mean", text="", data=None, html=_words),
    ]
    return page(
        title=f"Thresholds for {policy}",
        subtitle=f"The goal: {summary.goal_text(outcome.goal)}. Model {model}.",
        sections=sections,
        footer=f"{outcome.folds} folds, seed {outcome.seed}. imagesieve-server calibrate",
    )


def _short(outcome: Outcome) -> str:
    head = ("category", "threshold now", "new", "false alarms now", "held out", "recall now",
            "held out", "calibration error<br>before → held out")  # fmt: skip
    rows = [
        (
            f'<a href="#{_anchor(one)}">{escape(one.category.title)}</a>',
            _limit(one.category.thresholds.review_at),
            _limit(one.review_at),
            _share(one.now.fpr),
            _share(one.held_out.fpr),
            _share(one.now.recall),
            _share(one.held_out.recall),
            _errors(one),
        )
        for one in outcome.categories
    ]
    tiles = (
        (outcome.flagged_now, "of the pictures go to review with the policy as it is"),
        (outcome.flagged_held_out, "of them with thresholds chosen in this way, held out"),
    )
    shown = "".join(
        f'<div class="tile"><b>{percent(share.value)}</b><span>{text}; between '
        f"{percent(share.low)} and {percent(share.high)}</span></div>"
        for share, text in tiles
    )
    notes = "".join(paragraph(note, style="soft small") for note in outcome.notes)
    return f'<div class="tiles">{shown}</div>{table(head, rows)}{notes}'


def _card(one: CategoryOutcome, outcome: Outcome) -> str:
    numbers = (
        (_limit(one.review_at), "new review_at"),
        *((_limit(limit), f"for views of kind {kind.value}") for kind, limit in one.views.items()),
        (_plain(one.held_out.fpr), "false alarms, held out"),
        (_plain(one.held_out.recall), "recall, held out"),
        (_plain(one.held_out.precision), "of the flags are right, held out"),
    )
    shown = "".join(f"<div><b>{value}</b><span>{text}</span></div>" for value, text in numbers)
    return (
        f'<article class="card" id="{_anchor(one)}"><header><h3>{escape(one.category.title)}</h3>'
        f'<span class="pill">{escape(one.category.id)}</span>'
        f'<span class="pill">{count(one.yes)} with it</span>'
        f'<span class="pill">{count(one.no)} without</span></header>'
        f'<div class="numbers">{shown}</div>'
        + paragraph(f"Rests on {summary.rests_on(one, outcome.goal)}.", style="soft small")
        + _kinds(one)
        + _diagrams(one)
        + "</article>"
    )


def _kinds(one: CategoryOutcome) -> str:
    if len(one.kinds) < 2:
        return ""
    separate = any(kind.separate for kind in one.kinds)
    head = ["kind of picture", "pictures", "false alarms", "recall"]
    head += ["false alarms,<br>one threshold per kind", "recall,<br>per kind"] if separate else []
    rows = []
    for kind in one.kinds:
        found = [kind.shared, *([kind.separate] if kind.separate else [])]
        pictures = kind.shared.fpr.of + kind.shared.recall.of
        cells = [cell for each in found for cell in (_share(each.fpr), _share(each.recall))]
        rows.append([PICTURES[kind.kind], count(pictures), *cells])
    return "<h4>Kinds of pictures, held out</h4>" + table(head, rows)


def _diagrams(one: CategoryOutcome) -> str:
    found = one.calibrated
    if found.after is None:
        return paragraph(f"No calibration: {found.why_not}.", style="soft")
    before = _figure(found.before, "as the policy is now") if found.before else ""
    after = _figure(found.after, f"calibrated ({summary.method_name(found)}), held out")
    return f'<h4>Probabilities</h4><div class="plots">{before}{after}</div>'


def _figure(found: Reliability, name: str) -> str:
    caption = (
        f"{name[0].upper()}{name[1:]}: calibration error {found.ece:.3f} "
        f"({found.chance:.3f} by chance alone)"
    )
    return f"<figure>{_chart(found, name)}<figcaption>{escape(caption)}</figcaption></figure>"


def _chart(found: Reliability, name: str) -> str:
    """Both axes in log-odds, so that the many improbable pictures are not one point."""
    ends = (_place(_LEAST), _place(_MOST))
    ticks = [(_place(p), f"{100 * p:g}" + (" %" if p == _TICKS[-1] else "")) for p in _TICKS]
    return Chart(
        x=Axis(low=ends[0], high=ends[1], ticks=ticks, label="probability said"),
        y=Axis(low=ends[0], high=ends[1], ticks=ticks, label="share that shows it"),
        about=f"Reliability diagram, {name}: shares that show it over probabilities said",
        lines=[Line(points=[(ends[0], ends[0]), (ends[1], ends[1])], style="even")],
        marks=[_mark(one) for one in found.bins],
        height=300.0,
    ).svg()


def _mark(one: Bin) -> Mark:
    share = one.observed
    return Mark(
        x=_place(one.predicted),
        y=_place(share.value),
        low=_place(share.low),
        high=_place(share.high),
        about=f"of {share.of} pictures given {percent(one.predicted)} on average, "
        f"{percent(share.value)} show it (between {percent(share.low)} and {percent(share.high)})",
    )


def _place(p: float) -> float:
    p = min(max(p, _LEAST), _MOST)
    return math.log(p / (1.0 - p))


def _change(diff: str) -> str:
    if not diff:
        return paragraph("Nothing changes.")
    lines = "".join(_diff_line(line) for line in diff.splitlines(keepends=True))
    return f'<div class="card scroll"><pre>{lines}</pre></div>'


def _diff_line(line: str) -> str:
    """With its color; the sign in front says the same."""
    style = {"+": "better", "-": "worse"}.get(line[:1], "")
    if line.startswith(("@@", "---", "+++")):
        style = "soft"
    return f'<span class="{style}">{escape(line)}</span>' if style else escape(line)


def _words() -> str:
    entries = (
        ("false alarms", "Pictures without the category that are flagged ÷ all pictures without "
         "it: the false-positive rate."),
        ("recall", "Pictures with the category that are flagged ÷ all pictures with it."),
        ("held out", "Each fold of the pictures was judged by thresholds and probabilities that "
         "the other folds chose. The written ones are chosen on all pictures."),
        ("calibration error", "The mean distance between the probability said and the share of "
         "pictures that show the category, over bins of equally many pictures. By chance alone: "
         "what perfect probabilities would show on as many pictures."),
        ("reliability diagram", "Points on the dotted line are right; below it, the probabilities "
         "are too high. Bars are exact 95 % intervals; both scales are stretched at the ends."),
    )  # fmt: skip
    inner = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f'<dl class="words">{inner}</dl>'


def _anchor(one: CategoryOutcome) -> str:
    return f"category-{one.category.id}"


def _limit(threshold: Threshold | None) -> str:
    if threshold is None:
        return "–"
    return escape(threshold_text(threshold)).replace(" ", "&nbsp;")


def _plain(share: Share) -> str:
    return percent(share.value) if share.of else "–"


def _share(share: Share) -> str:
    if not share.of:
        return "–"
    return f"{percent(share.value)}<small>{percent(share.low)} – {percent(share.high)}</small>"


def _errors(one: CategoryOutcome) -> str:
    found = one.calibrated
    if found.after is None:
        return "–"
    before = f"{found.before.ece:.3f} → " if found.before else ""
    return f"{before}{found.after.ece:.3f}"
