"""A policy with one choice made otherwise, measured against the policy on the same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Category, Policy, PromptGroup
from imagesieve_server.offline.evaluation.judging import flagged
from imagesieve_server.offline.evaluation.results import Compared, ComparisonRow
from imagesieve_server.offline.labelled.label_file import UNSAID, YES
from imagesieve_server.offline.labelled.labelled_set import LabelledSet, category_logits
from imagesieve_server.offline.measures import bootstrap, needed, quality
from imagesieve_server.offline.measures.bootstrap import Measured, Resampling
from imagesieve_server.offline.measures.quality import Measure
from imagesieve_server.offline.measures.ranking import Doubles, Flags

RECALL, FALSE_POSITIVES = "recall_at_threshold", "fpr_at_threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One category, one way of scoring it, over N pictures."""

    log_odds: Doubles  # [N], the maximum over views
    flagged: Flags | None  # [N], at the present thresholds; None where they mean nothing


def variant_of(
    policy: Policy, category: Category, labelled: LabelledSet, *, thresholds: bool = True
) -> Variant:
    """A category's variant; ``thresholds`` False where it is on another scale."""
    logits = category_logits(policy, category, labelled)
    highest = np.asarray(np.maximum.reduceat(logits, labelled.starts), dtype=np.float64)
    return Variant(
        log_odds=highest, flagged=flagged(category, logits, labelled) if thresholds else None
    )


def without_counter_prompts(category: Category) -> Category:
    """The category with no benign look-alikes to measure against."""
    nothing = PromptGroup(texts=(), vectors=np.zeros((0, 0), dtype=np.float32))
    return replace(category, counter_prompts=nothing)


def with_prompt(category: Category, number: int) -> Category:
    """The category with one of its prompts alone."""
    rows = slice(number, number + 1)
    group = category.prompts
    return replace(
        category, prompts=PromptGroup(texts=group.texts[rows], vectors=group.vectors[rows])
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The pictures that two variants are measured on."""

    chosen: npt.NDArray[np.intp]  # numbers of pictures
    positive: Flags  # [len(chosen)]

    @property
    def enough(self) -> bool:
        """Whether there are enough of both kinds for any measure."""
        shown = int(self.positive.sum())
        return min(shown, len(self.positive) - shown) >= needed.LEAST_EACH


def sides(labelled: LabelledSet, category: str, among: Flags | None = None) -> Sides:
    """The pictures somebody spoke of, ``among`` some [N] or all."""
    answers = labelled.labels[category]
    chosen = answers != UNSAID if among is None else (answers != UNSAID) & among
    numbers = np.flatnonzero(chosen)
    return Sides(chosen=numbers, positive=answers[numbers] == YES)


def compare(
    first: Variant,
    second: Variant,
    on: Sides,
    resampling: Resampling,
    *,
    also: Mapping[str, Measure] | None = None,
) -> dict[str, tuple[Measured, Measured]]:
    """Measure → both variants on the same resamples; empty where there are too few pictures."""
    if not on.enough:
        return {}
    measures: dict[str, Measure] = {
        "auc": quality.roc_auc,
        "average_precision": quality.average_precision,
        **(also or {}),
    }
    if int((~on.positive).sum()) >= needed.for_rate(0.01):
        measures["recall_at_fpr_1"] = quality.recall_at_fpr(0.01)
    numbers = on.chosen
    found = bootstrap.measure(
        {"first": first.log_odds[numbers], "second": second.log_odds[numbers]},
        on.positive,
        measures,
        resampling,
    )
    pairs = {name: (found["first"][name], found["second"][name]) for name in measures}
    if first.flagged is not None and second.flagged is not None:
        one, other = first.flagged[numbers], second.flagged[numbers]
        pairs[RECALL] = _shares(one, other, on.positive, resampling)
        pairs[FALSE_POSITIVES] = _shares(one, other, ~on.positive, resampling)
    return pairs


def row(
    category: str,
    pairs: Mapping[str, tuple[Measured, Measured]],
    *,
    pictures: int,
    note: str = "",
) -> ComparisonRow:
    """The pairs as figures."""
    return ComparisonRow(
        category=category,
        pictures=pictures,
        measures={name: _compared(*pair) for name, pair in pairs.items()},
        note=note or ("" if pairs else f"fewer than {needed.LEAST_EACH} pictures of a kind"),
    )


def mean_of(
    found: Sequence[Mapping[str, tuple[Measured, Measured]]],
) -> dict[str, Compared]:
    """The mean over categories, measure by measure, of those that have it.

    Categories are drawn apart, as if they were independent: their positives, the scarcer side,
    are mostly different pictures.
    """
    names = dict.fromkeys(name for pairs in found for name in pairs)
    means = {}
    for name in names:
        pairs = [one[name] for one in found if name in one]
        means[name] = _compared(
            mean_measured([pair[0] for pair in pairs]), mean_measured([pair[1] for pair in pairs])
        )
    return means


def mean_measured(measured: Sequence[Measured]) -> Measured:
    """The mean of values that were drawn apart."""
    return Measured(
        value=float(np.mean([one.value for one in measured])),
        samples=np.mean([one.samples for one in measured], axis=0),
        examples=sum(one.examples for one in measured),
    )


def _compared(first: Measured, second: Measured) -> Compared:
    return Compared(first=first.value, second=second.value, difference=first.minus(second))


def _shares(
    one: Flags, other: Flags, among: Flags, resampling: Resampling
) -> tuple[Measured, Measured]:
    """Shares flagged, on the same resamples: drawing pictures is drawing how often each of the
    four outcomes (both, only the first, only the second, neither) comes up."""
    a, b = one[among], other[among]
    counts = np.array([(a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum()])
    total = int(counts.sum())
    generator = np.random.default_rng(resampling.seed)
    drawn = generator.multinomial(total, counts / total, size=resampling.count) / total
    return (
        Measured(value=float(a.mean()), samples=drawn[:, 0] + drawn[:, 1], examples=total),
        Measured(value=float(b.mean()), samples=drawn[:, 0] + drawn[:, 2], examples=total),
    )
