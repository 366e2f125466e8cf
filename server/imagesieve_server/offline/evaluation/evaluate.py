"""A policy on labelled pictures: everything a report says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from imagesieve_server.core.policy import Category, Mode, Policy
from imagesieve_server.core.verdict import Verdict
from imagesieve_server.offline.evaluation import comparisons
from imagesieve_server.offline.evaluation.categories import measure_category
from imagesieve_server.offline.evaluation.judging import Judged, judge
from imagesieve_server.offline.evaluation.results import Comparison, Evaluation, VerdictResult
from imagesieve_server.offline.evaluation.slices import slice_all
from imagesieve_server.offline.labelled.label_file import NO, YES
from imagesieve_server.offline.labelled.labelled_set import LabelledSet, view_logits
from imagesieve_server.offline.measures.bootstrap import Resampling
from imagesieve_server.offline.measures.figures import Figure, proportion
from imagesieve_server.offline.measures.ranking import Flags


def evaluate(
    policy: Policy,
    labelled: LabelledSet,
    *,
    model: str,
    resampling: Resampling,
    columns: Sequence[str] | None = None,
    compared: Sequence[Comparison] = (),
) -> Evaluation:
    """Measure a policy; ``columns`` are what to slice by, None for every short column.

    Raises PolicyError for another model's policy, LabelsError for an unknown column.
    """
    logits = view_logits(policy, labelled)
    judged = judge(policy, labelled)
    starts = labelled.starts
    return Evaluation(
        policy=policy,
        model=model,
        labelled=labelled,
        logits=logits,
        bands=judged.bands,
        verdicts=_verdicts(policy, labelled, judged),
        categories=tuple(
            measure_category(
                category,
                labelled,
                np.asarray(np.maximum.reduceat(logits[category.id], starts), dtype=np.float64),
                judged,
                resampling,
            )
            for category in policy.categories
        ),
        slices=slice_all(policy, labelled, judged, columns),
        comparisons=tuple(compared),
        resamples=resampling.count,
        seed=resampling.seed,
        notes=(*labelled.notes, *_copies(labelled)),
    )


def compare_choices(
    policy: Policy,
    sets: Mapping[str, LabelledSet],
    templates: Mapping[str, Policy],
    resampling: Resampling,
    progress: Callable[[str], None],
) -> tuple[Comparison, ...]:
    """What each choice of the policy is worth.

    ``sets`` are the same pictures by coverage, the policy's own among them; ``templates`` the
    policy compiled with each of its templates alone, empty where it has but one.
    """
    common = aligned(sets)
    labelled = common[policy.coverage.value]
    found: list[Comparison] = []
    progress("prompts")
    found.append(comparisons.single_prompts(policy, labelled, resampling))
    if len(templates) > 1:
        progress("templates")
        found.append(comparisons.single_templates(templates, policy, labelled, resampling))
    progress("counter-prompts")
    found.append(comparisons.counter_prompts(policy, labelled, resampling))
    progress("pooling")
    found.append(comparisons.pooling(policy, labelled, resampling))
    progress("coverage")
    found.extend(comparisons.coverage(policy, common, resampling))
    return tuple(one for one in found if one.rows)


def aligned(sets: Mapping[str, LabelledSet]) -> dict[str, LabelledSet]:
    """The sets without the pictures that one of them lacks."""
    common = set.intersection(*(set(one.files) for one in sets.values()))
    return {
        name: one
        if len(one) == len(common)
        else one.only(np.flatnonzero([file in common for file in one.files]))
        for name, one in sets.items()
    }


def _verdicts(policy: Policy, labelled: LabelledSet, judged: Judged) -> VerdictResult:
    flagged = judged.flagged()
    enforced = [c for c in policy.categories if c.mode is Mode.ENFORCE]
    shows = _any(enforced, lambda c: labelled.labels[c.id] == YES, len(labelled))
    clean = ~_any(enforced, lambda c: labelled.labels[c.id] != NO, len(labelled))
    observed = [c for c in policy.categories if c.mode is Mode.OBSERVE]
    would = _any(observed, lambda c: judged.bands[c.id] > 0, len(labelled))
    counts = Counter(judged.verdicts)
    return VerdictResult(
        counts={verdict: counts[verdict] for verdict in Verdict},
        flagged=proportion(int(flagged.sum()), len(flagged)),
        flagged_showing=_share(flagged, shows),
        flagged_clean=_share(flagged, clean) if enforced else None,
        observed_only=proportion(int((would & ~flagged).sum()), len(flagged)),
    )


def _any(categories: Sequence[Category], of: Callable[[Category], Flags], pictures: int) -> Flags:
    found = np.zeros(pictures, dtype=np.bool_)
    for category in categories:
        found |= of(category)
    return found


def _share(flagged: Flags, among: Flags) -> Figure | None:
    return proportion(int((flagged & among).sum()), int(among.sum())) if among.any() else None


def _copies(labelled: LabelledSet) -> tuple[str, ...]:
    """Notes on pictures that stand under several names."""
    by_bytes: dict[str, list[int]] = defaultdict(list)
    for number, sha256 in enumerate(labelled.sha256):
        by_bytes[sha256].append(number)
    copies = [numbers for numbers in by_bytes.values() if len(numbers) > 1]
    if not copies:
        return ()
    several = sum(map(len, copies))
    notes = [
        f"{several} pictures are copies of one another, byte for byte, under several names; each "
        "counts, so the intervals are a little too narrow"
    ]
    contrary = [
        numbers
        for numbers in copies
        if any(len({int(a[n]) for n in numbers} - {-1}) > 1 for a in labelled.labels.values())
    ]
    if contrary:
        names = " and ".join(repr(labelled.files[n]) for n in contrary[0][:2])
        notes.append(
            f"{len(contrary)} of them have contrary labels, for example {names}: somebody is wrong"
        )
    return tuple(notes)
