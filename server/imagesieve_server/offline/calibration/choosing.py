"""The choice of every threshold and calibration of a policy from one sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.binomial import interval
from imagesieve_server.core.calibration import Calibration
from imagesieve_server.core.errors import PolicyError, TooFewLabels
from imagesieve_server.core.policy import Category, Method, Mode, OnPartialCoverage, Threshold
from imagesieve_server.core.scoring import Doubles, sigmoid
from imagesieve_server.core.views import ViewKind
from imagesieve_server.offline.calibration.fit import fit_best
from imagesieve_server.offline.calibration.flags import Flags, category_flags
from imagesieve_server.offline.calibration.held_out import held_out_flags, measure
from imagesieve_server.offline.calibration.outcome import (
    Budget,
    Calibrated,
    CategoryOutcome,
    KindOutcome,
    Outcome,
)
from imagesieve_server.offline.calibration.promise import Aim, Choice, Goal, choose, flagged
from imagesieve_server.offline.calibration.reliability import reliability
from imagesieve_server.offline.calibration.review_load import LoadChoice, choose_for_load
from imagesieve_server.offline.calibration.sample import Sample
from imagesieve_server.offline.calibration.view_kinds import choose_by_kind
from imagesieve_server.offline.policy_text.written import rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """One category's thresholds in log-odds and the flags they make where they were held out."""

    choice: Choice
    flags: Flags  # [N]
    views: dict[ViewKind, Choice]
    separate: Flags | None = None  # held-out flags of thresholds per kind, where asked for


def choose_for_aim(
    sample: Sample, categories: Sequence[Category], aim: Aim, *, per_view_kind: bool = False
) -> Outcome:
    """Thresholds for a rate. Raises TooFewLabels with a line per category that lacks labels,
    PolicyError where the policy has thresholds per kind of view and they were not asked for."""
    _refuse_views(categories, per_view_kind=per_view_kind)
    chosen: dict[str, _Chosen] = {}
    problems = []
    for category in categories:
        try:
            chosen[category.id] = _choose_one(sample, category, aim, per_view_kind)
        except TooFewLabels as error:
            problems.append(f"category {category.id!r}: {error.message}")
    if problems:
        raise TooFewLabels(
            "\n".join([*problems, "label more pictures, or leave categories out (--categories)"])
        )
    return _outcome(sample, categories, aim, chosen)


def choose_for_budget(sample: Sample, categories: Sequence[Category], budget: Budget) -> Outcome:
    """Thresholds for the reviewers' time. Raises TooFewLabels, PolicyError as above."""
    _refuse_views(categories, per_view_kind=False)
    anyway = _flagged_anyway(sample, categories)
    everything = np.ones(len(sample), dtype=np.bool_)
    load = _load(sample, categories, budget, anyway, everything, loosely=False)
    flags = {category.id: np.zeros(len(sample), dtype=np.bool_) for category in categories}
    folds = sample.folds_of(np.zeros(len(sample), dtype=np.int8))
    for fold in range(sample.folds):
        out = folds == fold
        part = _load(sample, categories, budget, anyway, ~out, loosely=True)
        for name, threshold in part.log_odds.items():
            flags[name][out] = flagged(sample.pictures[name][out], threshold)
    chosen = {
        name: _Chosen(
            choice=Choice(log_odds=threshold, allowed=load.allowed, pictures=load.pictures),
            flags=flags[name],
            views={},
        )
        for name, threshold in load.log_odds.items()
    }
    return _outcome(sample, categories, budget, chosen)


def _load(
    sample: Sample,
    categories: Sequence[Category],
    budget: Budget,
    anyway: Flags,
    part: Flags,
    *,
    loosely: bool,
) -> LoadChoice:
    return choose_for_load(
        {category.id: sample.pictures[category.id][part] for category in categories},
        flagged_anyway=anyway[part],
        share=budget.share,
        delta=budget.delta,
        seed=sample.seed,
        loosely=loosely,
    )


def _choose_one(sample: Sample, category: Category, aim: Aim, per_view_kind: bool) -> _Chosen:
    labels, pictures = sample.labels[category.id], sample.pictures[category.id]
    if not np.any(labels == 1):
        raise TooFewLabels(
            "no picture is labelled as with the category "
            f"({int(np.sum(labels == 0))} as without it, {int(np.sum(labels == -1))} not at all); "
            "a threshold needs pictures that show it"
        )
    choice = choose(pictures, labels, aim, groups=sample.groups)
    folds = sample.folds_of(labels)
    flags = held_out_flags(pictures, labels, aim, folds=folds, groups=sample.groups)
    if not per_view_kind:
        return _Chosen(choice=choice, flags=flags, views={})
    views = sample.views[category.id]
    own = choose_by_kind(views, labels, aim, kinds=sample.kinds, groups=sample.groups)
    separate = np.zeros(len(sample), dtype=np.bool_)
    for fold in range(sample.folds):
        out = folds == fold
        part = choose_by_kind(
            views, labels, aim, kinds=sample.kinds, groups=sample.groups, among=~out, loosely=True
        )
        separate[out] = part.flags(views, sample.kinds)[out]
    still = own.choices.pop(ViewKind.STILL)
    return _Chosen(choice=still, flags=flags, views=own.choices, separate=separate)


