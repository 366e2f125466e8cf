"""An evaluation in plain words: what a policy person should know before any table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagesieve_server.core.policy import Mode, Scale, Threshold
from imagesieve_server.offline.evaluation.results import (
    AtThreshold,
    CategoryResult,
    Compared,
    Comparison,
    Evaluation,
    Gap,
    SliceRow,
    SliceTable,
)
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.report.numbers import THIN, count, index, percent

RARE = 0.001
"""How often an offence might be among real uploads: the example of ``right_when_rare``."""

MEASURE_TITLES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "recall_at_fpr_1": f"recall at 1{THIN}% FPR",
    "recall_at_threshold": "recall now",
    "fpr_at_threshold": "false positives now",
    "fpr_at_equal_recall": "false positives at equal recall",
}
INDICES = ("auc", "average_precision")
"""Measures that are no shares of pictures."""
LOWER_IS_BETTER = ("fpr_at_threshold", "fpr_at_equal_recall")


def threshold_text(threshold: Threshold | None) -> str:
    """0.6, or logit 2.5."""
    if threshold is None:
        return "by kind of view"
    prefix = "logit " if threshold.scale is Scale.LOGIT else ""
    return f"{prefix}{threshold.value:g}"


def of_a_hundred(figure: Figure) -> str:
    """85 (84 to 86); below ten with a decimal."""

    def number(share: float) -> str:
        value = share * 100
        whole = value >= 9.95 or value == 0
        return f"{value:.0f}" if whole else f"{value:.1f}" if value >= 0.1 else f"{value:.2f}"

    return f"{number(figure.value)} ({number(figure.low)} to {number(figure.high)})"


def right_when_rare(at: AtThreshold, *, prevalence: float = RARE) -> Figure | None:
    """The share of flags that would be right where ``prevalence`` of uploads show it.

    Bayes' rule with this set's recall and false-positive rate; from the worst ends of their
    intervals to the best, since no wrong flag among a few hundred pictures does not mean none
    among a million. None where either is not known or nothing is flagged.
    """
    recall, wrong = at.recall, at.false_positive_rate
    if recall is None or wrong is None or not at.hits + at.false_alarms:
        return None

    def share(caught: float, false: float) -> float:
        return caught * prevalence / (caught * prevalence + false * (1 - prevalence))

    return Figure(
        value=share(recall.value, wrong.value),
        low=share(recall.low, wrong.high),
        high=share(recall.high, wrong.low),
    )


def summary(evaluation: Evaluation) -> list[str]:
    """A few sentences, the most important first."""
    return [*_overall(evaluation), *findings(evaluation)]


def findings(evaluation: Evaluation) -> list[str]:
    """The same without what is said of all pictures together."""
    return [
        *_observed(evaluation),
        *_weakest(evaluation.categories),
        *_no_figures(evaluation.categories),
        *_gaps(evaluation),
        *(conclusion(one) for one in evaluation.comparisons if one.mean),
    ]


def _overall(evaluation: Evaluation) -> list[str]:
    found = evaluation.verdicts
    lines = []
    if found.flagged_showing:
        lines.append(
            "Of 100 pictures that show something this policy enforces, it flags about "
            f"{of_a_hundred(found.flagged_showing)}."
        )
    if found.flagged_clean:
        lines.append(
            "Of 100 pictures that show nothing of it, it flags about "
            f"{of_a_hundred(found.flagged_clean)}."
        )
    return lines


def _observed(evaluation: Evaluation) -> list[str]:
    share = evaluation.verdicts.observed_only.value
    if not share:
        return []
    return [
        f"Categories in mode observe would flag another {percent(share)} of the pictures if they "
        "were enforced."
    ]


def _weakest(categories: Sequence[CategoryResult]) -> list[str]:
    known = [(c, found.value) for c in categories if (found := c.figures["auc"]) is not None]
    if len(known) < 2:
        return []
    worst, auc = min(known, key=lambda pair: pair[1])
    line = f"{worst.category.title} is told apart least well (AUC {index(auc)})."
    at = next((one for one in worst.at if one.recall and one.precision), None)
    if at and at.recall and at.precision:
        line += (
            f" At its threshold it catches {of_a_hundred(at.recall)} of 100 and "
            f"{of_a_hundred(at.precision)} of 100 flags are right, in this set."
        )
    return [line]


def _no_figures(categories: Sequence[CategoryResult]) -> list[str]:
    without = [c.category.title for c in categories if c.statement]
    if not without:
        return []
    return [f"Too few labels to say anything of {_listed(without)}; the table says how many more."]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorseSlice:
    """A slice that is served worse than all other pictures, by more than chance."""

    table: SliceTable
    row: SliceRow
    what: str  # recall | false positives
    here: float
    gap: Gap


def worse_slices(evaluation: Evaluation) -> list[WorseSlice]:
    """Slices with less recall or more false positives than the rest; the surest first."""
    found = []
    for table in evaluation.slices.tables:
        for row in table.rows:
            for what, here, gap, sign in (
                ("recall", row.recall, row.recall_gap, -1),
                ("false positives", row.false_positive_rate, row.false_positive_gap, 1),
            ):
                if gap and here and gap.flagged and gap.difference * sign > 0:
                    found.append(
                        WorseSlice(table=table, row=row, what=what, here=here.value, gap=gap)
                    )
    return sorted(found, key=lambda one: one.gap.p)


def _gaps(evaluation: Evaluation) -> list[str]:
    slices = evaluation.slices
    if not slices.tests:
        return []
    worse = worse_slices(evaluation)
    if not worse:
        return [
            "No slice of the pictures is served worse than the rest by more than chance "
            f"({count(slices.tests)} comparisons)."
        ]
    widest = max(worse, key=lambda one: abs(one.gap.difference))
    title = {c.category.id: c.category.title for c in evaluation.categories}
    size = f"{abs(widest.gap.difference) * 100:.0f}"
    side = "less recall" if widest.what == "recall" else "more false positives"
    served = "slice of the pictures is" if len(worse) == 1 else "slices of the pictures are"
    return [
        f"{count(len(worse))} {served} served worse than the rest by more than chance. "
        f"The widest gap: {title[widest.table.category]} has {size} points {side} where "
        f"{widest.table.column} is {widest.row.value}."
    ]


HARDLY = 0.002
"""A difference of AUC below which nobody should change a policy, however sure it is."""


def conclusion(one: Comparison) -> str:
    """What a comparison says, in a sentence or two."""
    if one.id == "counter_prompts" and "fpr_at_threshold" in one.mean:
        return f"{one.question} {_counter_prompts(one.mean)}"
    auc = one.mean["auc"]
    values = f"(AUC: {one.first} {index(auc.first)}, {one.second} {index(auc.second)})"
    if auc.difference.low <= 0 <= auc.difference.high:
        return f"{one.question} These pictures show no difference {values}."
    if abs(auc.difference.value) < HARDLY:
        return f"{one.question} Hardly any difference {values}."
    return (
        f"{one.question} Better: {one.first if auc.difference.value > 0 else one.second} {values}."
    )


def _counter_prompts(mean: Mapping[str, Compared]) -> str:
    """They move a threshold as well as telling things apart, so both are said."""
    false, recall = mean["fpr_at_threshold"], mean["recall_at_threshold"]
    text = (
        f"At the present thresholds they take false positives from {percent(false.second)} to "
        f"{percent(false.first)} and recall from {percent(recall.second)} to "
        f"{percent(recall.first)}"
    )
    equal = mean.get("fpr_at_equal_recall")
    if equal is None:
        return f"{text}."
    values = f"{percent(equal.second)} without, {percent(equal.first)} with"
    if equal.difference.low <= 0 <= equal.difference.high:
        return f"{text}. At equal recall these pictures show no difference ({values})."
    return f"{text}. At equal recall: {values}."


def head_line(evaluation: Evaluation) -> str:
    """What was measured on what."""
    labelled = evaluation.labelled
    return (
        f"policy {evaluation.policy.name} {evaluation.policy.version[:12]}, model "
        f"{evaluation.model} {labelled.model_fingerprint[:12]}, "
        f"{count(len(labelled))} pictures seen in {count(len(labelled.views))} views"
    )


def left_out_line(evaluation: Evaluation) -> str:
    """Which pictures could not be looked at; "" where all could."""
    found = evaluation.labelled.left_out
    if not found:
        return ""
    reasons = Counter(one.reason for one in found).most_common()
    listed = ", ".join(f"{reason} {number}" for reason, number in reasons)
    return f"{count(len(found))} pictures are left out, undecodable: {listed}"


def mode_text(mode: Mode) -> str:
    """Enforced, or only observed."""
    return "enforced" if mode is Mode.ENFORCE else "observed only"


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
