"""What judging many images needs of a policy: prompts as columns of one matrix, thresholds on
one scale, and how far a number may be off. Values only; ``judge`` does the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.kept import KINDS
from imagesieve_server.core.policy import (
    Category,
    Method,
    Policy,
    PromptGroup,
    Scale,
    Threshold,
    Thresholds,
    Vectors,
)

Places = npt.NDArray[np.intp]

SLACK = 1e-9
"""More than the rounding of the float64 steps after the cosines, in log-odds."""


class Columns:
    """Each different prompt vector or probe of some policies once: ``matrix`` is [K, D]."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._rows: list[Vectors] = []

    def add(self, vectors: Vectors) -> Places:
        """Where the rows of [n, D] stand in the matrix."""
        found = []
        for row in vectors:
            key = row.tobytes()
            if key not in self._places:
                self._places[key] = len(self._rows)
                self._rows.append(row)
            found.append(self._places[key])
        return np.array(found, dtype=np.intp)

    def matrix(self) -> Vectors:
        """All rows, float32 [K, D]."""
        return np.stack(self._rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Where a band begins: at ``at``, give or take ``slack`` (σ rounds where it is flat)."""

    at: float  # log-odds; the cosine for method cosine; +∞ where the band does not exist
    slack: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewLimits:
    """The limits of one kind of view, or of all views."""

    kind: int | None  # place in KINDS; None is every view
    review: Limit
    block: Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryPlan:
    """One category of one policy."""

    category: Category
    prompts: Places
    neutral: Places
    counter: Places
    limits: tuple[ViewLimits, ...]
    cosine_weight: float  # what an error of every cosine by 1 does to the measure, at most
    rounding: float  # 3 standard deviations of what float16 did to the measure


def plan(policy: Policy, columns: Columns) -> tuple[CategoryPlan, ...]:
    """Every category of a policy, its vectors added to the columns."""
    neutral = columns.add(policy.neutral.vectors) if len(policy.neutral) else _none()
    return tuple(_category(policy, category, neutral, columns) for category in policy.categories)


def _category(
    policy: Policy, category: Category, neutral: Places, columns: Columns
) -> CategoryPlan:
    if category.method is Method.PROBE:
        if category.probe is None:
            raise ValueError(f"category {category.id!r} has method probe but no probe")
        prompts = columns.add(category.probe.weights[None, :])
    else:
        prompts = _places(category.prompts, columns)
    contrast = category.method is Method.CONTRAST
    return CategoryPlan(
        category=category,
        prompts=prompts,
        neutral=neutral if contrast else _none(),
        counter=_places(category.counter_prompts, columns) if contrast else _none(),
        limits=tuple(_limits(category)),
        cosine_weight=_weight(policy, category),
        rounding=_rounding(policy, category),
    )


def _places(group: PromptGroup, columns: Columns) -> Places:
    return columns.add(group.vectors) if len(group) else _none()


def _none() -> Places:
    return np.zeros(0, dtype=np.intp)


def _limits(category: Category) -> Iterator[ViewLimits]:
    if not category.per_view_kind:
        yield _view_limits(category, None, category.thresholds)
        return
    for place, kind in enumerate(KINDS):
        yield _view_limits(category, place, category.thresholds_for(kind, first=False))


def _view_limits(category: Category, kind: int | None, limits: Thresholds) -> ViewLimits:
    return ViewLimits(
        kind=kind,
        review=_limit(limits.review_at, category.method),
        block=_limit(limits.block_at, category.method),
    )


def _limit(threshold: Threshold | None, method: Method) -> Limit:
    """The limit on the scale of what is measured.

    A score near 0 or 1 hardly moves with its log-odds, so what float64 makes of it can begin a
    band a little earlier or later: by the rounding ÷ the slope of σ.
    """
    if threshold is None or math.isnan(threshold.value):
        return Limit(at=math.inf if threshold is None else -math.inf)
    value = threshold.value
    if method is Method.COSINE or threshold.scale is Scale.LOGIT:
        return Limit(at=value)
    if value <= 0.0:
        return Limit(at=-math.inf)
    if value > 1.0:
        return Limit(at=math.inf)
    if value > 1.0 - 1e-15:
        return Limit(at=37.0, slack=3.0)  # from about 36.7 on σ is 1 in float64
    return Limit(at=threshold.log_odds(), slack=2.0**-50 / (value * (1.0 - value)))


def _weight(policy: Policy, category: Category) -> float:
    if category.method is Method.PROBE and category.probe is not None:
        return float(np.linalg.norm(category.probe.weights.astype(np.float64)))
    return {Method.COSINE: 1.0, Method.SIGMOID: policy.logit_scale}.get(
        category.method, 2.0 * policy.logit_scale
    )


def _rounding(policy: Policy, category: Category) -> float:
    """3 standard deviations of the change that rounding a unit vector to float16 makes.

    The measure's slope in a number of the embedding is at most g, the largest over all prompts
    that may decide; each number x is off by at most half a unit in its last place, evenly, so by
    2⁻¹⁰|x|/√12 in the mean square at most. Independent, they add up to g·2⁻¹⁰/√12 for |v| = 1.
    """
    return 3.0 * _slope(policy, category) * 2.0**-10 / math.sqrt(12.0)


def _slope(policy: Policy, category: Category) -> float:
    if category.method is Method.PROBE and category.probe is not None:
        return _largest([category.probe.weights[None, :]])
    scale = 1.0 if category.method is Method.COSINE else policy.logit_scale
    prompts = category.prompts.vectors
    if category.method is not Method.CONTRAST:
        return scale * _largest([prompts])
    against = [g.vectors for g in (policy.neutral, category.counter_prompts) if len(g)]
    if not against:
        return scale * _largest([prompts])
    other = np.concatenate(against)
    apart = np.maximum(
        prompts.max(axis=0) - other.min(axis=0), other.max(axis=0) - prompts.min(axis=0)
    )
    return scale * float(apart.max())


def _largest(groups: Sequence[Vectors]) -> float:
    return max(float(np.abs(group).max()) for group in groups)
