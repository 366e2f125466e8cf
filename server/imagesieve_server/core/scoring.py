"""From embeddings to category scores. All arithmetic is float64.

For a view embedding v and an ensembled prompt vector t_p (both unit), c(p) = ⟨v, t_p⟩, λ is
the model's logit_scale and b its bias. A group of prompts is pooled to m: the maximum of c,
or (1/λ)·log mean e^{λc}.

    contrast   logit = λ·m_P − logaddexp(λ·m_N, λ·m_C), score = σ(logit)
    sigmoid    logit = λ·m_P + b (SigLIP's own loss, arXiv:2303.15343), score = σ(logit)
    cosine     score = m_P; there is no logit
    probe      logit = w·v + β, score = σ(logit)

P, N, C are the category's prompts, the policy's neutral prompts and the category's
counter-prompts. N and C are pooled apart: one pool would drown a counter-prompt among many
neutral ones. An empty C drops its term. (e^{λc} overflows float32 from c = 0.887 on at
λ = 100, hence float64 and logaddexp.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.calibration import probability
from imagesieve_server.core.policy import (
    Category,
    Family,
    Method,
    Policy,
    Pooling,
    PromptGroup,
    Scale,
    Threshold,
)
from imagesieve_server.core.verdict import Band, CategoryScore
from imagesieve_server.core.views import Embeddings, View, ViewKind

Doubles = npt.NDArray[np.float64]

UNIT_TOLERANCE = 1e-3
"""An embedding's length may differ from 1 by this much (fp16 encoders round to about 5e-4)."""

