"""The same image judged again with one thing of the policy changed.

One prompt less, another threshold, another mode: each is a whole new judgement of all views,
so that what it says would happen is what would happen.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass

from imagesieve_server.core.policy import (
    Category,
    Method,
    Mode,
    Policy,
    PromptGroup,
    Scale,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Band, CategoryScore, Judgement, Verdict, decide
from imagesieve_server.core.views import Embeddings, View

WORTH_SAYING = 0.05
"""A prompt whose absence moves the log-odds (or λ times the cosine) by less is not mentioned."""


class Change(enum.StrEnum):
    """What is changed."""

    WITHOUT_PROMPT = "without_prompt"
    WITHOUT_NEUTRAL = "without_neutral"
    WITHOUT_COUNTER = "without_counter"
    WITHOUT_ALL_COUNTERS = "without_all_counters"
    REVIEW_AT = "review_at"  # for every kind of view
    NO_BLOCK_AT = "no_block_at"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """One change and what would come of it."""

    change: Change
    prompt: str = ""  # the prompt that is left out
    threshold: Threshold | None = None  # the new review_at
    score: CategoryScore  # the category's result then
    verdict: Verdict  # the image's verdict then


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that a judgement is made from."""

    policy: Policy
    embeddings: Embeddings  # float32 [V, D]
    views: tuple[View, ...]
    coverage: float
    truncated: tuple[str, ...]


def judge(case: Case) -> Judgement:
    """The server's own two steps: scores, then the verdict."""
    scored = score_image(
        policy=case.policy,
        categories=case.policy.categories,
        embeddings=case.embeddings,
        views=case.views,
    )
    return decide(
        policy=case.policy,
        scores=scored.scores,
        scores_valid=scored.valid,
        coverage=case.coverage,
        truncated=case.truncated,
    )


def what_would_change(
    case: Case, category: Category, score: CategoryScore, *, leaders: tuple[str, str, str]
) -> tuple[WhatIf, ...]:
    """The changes worth telling, those that are about prompts first.

    ``leaders`` are the nearest prompt, neutral prompt and counter-prompt at the view that
    decided; "" where there is none. ``score`` is the category's result as things are.
    """
    least = WORTH_SAYING
    if category.method is Method.COSINE:
        least /= case.policy.logit_scale
    told = []
    for change, prompt, policy in _without(case.policy, category, leaders):
        found = _judge_again(case, policy, category, change=change, prompt=prompt)
        if abs(found.score.log_odds - score.log_odds) >= least:
            told.append(found)
    for change, threshold, changed in _other_rules(category, score):
        policy = _replaced(case.policy, changed)
        told.append(_judge_again(case, policy, category, change=change, threshold=threshold))
    return tuple(told)


def nearest_threshold(category: Category, score: CategoryScore) -> Threshold:
    """A round review_at on the other side of this score.

    At or below the score where the category is clear, above it where it is not. As log-odds
    where two decimals of a score would say too little, and where the policy says so itself.
    """
    flagged = score.band is not Band.CLEAR
    if category.method is Method.COSINE:
        return Threshold(value=_beside(score.score, digits=3, above=flagged))
    in_logits = score.threshold is not None and score.threshold.scale is Scale.LOGIT
    if not in_logits and 0.02 <= score.score <= 0.98:
        return Threshold(value=_beside(score.score, digits=2, above=flagged))
    return Threshold(value=_beside(score.log_odds, digits=2, above=flagged), scale=Scale.LOGIT)


def _beside(value: float, *, digits: int, above: bool) -> float:
    """The next number of so many digits above ``value``, or the last one not above it."""
    steps = math.floor(value * 10**digits)
    return float(round((steps + 1 if above else steps) / 10**digits, digits))


def _without(
    policy: Policy, category: Category, leaders: tuple[str, str, str]
) -> Iterator[tuple[Change, str, Policy]]:
    prompt, neutral, counter = leaders
    if prompt and len(category.prompts) > 1:
        fewer = dataclasses.replace(category, prompts=_less(category.prompts, prompt))
        yield Change.WITHOUT_PROMPT, prompt, _replaced(policy, fewer)
    if neutral and len(policy.neutral) > 1:
        others = dataclasses.replace(policy, neutral=_less(policy.neutral, neutral))
        yield Change.WITHOUT_NEUTRAL, neutral, others
    if counter:
        fewer = dataclasses.replace(
            category, counter_prompts=_less(category.counter_prompts, counter)
        )
        yield Change.WITHOUT_COUNTER, counter, _replaced(policy, fewer)
    if counter and len(category.counter_prompts) > 1:
        none = PromptGroup(texts=(), vectors=category.counter_prompts.vectors[:0])
        bare = dataclasses.replace(category, counter_prompts=none)
        yield Change.WITHOUT_ALL_COUNTERS, "", _replaced(policy, bare)


def _other_rules(
    category: Category, score: CategoryScore
) -> Iterator[tuple[Change, Threshold | None, Category]]:
    if score.band is Band.BLOCK:
        limits = Thresholds(review_at=score.threshold)
        yield Change.NO_BLOCK_AT, None, _limited(category, limits)
    elif math.isfinite(score.log_odds):
        at = nearest_threshold(category, score)
        yield Change.REVIEW_AT, at, _limited(category, Thresholds(review_at=at))
    if category.mode is Mode.OBSERVE and score.band is not Band.CLEAR:
        yield Change.ENFORCE, None, dataclasses.replace(category, mode=Mode.ENFORCE)


def _less(group: PromptGroup, text: str) -> PromptGroup:
    keep = [number for number, other in enumerate(group.texts) if other != text]
    return PromptGroup(
        texts=tuple(group.texts[number] for number in keep), vectors=group.vectors[keep]
    )


def _limited(category: Category, limits: Thresholds) -> Category:
    return dataclasses.replace(category, thresholds=limits, per_view_kind=())


def _replaced(policy: Policy, changed: Category) -> Policy:
    categories = tuple(changed if c.id == changed.id else c for c in policy.categories)
    return dataclasses.replace(policy, categories=categories)


def _judge_again(
    case: Case,
    policy: Policy,
    category: Category,
    *,
    change: Change,
    prompt: str = "",
    threshold: Threshold | None = None,
) -> WhatIf:
    judgement = judge(dataclasses.replace(case, policy=policy))
    (score,) = (s for s in judgement.scores if s.category == category.id)
    return WhatIf(
        change=change, prompt=prompt, threshold=threshold, score=score, verdict=judgement.verdict
    )