def _outcome(
    sample: Sample,
    categories: Sequence[Category],
    goal: Aim | Budget,
    chosen: dict[str, _Chosen],
) -> Outcome:
    now, new = _flagged_anyway(sample, ()), _flagged_anyway(sample, categories)
    for category in categories:
        if category.mode is Mode.ENFORCE:
            found = chosen[category.id]
            new |= found.flags if found.separate is None else found.separate
    return Outcome(
        goal=goal,
        categories=tuple(_category(sample, c, goal, chosen[c.id]) for c in categories),
        folds=sample.folds,
        seed=sample.seed,
        flagged_now=interval(int(now.sum()), len(sample)),
        flagged_held_out=interval(int(new.sum()), len(sample)),
        notes=_notes(goal, sample),
    )


def _category(
    sample: Sample, category: Category, goal: Aim | Budget, chosen: _Chosen
) -> CategoryOutcome:
    labels = sample.labels[category.id]
    up = not (isinstance(goal, Aim) and goal.goal is Goal.MIN_RECALL)
    flags = chosen.flags if chosen.separate is None else chosen.separate
    return CategoryOutcome(
        category=category,
        yes=int(np.sum(labels == 1)),
        no=int(np.sum(labels == 0)),
        unsaid=int(np.sum(labels == -1)),
        log_odds=chosen.choice.log_odds,
        review_at=_written(category, chosen.choice, category.thresholds.review_at, up=up),
        views={
            kind: _written(category, choice, _present(category, kind), up=up)
            for kind, choice in chosen.views.items()
        },
        allowed=chosen.choice.allowed,
        pictures=chosen.choice.pictures,
        now=measure(category_flags(category, sample.views[category.id], sample.kinds), labels),
        held_out=measure(flags, labels),
        kinds=_kinds(sample, category, chosen),
        calibrated=calibrate(sample, category),
    )


def _written(
    category: Category, choice: Choice, present: Threshold | None, *, up: bool
) -> Threshold:
    return rounded(choice.log_odds, method=category.method, like=present, up=up)


def _present(category: Category, kind: ViewKind) -> Threshold | None:
    return category.thresholds_for(kind, first=False).review_at


def _kinds(sample: Sample, category: Category, chosen: _Chosen) -> tuple[KindOutcome, ...]:
    labels = sample.labels[category.id]
    found = []
    for kind in ViewKind:
        part = sample.kinds.of_picture == kind.value
        if not part.any():
            continue
        separate = chosen.separate
        found.append(
            KindOutcome(
                kind=kind,
                shared=measure(chosen.flags[part], labels[part]),
                separate=None if separate is None else measure(separate[part], labels[part]),
            )
        )
    return tuple(found)


def calibrate(sample: Sample, category: Category) -> Calibrated:
    """Probabilities from a picture's highest log-odds, measured held out."""
    said = sample.labels[category.id] >= 0
    labels, log_odds = sample.labels[category.id][said], sample.pictures[category.id][said]
    if not len(labels):
        return Calibrated(why_not="nobody said which pictures show it")
    present = _probabilities(category, category.calibration, log_odds)
    before = None if present is None else reliability(present, labels)
    folds = sample.folds_of(sample.labels[category.id])[said]
    try:
        fitted = fit_best(log_odds, labels, folds=folds)
    except TooFewLabels as error:
        return Calibrated(why_not=error.message, before=before)
    if fitted is None:
        return Calibrated(why_not="the labels do not rise with the score", before=before)
    return Calibrated(fitted=fitted, before=before, after=reliability(fitted.held_out, labels))


def _probabilities(
    category: Category, calibration: Calibration | None, log_odds: Doubles
) -> Doubles | None:
    """What the policy says now: its calibration's probability, else the score."""
    if calibration is not None:
        return calibration.probabilities_of(log_odds)
    return None if category.method is Method.COSINE else sigmoid(log_odds)


def _flagged_anyway(sample: Sample, besides: Sequence[Category]) -> Flags:
    """Which pictures go to review by anything but these categories, as the policy is."""
    flags = np.zeros(len(sample), dtype=np.bool_)
    if sample.policy.on_partial_coverage is OnPartialCoverage.REVIEW:
        flags |= sample.coverage < 1.0
    left_out = {category.id for category in besides}
    for category in sample.policy.categories:
        if category.id not in left_out and category.mode is Mode.ENFORCE:
            flags |= category_flags(category, sample.views[category.id], sample.kinds)
    return flags


def _refuse_views(categories: Sequence[Category], *, per_view_kind: bool) -> None:
    for category in categories:
        if category.per_view_kind and not per_view_kind:
            raise PolicyError(
                "has thresholds per kind of view, beside which one threshold for all keeps no "
                "promise; remove `views`, or use --per-view-kind with --max-fpr",
                field=f"category {category.id!r}",
            )


def _notes(goal: Aim | Budget, sample: Sample) -> tuple[str, ...]:
    if isinstance(goal, Budget):
        return (
            "the promise holds where the pictures are a fair sample of the uploads; files that "
            "cannot be decoded come on top",
        )
    notes = []
    if goal.goal is Goal.MAX_FPR:
        notes.append("each category keeps its rate by itself; all together may flag more")
    groups = len(np.unique(sample.groups))
    if groups < len(sample):
        notes.append(
            f"pictures that belong together count once, by the worst of them: the promise is about "
            f"the {groups} groups that {len(sample)} pictures make; the other figures count every "
            "picture, and their intervals take each for a draw of its own"
        )
    return tuple(notes)