_BAND_ORDER = {Band.CLEAR: 0, Band.REVIEW: 1, Band.BLOCK: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The categories' scores, and whether all numbers behind them were sound."""

    scores: tuple[CategoryScore, ...]
    valid: bool


def pool(found: Doubles, *, pooling: Pooling, logit_scale: float) -> Doubles:
    """Pool the cosines [V, n] of a group of n ≥ 1 prompts to m [V]."""
    if pooling is Pooling.MAX:
        return np.asarray(np.maximum.reduce(found, axis=1), dtype=np.float64)
    scaled = logit_scale * found
    peak = scaled.max(axis=1, keepdims=True)
    mean = np.exp(scaled - peak).mean(axis=1)
    return np.asarray((peak[:, 0] + np.log(mean)) / logit_scale, dtype=np.float64)


def sigmoid(logits: Doubles) -> Doubles:
    """σ(x) = 1 / (1 + e^{−x}) without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits)), dtype=np.float64)


def score_image(
    *,
    policy: Policy,
    categories: Sequence[Category],
    embeddings: Embeddings,
    views: Sequence[View],
) -> Scored:
    """Score every one of these categories, which are the policy's own, over every view.

    ``embeddings`` is float32 [V, D], one row per view. With embeddings that are not finite
    unit vectors, ``valid`` is False and the scores are those of the sound rows only (none at
    all where no row is sound). Raises ValueError for what does not belong together.
    """
    if embeddings.ndim != 2 or len(embeddings) != len(views) or not len(views):
        raise ValueError(f"{len(views)} views but embeddings of shape {embeddings.shape}")
    rows, vectors = sound_rows(embeddings)
    if not len(rows):
        return Scored(scores=(), valid=False)
    numbers = numbers_of(policy, vectors)
    rows_seen = rows.tolist()
    scores = tuple(
        _score_category(category, numbers.of(category), numbers.neutral, rows_seen, views)
        for category in categories
    )
    finite = all(math.isfinite(s.score) and math.isfinite(s.log_odds) for s in scores)
    return Scored(scores=scores, valid=len(rows) == len(views) and finite)


def sound_rows(embeddings: Embeddings) -> tuple[npt.NDArray[np.intp], Doubles]:
    """The numbers [R] and float64 vectors [R, D] of the rows that are finite unit vectors."""
    vectors = embeddings.astype(np.float64)
    squares = np.add.reduce(vectors * vectors, axis=1).tolist()  # float32's square fits in
    sound = [abs(math.sqrt(square) - 1.0) <= UNIT_TOLERANCE for square in squares]  # NaN is not
    if all(sound):  # as nearly always, and then at half the price
        return np.arange(len(vectors)), vectors
    rows = np.flatnonzero(sound)
    return rows, vectors[rows]


def logits_of(policy: Policy, category: Category, vectors: Doubles) -> tuple[Doubles, Doubles]:
    """The category's (score, log-odds) of each view vector [V, D], each [V]."""
    if category.method is Method.PROBE:
        return _by_probe(category, vectors)
    m_p = _pooled(policy, category.prompts, vectors, category.pooling)
    if category.method is not Method.CONTRAST:
        return _by_prompts(policy, category.method, m_p, against=None)
    against = policy.logit_scale * _pooled(policy, policy.neutral, vectors, category.pooling)
    if len(category.counter_prompts):
        m_c = _pooled(policy, category.counter_prompts, vectors, category.pooling)
        against = np.logaddexp(against, policy.logit_scale * m_c)
    return _by_prompts(policy, Method.CONTRAST, m_p, against=against)


def _by_probe(category: Category, vectors: Doubles) -> tuple[Doubles, Doubles]:
    if category.probe is None:
        raise ValueError(f"category {category.id!r} has method probe but no probe")
    logits = vectors @ category.probe.weights.astype(np.float64) + category.probe.bias
    return sigmoid(logits), logits


def _by_prompts(
    policy: Policy, method: Method, m_p: Doubles, *, against: Doubles | None
) -> tuple[Doubles, Doubles]:
    """(score, log-odds) of pooled cosines of any shape; ``against`` is what contrast subtracts."""
    if method is Method.COSINE:
        return m_p, m_p
    logits = policy.logit_scale * m_p
    logits = logits + policy.logit_bias if against is None else logits - against
    return sigmoid(logits), logits


ByView = tuple[list[float], list[float]]
"""Of one category, each view's score and log-odds, each [V]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What the server compares with thresholds: every category's numbers at every view."""

    by_category: Mapping[int, ByView]  # by the ``id`` of the policy's own objects
    neutral: list[float]  # the neutral prompts pooled by maximum, [V]

    def of(self, category: Category) -> ByView:
        """Raises ValueError for a category that is not one of the policy's own."""
        if (numbers := self.by_category.get(id(category))) is None:
            raise ValueError(f"category {category.id!r} is not one of the policy's own")
        return numbers


def numbers_of(policy: Policy, vectors: Doubles) -> Numbers:
    """The numbers of view vectors [V, D], finite unit vectors all. As ``logits_of`` but for the
    last bits: wider products sum in another order."""
    found: dict[int, ByView] = {}
    neutral: Doubles | None = None
    for family in policy.families:
        pooled = _pooled_groups(policy, family, vectors)
        if family.pooling is Pooling.MAX:
            neutral = pooled[:, 0]
        scores, logits = _of_family(policy, family, pooled)
        by_view = zip(scores.T.tolist(), logits.T.tolist(), strict=True)
        found.update(zip(map(id, family.members), by_view, strict=True))
    for category in policy.categories:
        if category.method is Method.PROBE:
            scores, logits = _by_probe(category, vectors)
            found[id(category)] = scores.tolist(), logits.tolist()
    if neutral is None:
        neutral = _pooled(policy, policy.neutral, vectors, Pooling.MAX)
    return Numbers(by_category=found, neutral=neutral.tolist())


def _pooled_groups(policy: Policy, family: Family, vectors: Doubles) -> Doubles:
    """m of every group of the family, [V, 1 + C + K]."""
    found = vectors @ family.vectors.T
    if family.pooling is Pooling.MAX:
        return np.asarray(np.maximum.reduceat(found, family.starts, axis=1), dtype=np.float64)
    groups = np.split(found, family.starts[1:], axis=1)
    scale = policy.logit_scale
    return np.stack([pool(g, pooling=family.pooling, logit_scale=scale) for g in groups], axis=1)


def _of_family(policy: Policy, family: Family, pooled: Doubles) -> tuple[Doubles, Doubles]:
    """(score, log-odds) of each view and category, each [V, C]."""
    behind = 1 + len(family.members)
    m_p = pooled[:, 1:behind]
    if family.method is not Method.CONTRAST:
        return _by_prompts(policy, family.method, m_p, against=None)
    against = policy.logit_scale * pooled[:, :1]
    if len(family.countered):
        m_c = pooled[:, behind:]
        neutral, against = against, np.repeat(against, len(family.members), axis=1)
        against[:, family.countered] = np.logaddexp(neutral, policy.logit_scale * m_c)
    return _by_prompts(policy, family.method, m_p, against=against)


def cosines(group: PromptGroup, vectors: Doubles) -> Doubles:
    """c(p) of each view vector [V, D] and each of the group's n ≥ 1 prompts: [V, n]."""
    return np.asarray(vectors @ group.doubles.T, dtype=np.float64)


def _pooled(policy: Policy, group: PromptGroup, vectors: Doubles, pooling: Pooling) -> Doubles:
    if not len(group):
        return np.zeros(len(vectors))
    return pool(cosines(group, vectors), pooling=pooling, logit_scale=policy.logit_scale)


def _band(score: float, logit: float, review: Threshold | None, block: Threshold | None) -> Band:
    if block is not None and block.reached(score=score, logit=logit):
        return Band.BLOCK
    if review is not None and review.reached(score=score, logit=logit):
        return Band.REVIEW
    return Band.CLEAR


def _margin(category: Category, logit: float, review: Threshold | None) -> float:
    if review is None:
        return -math.inf
    if category.method is Method.COSINE:
        return logit - review.value
    limit = review.value if review.scale is Scale.LOGIT else review.log_odds()
    return logit - limit


def _score_category(
    category: Category,
    by_view: ByView,
    neutral: Sequence[float],
    rows: Sequence[int],
    views: Sequence[View],
) -> CategoryScore:
    """``rows``: the numbers of the sound views among all; the other numbers are theirs."""
    scores, logits = by_view
    bands: list[tuple[Band, Threshold | None, Threshold | None]] = []
    for row, score, logit in zip(rows, scores, logits, strict=True):
        view = views[row]
        first = row == 0 or (view.kind is ViewKind.FRAME and view.frame == 0)
        limits = category.thresholds_for(view.kind, first=first)
        band = _band(score, logit, limits.review_at, limits.block_at)
        bands.append((band, limits.review_at, limits.block_at))
    worst = _worst(bands, logits) if len(bands) > 1 else 0
    band, review_at, block_at = bands[worst]
    highest = _highest(logits)
    return CategoryScore(
        category=category.id,
        score=_highest(scores),
        log_odds=highest,
        neutral_score=neutral[worst],
        threshold=review_at,
        block_threshold=block_at,
        margin=_margin(category, logits[worst], review_at),
        band=band,
        view=rows[worst],
        severity=category.severity,
        mode=category.mode,
        probability=probability(category.calibration, highest),
    )


def _worst(
    bands: Sequence[tuple[Band, Threshold | None, Threshold | None]], logits: Sequence[float]
) -> int:
    """The view of the strongest band, and among those of the highest log-odds."""
    return max(range(len(bands)), key=lambda at: (_BAND_ORDER[bands[at][0]], logits[at]))


def _highest(values: Sequence[float]) -> float:
    """NaN where one of them is."""
    return math.nan if any(map(math.isnan, values)) else max(values)
