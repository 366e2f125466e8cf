"""What a policy's choices are worth: each against its alternative, on the same pictures.

Differences have the interval of paired data. A choice that was made by looking at labels (the
best single prompt) is made on one half of the pictures and measured on the other, both ways
round; or the alternative would be flattered by its own selection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from imagesieve_server.core.policy import Category, Method, Policy, Pooling
from imagesieve_server.offline.evaluation import variants
from imagesieve_server.offline.evaluation.results import Comparison
from imagesieve_server.offline.evaluation.variants import Sides, Variant, variant_of
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.measures import quality
from imagesieve_server.offline.measures.bootstrap import Measured, Resampling
from imagesieve_server.offline.measures.ranking import Flags

Pairs = Mapping[str, tuple[Measured, Measured]]
HALVES = (0, 1)


def pooling(policy: Policy, labelled: LabelledSet, resampling: Resampling) -> Comparison:
    """Maximum against logmeanexp, for the categories that have prompts."""

    def both(category: Category) -> Pairs:
        first, second = (
            variant_of(policy, replace(category, pooling=one), labelled)
            for one in (Pooling.MAX, Pooling.LOGMEANEXP)
        )
        return variants.compare(first, second, variants.sides(labelled, category.id), resampling)

    return _comparison(
        "pooling",
        "Should a category go by its most fitting prompt (max), or by all together (logmeanexp)?",
        ("max", "logmeanexp"),
        "Prompts, neutral and counter-prompts pooled either way, all else as in the policy.",
        [(c, both(c), len(labelled), "") for c in policy.categories if len(c.prompts)],
    )


def counter_prompts(policy: Policy, labelled: LabelledSet, resampling: Resampling) -> Comparison:
    """With against without, for the categories that have any."""

    def both(category: Category) -> Pairs:
        own = variant_of(policy, category, labelled)
        bare = variant_of(policy, variants.without_counter_prompts(category), labelled)
        on = variants.sides(labelled, category.id)
        also = {}
        recall = _recall(own, on)
        if recall > 0:
            also["fpr_at_equal_recall"] = quality.fpr_at_recall(recall)
        return variants.compare(own, bare, on, resampling, also=also)

    return _comparison(
        "counter_prompts",
        "Do the benign look-alikes keep false alarms away?",
        ("with counter-prompts", "without"),
        "False positives at equal recall: each variant at the threshold that keeps the recall the "
        "policy has now. At the present threshold recall changes too: both are given.",
        [(c, both(c), len(labelled), "") for c in policy.categories if len(c.counter_prompts)],
    )


def coverage(
    policy: Policy, sets: Mapping[str, LabelledSet], resampling: Resampling
) -> tuple[Comparison, ...]:
    """The policy's own coverage against each other, on the pictures that it is about.

    ``sets`` are the same pictures (aligned) by coverage.
    """
    own = policy.coverage.value
    found = []
    for other in (name for name in sets if name != own):
        first, second = sets[own], sets[other]
        among = differently_seen(first, second)
        rows = []
        for category in policy.categories:
            on = variants.sides(first, category.id, among)
            pairs = variants.compare(
                variant_of(policy, category, first),
                variant_of(policy, category, second),
                on,
                resampling,
            )
            rows.append((category, pairs, len(on.chosen), ""))
        found.append(
            _comparison(
                f"coverage_{other}",
                f"Is {own} worth its views against {other}?",
                (own, other),
                f"Only the {int(among.sum())} of {len(first)} pictures that the two see "
                f"differently; {len(first.views)} views against {len(second.views)} in all.",
                rows,
            )
        )
    return tuple(found)


def differently_seen(first: LabelledSet, second: LabelledSet) -> Flags:
    """[N]: pictures whose views are not the same in both."""
    ends = [np.append(one.starts[1:], len(one.views)) for one in (first, second)]
    return np.array(
        [
            first.views[first.starts[n] : ends[0][n]] != second.views[second.starts[n] : ends[1][n]]
            for n in range(len(first))
        ]
    )


def single_prompts(policy: Policy, labelled: LabelledSet, resampling: Resampling) -> Comparison:
    """A category's list of prompts against the best single one of it."""
    half = halves(labelled)
    rows = []
    for category in policy.categories:
        if len(category.prompts) < 2:
            continue
        own = variant_of(policy, category, labelled, thresholds=False)
        alone = [
            variant_of(policy, variants.with_prompt(category, number), labelled, thresholds=False)
            for number in range(len(category.prompts))
        ]
        on = [variants.sides(labelled, category.id, half == side) for side in HALVES]
        best = [_best(alone, on[side]) for side in HALVES]
        pairs = crossed(own, alone, on, best, resampling)
        names = dict.fromkeys(category.prompts.texts[number] for number in best)
        note = "best single prompt: " + " or ".join(map(repr, names)) if pairs else ""
        rows.append((category, pairs, len(labelled), note))
    return _comparison(
        "single_prompt",
        "Is a list of prompts better than its best single prompt?",
        ("all prompts", "best single prompt"),
        "The single prompt with the highest AUC on one half of the pictures, measured on the "
        "other half, and the other way round; the mean of both.",
        rows,
    )


