"""Whether the labelled pictures are like those that the server will see.

Figures of one collection say little about another one. Three looks at it, on the first view of
each picture: which neutral prompts describe the ordinary pictures at all; whether the embeddings of
a reference folder (a sample of real uploads) come from the same distribution; and how many of
either each threshold flags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.policy import Category, Policy
from imagesieve_server.core.scoring import Doubles, cosines
from imagesieve_server.offline.diagnosis.deciding import Flags, Rows, reached
from imagesieve_server.offline.diagnosis.statistics import EnergyDistance, energy_test
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.measures.figures import Figure, proportion

MOST_POINTS = 1000  # of either side of the distance
SHUFFLES = 1000
FARTHEST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NeutralFit:
    """How well the neutral prompts describe ordinary pictures."""

    pictures: int  # that are labelled as showing no category
    nearest: tuple[tuple[str, int], ...]  # neutral prompt, pictures it is nearest to; most first
    farthest: tuple[tuple[str, float], ...]  # file, cosine of its nearest neutral prompt

    @property
    def unused(self) -> tuple[str, ...]:
        """Neutral prompts that are nearest to no picture."""
        return tuple(text for text, count in self.nearest if count == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedShare:
    """How much of either collection a category's review_at flags."""

    category: str
    ordinary: Figure  # of the labelled pictures that do not show it
    reference: Figure  # of the reference, in which nobody said what it shows


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainGap:
    """Labelled pictures against a reference folder."""

    pictures: int
    references: int
    tested: EnergyDistance  # energy distance
    flagged: tuple[FlaggedShare, ...]

    @property
    def times_chance(self) -> float:
        """The distance over what chance reaches in one of twenty shufflings."""
        return self.tested.value / self.tested.null_high if self.tested.null_high > 0 else 1.0


def ordinary(labelled: LabelledSet) -> Rows:
    """Pictures of which nobody said that they show a category, and somebody that they do not."""
    answers = np.stack(list(labelled.labels.values()))
    return np.flatnonzero((answers < 1).all(axis=0) & (answers == 0).any(axis=0))


def neutral_fit(policy: Policy, labelled: LabelledSet) -> NeutralFit | None:
    """None where no picture is labelled as ordinary."""
    rows = ordinary(labelled)
    if not len(rows):
        return None
    vectors = labelled.embeddings[labelled.starts[rows]].astype(np.float64)
    found = cosines(policy.neutral, vectors)
    counts = np.bincount(found.argmax(axis=1), minlength=len(policy.neutral))
    nearest = sorted(
        zip(policy.neutral.texts, counts.tolist(), strict=True), key=lambda pair: -pair[1]
    )
    best = found.max(axis=1)
    least = np.argsort(best, kind="stable")[:FARTHEST]
    return NeutralFit(
        pictures=len(rows),
        nearest=tuple(nearest),
        farthest=tuple((labelled.files[rows[one]], float(best[one])) for one in least),
    )


def domain_gap(
    policy: Policy, labelled: LabelledSet, reference: LabelledSet, *, seed: int = 0
) -> DomainGap:
    """Both sets were seen by the policy's model."""
    generator = np.random.default_rng(seed)
    first, second = (_some(one, generator) for one in (labelled, reference))
    return DomainGap(
        pictures=len(labelled),
        references=len(reference),
        tested=energy_test(first, second, count=SHUFFLES, generator=generator),
        flagged=tuple(
            share
            for category in policy.categories
            if (share := _flagged(policy, category, labelled, reference)) is not None
        ),
    )


def _some(labelled: LabelledSet, generator: np.random.Generator) -> Doubles:
    rows = labelled.embeddings[labelled.starts].astype(np.float64)
    if len(rows) > MOST_POINTS:
        rows = rows[generator.choice(len(rows), MOST_POINTS, replace=False)]
    return rows


def _flagged(
    policy: Policy, category: Category, labelled: LabelledSet, reference: LabelledSet
) -> FlaggedShare | None:
    labels = labelled.labels.get(category.id)
    if category.thresholds.review_at is None or labels is None or not (labels == 0).any():
        return None
    here = _pictures_reached(policy, category, labelled)[labels == 0]
    there = _pictures_reached(policy, category, reference)
    return FlaggedShare(
        category=category.id,
        ordinary=proportion(int(here.sum()), len(here)),
        reference=proportion(int(there.sum()), len(there)),
    )


def _pictures_reached(policy: Policy, category: Category, labelled: LabelledSet) -> Flags:
    """Whether some view of each picture reaches review_at: [N]."""
    hit = reached(policy, category, labelled.embeddings)
    return np.asarray(np.logical_or.reduceat(hit, labelled.starts), dtype=np.bool_)
