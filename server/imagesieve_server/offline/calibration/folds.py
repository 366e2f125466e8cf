"""Folds of labelled pictures: stratified, seeded, and with the pictures of a group together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from imagesieve_server.offline.calibration.promise import Groups, Labels


def number_groups(keys: Sequence[Hashable]) -> Groups:
    """Groups [N] numbered from 0 in order of first appearance; equal keys are one group."""
    numbers: dict[Hashable, int] = {}
    return np.asarray([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def deal(labels: Labels, *, groups: Groups, folds: int, seed: int) -> npt.NDArray[np.intp]:
    """The fold [N] of each picture, 0 … ``folds`` − 1.

    Whole groups are dealt, the largest first and equals in a seeded order, each to the fold that
    has the fewest pictures of the group's rarer label, so that every fold gets its share of both
    labels as far as the groups allow.
    """
    ids, place = np.unique(groups, return_inverse=True)
    weights = np.zeros((len(ids), 2))
    for label in (0, 1):
        weights[:, label] = np.bincount(place, weights=labels == label, minlength=len(ids))
    totals = np.maximum(1.0, weights.sum(axis=0))
    shuffled = np.random.default_rng(seed).permutation(len(ids))
    order = shuffled[np.argsort(-weights[shuffled].sum(axis=1), kind="stable")]
    load = np.zeros((folds, 2))
    fold_of = np.zeros(len(ids), dtype=np.intp)
    for group in order:
        part = weights[group] / totals
        fold = int(np.argmin(load @ part + 1e-9 * load.sum(axis=1)))
        fold_of[group] = fold
        load[fold] += part
    return np.asarray(fold_of[place], dtype=np.intp)