def single_templates(
    policies: Mapping[str, Policy], policy: Policy, labelled: LabelledSet, resampling: Resampling
) -> Comparison:
    """The policy's averaged templates against the best single one: ``policies`` by template.

    A policy has one list of templates, so the best one is chosen by its mean over categories.
    """
    half = halves(labelled)
    names = list(policies)
    categories = [c for c in policy.categories if c.method is not Method.PROBE]
    alone = {
        c.id: [
            variant_of(one, one.subset((c.id,))[0], labelled, thresholds=False)
            for one in policies.values()
        ]
        for c in categories
    }
    on = {
        c.id: [variants.sides(labelled, c.id, half == side) for side in HALVES] for c in categories
    }
    best = [
        int(np.argmax(np.mean([_aucs(alone[c], on[c][side]) for c in alone], axis=0)))
        for side in HALVES
    ]
    note = "best single template: " + " or ".join(dict.fromkeys(repr(names[n]) for n in best))
    rows = [
        (
            c,
            crossed(
                variant_of(policy, c, labelled, thresholds=False),
                alone[c.id], on[c.id], best, resampling,
            ),
            len(labelled),
            note,
        )
        for c in categories
    ]  # fmt: skip
    return _comparison(
        "single_template",
        "Is a prompt better averaged over all templates than in the best single template?",
        ("all templates", "best single template"),
        "The template with the highest mean AUC over categories on one half of the pictures, "
        "measured on the other half, and the other way round; the mean of both.",
        rows,
    )


def halves(labelled: LabelledSet) -> Flags:
    """[N]: which half a picture is in, by its bytes: copies of one picture stay together."""
    return np.array([int(sha256[-8:], 16) % 2 == 1 for sha256 in labelled.sha256])


def crossed(
    own: Variant,
    alone: Sequence[Variant],
    on: Sequence[Sides],
    best: Sequence[int],
    resampling: Resampling,
) -> Pairs:
    """``own`` against the alternative chosen on each half, measured on the other; the mean."""
    found = [variants.compare(own, alone[best[1 - side]], on[side], resampling) for side in HALVES]
    return {
        name: (
            variants.mean_measured([one[name][0] for one in found]),
            variants.mean_measured([one[name][1] for one in found]),
        )
        for name in found[0]
        if name in found[1]
    }


def _best(alone: Sequence[Variant], on: Sides) -> int:
    return int(np.argmax(_aucs(alone, on)))


def _aucs(alone: Sequence[Variant], on: Sides) -> list[float]:
    """The AUC of each; the same for all where there is nothing to choose by."""
    if not on.enough:
        return [0.0] * len(alone)
    shown, others = on.chosen[on.positive], on.chosen[~on.positive]
    return [quality.auc(one.log_odds[shown], one.log_odds[others]) for one in alone]


def _recall(own: Variant, on: Sides) -> float:
    if own.flagged is None or not on.positive.any():
        return 0.0
    return float(own.flagged[on.chosen[on.positive]].mean())


def _comparison(
    id: str,
    question: str,
    names: tuple[str, str],
    method: str,
    rows: Sequence[tuple[Category, Pairs, int, str]],
) -> Comparison:
    return Comparison(
        id=id,
        question=question,
        first=names[0],
        second=names[1],
        method=method,
        rows=tuple(
            variants.row(category.id, pairs, pictures=pictures, note=note)
            for category, pairs, pictures, note in rows
        ),
        mean=variants.mean_of([pairs for _, pairs, _, _ in rows if pairs]),
    )
