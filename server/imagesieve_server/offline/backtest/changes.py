"""What differs between two policies, in the words of the policy file. Counts nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from imagesieve_server.core.policy import Category, Policy, PromptGroup, Threshold, Thresholds


def of_policy(a: Policy, b: Policy) -> tuple[str, ...]:
    """What concerns every category."""
    found = [
        f"{key}: {one} → {other}"
        for key, one, other in (
            ("logit_scale", f"{a.logit_scale:g}", f"{b.logit_scale:g}"),
            ("logit_bias", f"{a.logit_bias:g}", f"{b.logit_bias:g}"),
            ("on_partial_coverage", a.on_partial_coverage.value, b.on_partial_coverage.value),
            ("audit", str(a.audit), str(b.audit)),
        )
        if one != other
    ]
    return (*found, *_prompts("neutral prompt", a.neutral, b.neutral))


def of_category(a: Category | None, b: Category | None) -> tuple[str, ...]:
    """What differs in a category; one that a policy lacks is None."""
    if a is None or b is None:
        return ("only in B" if a is None else "only in A",)
    return tuple(_category(a, b))


def _category(a: Category, b: Category) -> Iterator[str]:
    for key, one, other in (
        ("mode", a.mode.value, b.mode.value),
        ("method", a.method.value, b.method.value),
        ("pooling", a.pooling.value, b.pooling.value),
        ("review_at", *_both(a.thresholds.review_at, b.thresholds.review_at)),
        ("block_at", *_both(a.thresholds.block_at, b.thresholds.block_at)),
    ):
        if one != other:
            yield f"{key}: {one} → {other}"
    kinds = {kind for kind, _ in (*a.per_view_kind, *b.per_view_kind)}
    for kind in sorted(kinds):
        one, other = (_kind(dict(c.per_view_kind).get(kind, c.thresholds)) for c in (a, b))
        if one != other:
            yield f"{kind.value}: {one} → {other}"
    yield from _prompts("prompt", a.prompts, b.prompts)
    yield from _prompts("counter-prompt", a.counter_prompts, b.counter_prompts)
    if _weights(a) != _weights(b):
        yield "another probe"


def _prompts(what: str, a: PromptGroup, b: PromptGroup) -> Iterator[str]:
    for text in _without(b.texts, a.texts):
        yield f"{what} added: {text}"
    for text in _without(a.texts, b.texts):
        yield f"{what} removed: {text}"
    ours, theirs = (dict(zip(g.texts, g.vectors, strict=True)) for g in (a, b))
    if any(not np.array_equal(ours[text], theirs[text]) for text in ours.keys() & theirs.keys()):
        yield f"{what}s: other vectors for the same words (templates)"


def _without(texts: Sequence[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [text for text in texts if text not in known]


def _weights(category: Category) -> tuple[bytes, float] | None:
    probe = category.probe
    return None if probe is None else (probe.weights.tobytes(), probe.bias)


def _kind(limits: Thresholds) -> str:
    review, block = _both(limits.review_at, limits.block_at)
    return f"review_at {review}, block_at {block}"


def _both(a: Threshold | None, b: Threshold | None) -> tuple[str, str]:
    return _limit(a), _limit(b)


def _limit(threshold: Threshold | None) -> str:
    if threshold is None:
        return "none"
    return f"{threshold.value:g}" + (" logit" if threshold.scale == "logit" else "")
