"""One category on labelled pictures: measures with intervals, present thresholds, mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Category, Threshold
from imagesieve_server.offline.evaluation.judging import Judged
from imagesieve_server.offline.evaluation.results import AtThreshold, CategoryResult, Mistake
from imagesieve_server.offline.labelled.label_file import NO, UNSAID, YES
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.measures import bootstrap, needed, quality
from imagesieve_server.offline.measures.bootstrap import Resampling
from imagesieve_server.offline.measures.figures import Figure, proportion
from imagesieve_server.offline.measures.quality import Measure
from imagesieve_server.offline.measures.ranking import Doubles, Flags

MISTAKES = 12
"""The most that are kept of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A measure, and how many pictures it needs."""

    measure: Measure
    title: str
    positives: int = needed.LEAST_EACH
    negatives: int = needed.LEAST_EACH


MEASURES: Mapping[str, Asked] = {
    "auc": Asked(measure=quality.roc_auc, title="AUC"),
    "average_precision": Asked(measure=quality.average_precision, title="average precision"),
    **{
        f"precision_at_recall_{round(recall * 100)}": Asked(
            measure=quality.precision_at_recall(recall),
            title=f"precision at recall {recall:.2f}".replace("0.", "."),
            positives=max(needed.LEAST_EACH, needed.for_recall(recall)),
        )
        for recall in (0.80, 0.90, 0.95)
    },
    "recall_at_fpr_1": Asked(
        measure=quality.recall_at_fpr(0.01),
        title="recall at 1 % false positives",
        negatives=needed.for_rate(0.01),
    ),
}


def measure_category(
    category: Category,
    labelled: LabelledSet,
    logits: Doubles,
    judged: Judged,
    resampling: Resampling,
) -> CategoryResult:
    """Everything about one category; ``logits`` are each picture's, [N]."""
    answers = labelled.labels[category.id]
    known = np.flatnonzero(answers != UNSAID)
    positive = answers[known] == YES
    positives, negatives = int(positive.sum()), int((~positive).sum())
    figures, lacking = _figures(logits[known], positive, resampling)
    wrong = _Mistakes(labelled, category.id, logits, judged)
    return CategoryResult(
        category=category,
        positives=positives,
        negatives=negatives,
        unsaid=int((answers == UNSAID).sum()),
        statement=statement(positives, negatives),
        figures=figures,
        lacking=lacking,
        at=_at_thresholds(category, judged.bands[category.id][known], positive),
        false_alarms=wrong.false_alarms(answers == NO),
        misses=wrong.misses(answers == YES),
        log_odds=logits[known],
        positive=positive,
    )


def statement(positives: int, negatives: int) -> str:
    """Why a category has no figures and how many labels it needs; "" where it has enough."""
    least = needed.LEAST_EACH
    missing = []
    if positives < least:
        missing.append(f"{least - positives} more that show it")
    if negatives < least:
        missing.append(f"{least - negatives} more that do not")
    if not missing:
        return ""
    return (
        f"No figures: {_pictures(positives)} labelled as showing it and {negatives} as not. "
        f"At least {least} of each are needed: label {' and '.join(missing)}. For a recall known "
        f"to ± 10 points, {needed.for_half_width(0.1)} that show it; for a false-positive rate of "
        f"1 % known to ± half a point, {needed.for_half_width(0.005, share=0.01)} that do not."
    )


def _pictures(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count or 'no'} pictures are"


def _figures(
    logits: Doubles, positive: Flags, resampling: Resampling
) -> tuple[dict[str, Figure | None], dict[str, str]]:
    positives, negatives = int(positive.sum()), int((~positive).sum())
    possible: dict[str, Measure] = {}
    lacking: dict[str, str] = {}
    for name, asked in MEASURES.items():
        if positives < asked.positives:
            lacking[name] = f"needs {asked.positives} pictures that show it, has {positives}"
        elif negatives < asked.negatives:
            lacking[name] = f"needs {asked.negatives} pictures that do not, has {negatives}"
        else:
            possible[name] = asked.measure
    figures: dict[str, Figure | None] = dict.fromkeys(MEASURES)
    if possible:
        found = bootstrap.measure({"": logits}, positive, possible, resampling)[""]
        figures |= {name: one.figure() for name, one in found.items()}
    return figures, lacking


def _at_thresholds(
    category: Category, bands: npt.NDArray[np.int8], positive: Flags
) -> tuple[AtThreshold, ...]:
    every = [category.thresholds, *(limits for _, limits in category.per_view_kind)]
    found = []
    if any(limits.review_at or limits.block_at for limits in every):
        review = category.thresholds.review_at or category.thresholds.block_at
        found.append(_at("review_at", review, bands >= 1, positive))
    if any(limits.block_at for limits in every):
        found.append(_at("block_at", category.thresholds.block_at, bands >= 2, positive))
    return tuple(found)


def _at(name: str, threshold: Threshold | None, flagged: Flags, positive: Flags) -> AtThreshold:
    hits, false_alarms = int((flagged & positive).sum()), int((flagged & ~positive).sum())
    positives, negatives = int(positive.sum()), int((~positive).sum())
    enough = positives >= needed.LEAST_EACH
    return AtThreshold(
        name=name,
        threshold=threshold,
        hits=hits,
        misses=positives - hits,
        false_alarms=false_alarms,
        passed=negatives - false_alarms,
        recall=proportion(hits, positives) if enough else None,
        false_positive_rate=(
            proportion(false_alarms, negatives) if negatives >= needed.LEAST_EACH else None
        ),
        precision=(
            proportion(hits, hits + false_alarms) if enough and hits + false_alarms else None
        ),
    )


class _Mistakes:
    """The most confident mistakes of one category."""

    def __init__(
        self, labelled: LabelledSet, category: str, logits: Doubles, judged: Judged
    ) -> None:
        self._labelled = labelled
        self._logits = logits
        self._bands = judged.bands[category]
        self._margins = judged.margins[category]
        self._views = judged.views[category]
        # Where no threshold applied there is no margin, and the log-odds alone give the order.
        self._order = np.where(np.isfinite(self._margins), self._margins, logits)

    def false_alarms(self, not_shown: Flags) -> tuple[Mistake, ...]:
        """Flagged, though people say it is not there; the highest first."""
        numbers = np.flatnonzero(not_shown & (self._bands > 0))
        return self._worst(numbers[np.argsort(-self._order[numbers], kind="stable")])

    def misses(self, shown: Flags) -> tuple[Mistake, ...]:
        """Let through, though people say it is there; the lowest first."""
        numbers = np.flatnonzero(shown & (self._bands == 0))
        return self._worst(numbers[np.argsort(self._order[numbers], kind="stable")])

    def _worst(self, numbers: npt.NDArray[np.intp]) -> tuple[Mistake, ...]:
        return tuple(
            Mistake(
                number=number,
                view=int(self._views[number]),
                file=self._labelled.files[number],
                log_odds=float(self._logits[number]),
                margin=float(self._margins[number]),
            )
            for number in numbers[:MISTAKES].tolist()
        )
