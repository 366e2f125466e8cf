"""A policy's log-odds over labelled pictures, with what choosing thresholds needs beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.errors import LabelsError, PolicyError, TooFewLabels
from imagesieve_server.core.policy import Category, Policy
from imagesieve_server.core.scoring import Doubles
from imagesieve_server.offline.calibration.flags import Kinds, kinds_of
from imagesieve_server.offline.calibration.folds import deal, number_groups
from imagesieve_server.offline.calibration.promise import Groups, Labels
from imagesieve_server.offline.labelled.labelled_set import LabelledSet, view_logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """N pictures with V views, seen by one policy."""

    policy: Policy
    views: Mapping[str, Doubles]  # category id → log-odds [V]
    pictures: Mapping[str, Doubles]  # category id → the highest over each picture's views [N]
    labels: Mapping[str, Labels]  # category id → [N]
    kinds: Kinds
    coverage: Doubles  # [N]
    groups: Groups  # [N]: equal bytes, or equal in the column asked for
    folds: int
    seed: int

    def __len__(self) -> int:
        return len(self.groups)

    def folds_of(self, labels: Labels) -> npt.NDArray[np.intp]:
        """The fold [N] of each picture, stratified by ``labels``."""
        return deal(labels, groups=self.groups, folds=self.folds, seed=self.seed)


def sample_of(
    policy: Policy, labelled: LabelledSet, *, group: str = "", folds: int = 5, seed: int = 1
) -> Sample:
    """Score the set. ``group`` names the label file's column of what belongs together.

    Raises PolicyError (another model), LabelsError (no such column), TooFewLabels (more folds
    than groups).
    """
    kinds = kinds_of(labelled)
    views = view_logits(policy, labelled)
    groups = number_groups(group_keys(labelled, group))
    if int(groups.max()) + 1 < folds:
        raise TooFewLabels(
            f"{int(groups.max()) + 1} groups of pictures are fewer than {folds} folds"
        )
    return Sample(
        policy=policy,
        views=views,
        pictures={
            name: np.asarray(np.maximum.reduceat(values, kinds.starts), dtype=np.float64)
            for name, values in views.items()
        },
        labels=labelled.labels,
        kinds=kinds,
        coverage=labelled.coverage,
        groups=groups,
        folds=folds,
        seed=seed,
    )


def chosen_categories(policy: Policy, ids: Sequence[str]) -> tuple[Category, ...]:
    """The named categories, all without names. Raises PolicyError for one that is not there."""
    known = [category.id for category in policy.categories]
    for wanted in ids:
        if wanted not in known:
            raise PolicyError(
                f"has no category {wanted!r}; it has {', '.join(known)}", file=policy.name
            )
    return policy.subset(tuple(ids))


def group_keys(labelled: LabelledSet, group: str) -> Sequence[str]:
    """What pictures that belong together have in common. Raises LabelsError (no such column)."""
    if not group:
        return labelled.sha256
    if group not in labelled.columns:
        others = ", ".join(map(repr, sorted(labelled.columns))) or "none"
        raise LabelsError(f"is not a column to group by; the other columns are {others}",
                          column=group)  # fmt: skip
    values = zip(labelled.columns[group], labelled.sha256, strict=True)
    return [f"group {value}" if value else sha256 for value, sha256 in values]
