"""Labelled pictures as examples for one category: what is counted, refused and warned of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.errors import BundleError, LabelsError, TooFewLabels
from imagesieve_server.core.scoring import UNIT_TOLERANCE
from imagesieve_server.offline.calibration.folds import number_groups
from imagesieve_server.offline.calibration.sample import group_keys
from imagesieve_server.offline.labelled.label_file import NO, UNSAID, YES
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.probes.folds import Examples
from imagesieve_server.offline.probes.head import Bags, Flags

LEAST_POSITIVE, LEAST_NEGATIVE = 50, 100
"""Different pictures that show the category, and that do not. With fewer, what a probe is worth is
a matter of which pictures were drawn (docs/reference/meaning.md has the curve)."""

_MOST_VALUES = 50
"""Different values of a column above which it is no kind of source (an id, a date)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What one category is learned from."""

    examples: Examples
    pictures: Flags  # [N] of the labelled set: those of which somebody said yes or no
    unsaid: int
    warnings: tuple[str, ...]

    @property
    def positives(self) -> int:
        return int(self.examples.bags.positive.sum())

    @property
    def negatives(self) -> int:
        return len(self.examples.bags) - self.positives


def examples_of(labelled: LabelledSet, category: str, *, group: str = "") -> Chosen:
    """The examples of a category; ``group`` names the column of what belongs together.

    Raises TooFewLabels, LabelsError (contradicting labels, no such column), BundleError (an
    embedding that is no finite unit vector).
    """
    labels = labelled.labels[category]
    said = labels != UNSAID
    _refuse_contradictions(labelled, category)
    _refuse_unsound(labelled, said)
    keys = group_keys(labelled, group)
    _refuse_few(category, keys, labels)
    views = said[labelled.image_of]
    bags = Bags(
        vectors=labelled.embeddings[views].astype(np.float64),
        picture_of=(np.cumsum(said) - 1)[labelled.image_of[views]],
        positive=(labels == YES)[said],
    )
    groups = number_groups([key for key, one in zip(keys, said, strict=True) if one])
    return Chosen(
        examples=Examples(bags=bags, groups=groups),
        pictures=said,
        unsaid=int(np.count_nonzero(~said)),
        warnings=tuple(_warnings(labelled, category)),
    )


def _refuse_few(category: str, keys: Sequence[str], labels: np.ndarray) -> None:
    """Pictures of one group count once."""
    yes, no = (
        len({key for key, label in zip(keys, labels, strict=True) if label == wanted})
        for wanted in (YES, NO)
    )
    if yes >= LEAST_POSITIVE and no >= LEAST_NEGATIVE:
        return
    raise TooFewLabels(
        f"{yes or 'no'} different picture{'' if yes == 1 else 's'} labelled as with {category!r} "
        f"and {no} as without; a probe needs at least "
        f"{LEAST_POSITIVE} and {LEAST_NEGATIVE}. With fewer, prompts and counter-prompts do better"
    )


def _refuse_contradictions(labelled: LabelledSet, category: str) -> None:
    seen: dict[str, tuple[int, str]] = {}
    for sha256, label, file in zip(
        labelled.sha256, labelled.labels[category].tolist(), labelled.files, strict=True
    ):
        if label == UNSAID:
            continue
        before, other = seen.setdefault(sha256, (label, file))
        if before != label:
            raise LabelsError(
                f"{other!r} and {file!r} are the same bytes, but one is labelled {category!r} and "
                "the other is not"
            )


def _refuse_unsound(labelled: LabelledSet, said: Flags) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.linalg.norm(labelled.embeddings.astype(np.float64), axis=1)
    wrong = ~(np.abs(lengths - 1.0) <= UNIT_TOLERANCE) & said[labelled.image_of]
    if wrong.any():
        first = labelled.files[labelled.image_of[np.flatnonzero(wrong)[0]]]
        raise BundleError(
            f"the model gives {int(wrong.sum())} views no finite unit embedding, the first of "
            f"{first!r}; `imagesieve-server model verify` checks the bundle"
        )


def _warnings(labelled: LabelledSet, category: str) -> Iterator[str]:
    """Where a column says that the two kinds of picture come from different places."""
    labels = labelled.labels[category]
    for column, texts in labelled.columns.items():
        values = np.asarray(texts)
        yes, no = set(values[labels == YES].tolist()), set(values[labels == NO].tolist())
        if not 2 <= len(yes | no) <= _MOST_VALUES:
            continue
        if not yes & no:
            yield (
                f"no value of column {column!r} stands both with {category!r} and without: the "
                f"probe may learn the {column} and not the category, and no figure here shows it"
            )
        elif len(no) == 1:
            yield (
                f"every picture without {category!r} has {column} {next(iter(no))!r}: the probe "
                "has seen no other ordinary picture"
            )
    if not labelled.columns:
        yield (
            "the label file says nothing of where pictures come from (no column besides the "
            "labels), so nobody can see whether both kinds come from the same places"
        )
