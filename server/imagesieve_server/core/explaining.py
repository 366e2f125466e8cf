"""Why an image got its verdict, and what would have changed it. Pure arithmetic.

The numbers are the server's own, to the last bit: those of ``score_image`` and ``decide``. The
terms behind them are products of the same vectors made for one category at a time, so that they
add up to those numbers but for the last bits. For method contrast, at the view that decided,

    λ·m_P − logaddexp(λ·m_N, λ·m_C) = log-odds

and a "what if" is the same image judged again with one thing changed, never an estimate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Category, Method, Policy, PromptGroup
from imagesieve_server.core.scoring import (
    Doubles,
    Numbers,
    cosines,
    numbers_of,
    pool,
    sound_rows,
)
from imagesieve_server.core.verdict import CategoryScore, Judgement
from imagesieve_server.core.views import Embeddings, View
from imagesieve_server.core.what_if import Case, WhatIf, judge, what_would_change


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPull:
    """How near one prompt is to the view that decided."""

    text: str
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPull:
    """A group of prompts at the view that decided."""

    prompts: tuple[PromptPull, ...]  # all of them, the nearest first
    pooled: float  # m, a cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a category's log-odds at the view that decided are made of."""

    score: float  # at that view
    log_odds: float  # at that view; the cosine itself for method cosine
    prompts: GroupPull | None  # None for a probe
    neutral: GroupPull | None  # contrast only, as counter and against
    counter: GroupPull | None  # None also where the category has no counter-prompts
    against: float | None  # logaddexp(λ·m_N, λ·m_C), or λ·m_N without counter-prompts
    projection: float | None  # w·v of a probe


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryExplanation:
    """One category: its result, the terms behind it and what would change it."""

    category: Category
    score: CategoryScore  # what the server answers
    terms: Terms
    by_view: tuple[float | None, ...]  # log-odds at each view; None where it was not sound
    what_if: tuple[WhatIf, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One image under one policy."""

    policy: Policy
    judgement: Judgement
    views: tuple[View, ...]
    coverage: float
    categories: tuple[CategoryExplanation, ...]  # those that act first, then by distance

    @property
    def leading(self) -> CategoryExplanation | None:
        """The category that the verdict is about; the nearest to its threshold where none acts;
        None where nothing was scored."""
        return self.categories[0] if self.categories else None

    def about(self, ids: Collection[str]) -> tuple[CategoryExplanation, ...]:
        """The named categories, all of them where ``ids`` is empty; in the order of this value."""
        return tuple(found for found in self.categories if not ids or found.category.id in ids)


def explain(
    *,
    policy: Policy,
    embeddings: Embeddings,
    views: Sequence[View],
    coverage: float,
    truncated: Sequence[str] = (),
) -> Explanation:
    """Explain one image of which every view was encoded.

    ``embeddings`` is float32 [V, D]. Where some are not finite unit vectors the verdict says
    SCORE_INVALID and only the sound views are explained. Raises ValueError as ``score_image``.
    """
    case = Case(
        policy=policy,
        embeddings=embeddings,
        views=tuple(views),
        coverage=coverage,
        truncated=tuple(truncated),
    )
    judgement = judge(case)
    rows, vectors = sound_rows(embeddings)
    numbers = numbers_of(policy, vectors)
    categories = tuple(
        _explain_category(case, category, score, numbers, rows, vectors)
        for category, score in zip(policy.categories, judgement.scores, strict=False)
    )
    return Explanation(
        policy=policy,
        judgement=judgement,
        views=case.views,
        coverage=coverage,
        categories=_in_order(categories, judgement),
    )


def _explain_category(
    case: Case,
    category: Category,
    score: CategoryScore,
    numbers: Numbers,
    rows: npt.NDArray[np.intp],
    vectors: Doubles,
) -> CategoryExplanation:
    scores, logits = numbers.of(category)
    at = int(np.flatnonzero(rows == score.view)[0])
    by_view: list[float | None] = [None] * len(case.views)
    for row, logit in zip(rows, logits, strict=True):
        by_view[int(row)] = logit
    terms = _terms(case.policy, category, vectors, at, (scores[at], logits[at]))
    leaders = (_first(terms.prompts), _first(terms.neutral), _first(terms.counter))
    return CategoryExplanation(
        category=category,
        score=score,
        terms=terms,
        by_view=tuple(by_view),
        what_if=what_would_change(case, category, score, leaders=leaders),
    )


def _first(group: GroupPull | None) -> str:
    return group.prompts[0].text if group else ""


def _terms(
    policy: Policy, category: Category, vectors: Doubles, at: int, result: tuple[float, float]
) -> Terms:
    """The terms of view number ``at`` of the sound ones."""
    terms = Terms(
        score=result[0],
        log_odds=result[1],
        prompts=_pull(policy, category, category.prompts, vectors, at),
        neutral=None,
        counter=None,
        against=None,
        projection=None,
    )
    if category.probe is not None:
        products = vectors @ category.probe.weights.astype(np.float64)
        return dataclasses.replace(terms, projection=float(products[at]))
    if category.method is not Method.CONTRAST:
        return terms
    neutral = _pull(policy, category, policy.neutral, vectors, at)
    counter = _pull(policy, category, category.counter_prompts, vectors, at)
    assert neutral is not None  # the loader refuses a policy without neutral prompts
    against = policy.logit_scale * neutral.pooled
    if counter is not None:
        against = float(np.logaddexp(against, policy.logit_scale * counter.pooled))
    return dataclasses.replace(terms, neutral=neutral, counter=counter, against=against)


def _pull(
    policy: Policy, category: Category, group: PromptGroup, vectors: Doubles, at: int
) -> GroupPull | None:
    if not len(group):
        return None
    found = cosines(group, vectors)
    pooled = pool(found, pooling=category.pooling, logit_scale=policy.logit_scale)
    pulls = (
        PromptPull(text=text, cosine=float(cosine))
        for text, cosine in zip(group.texts, found[at], strict=True)
    )
    return GroupPull(
        prompts=tuple(sorted(pulls, key=lambda pull: -pull.cosine)), pooled=float(pooled[at])
    )


def _in_order(
    categories: tuple[CategoryExplanation, ...], judgement: Judgement
) -> tuple[CategoryExplanation, ...]:
    """The judgement's worst first, then those that act, then by distance to the threshold."""
    worst = judgement.worst
    return tuple(
        sorted(
            categories,
            key=lambda c: (c.score is not worst, not c.score.acts, -c.score.margin),
        )
    )
