"""Policies and kept images drawn at random, of everything that a judgement depends on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from helpers.judged import NOON, judged, unit
from helpers.policies import category, group, policy
from imagesieve_server.core.kept import KeptImage, kept_image
from imagesieve_server.core.policy import (
    Category,
    Method,
    Mode,
    OnPartialCoverage,
    Policy,
    Pooling,
    Probe,
    Scale,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.views import View, ViewKind

IDS = ("weapons", "drugs", "spam", "gore", "hate")


def random_policy(rng: np.random.Generator, dimensions: int, **changes: Any) -> Policy:
    """One to five categories of any method, pooling, mode and thresholds."""
    count = int(rng.integers(1, len(IDS) + 1))
    return policy(
        [_category(rng, name, dimensions) for name in IDS[:count]],
        group(*unit(rng, int(rng.integers(1, 4)), dimensions)),
        **{
            "logit_scale": float(rng.choice([14.0, 100.0])),
            "logit_bias": float(rng.choice([0.0, -10.0])),
            "on_partial_coverage": OnPartialCoverage(rng.choice(list(OnPartialCoverage))),
            **changes,
        },
    )


def _category(rng: np.random.Generator, name: str, dimensions: int) -> Category:
    method = Method(rng.choice(list(Method)))
    prompts = group(*unit(rng, int(rng.integers(1, 4)), dimensions))
    counter = group(*unit(rng, int(rng.integers(0, 3)), dimensions))
    probe = Probe(weights=(unit(rng, 1, dimensions)[0] * 9).astype(np.float32), bias=-1.0)
    kinds = [kind for kind in ViewKind if rng.random() < 0.3]
    return category(
        prompts,
        id=name,
        method=method,
        pooling=Pooling(rng.choice(list(Pooling))),
        mode=Mode(rng.choice(list(Mode), p=[0.8, 0.2])),
        counter_prompts=counter,
        thresholds=_thresholds(rng, method),
        per_view_kind=tuple((kind, _thresholds(rng, method)) for kind in kinds),
        probe=probe if method is Method.PROBE else None,
    )


def _thresholds(rng: np.random.Generator, method: Method) -> Thresholds:
    if method is Method.COSINE:
        review = Threshold(value=float(rng.uniform(0.0, 0.6)))
        block = Threshold(value=review.value + 0.1)
    elif rng.random() < 0.4:
        review = Threshold(value=float(rng.normal(0, 5)), scale=Scale.LOGIT)
        block = Threshold(value=review.value + 3, scale=Scale.LOGIT)
    else:
        value = float(rng.choice([rng.random(), 0.0, 1.0, 1.0 - 2.0**-53, 1e-300, 0.6]))
        review, block = Threshold(value=value), Threshold(value=min(1.0, value + 0.2))
    return Thresholds(
        review_at=review if rng.random() < 0.9 else None,
        block_at=block if rng.random() < 0.5 else None,
    )


def random_images(
    rng: np.random.Generator, of: Policy, count: int, dimensions: int
) -> list[KeptImage]:
    """Images of one to six views; some near a prompt, some invalid, some cut, some of a subset."""
    aims = np.concatenate([of.neutral.vectors, *(c.prompts.vectors for c in of.categories)])
    images = []
    for number in range(count):
        views = int(rng.integers(1, 7))
        embeddings = (
            unit(rng, views, dimensions)
            + 2.0 * rng.random() * aims[rng.integers(len(aims), size=views)]
        )
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        if rng.random() < 0.1:
            embeddings[rng.integers(views)] *= rng.choice([np.nan, np.inf, 0.0, 1.0015, 0.9985, 5])
        ids = tuple(c.id for c in of.categories if rng.random() < 0.5)
        shown = judged(
            f"{number}",
            policy=of,
            embeddings=embeddings.astype(np.float32),
            views_shown=tuple(_view(rng, n) for n in range(views)),
            coverage=float(rng.choice([1.0, 0.5], p=[0.8, 0.2])),
            categories=ids if rng.random() < 0.2 else (),
        )
        images.append(kept_image(shown, at=NOON))
    return images


def _view(rng: np.random.Generator, number: int) -> View:
    kind = ViewKind(rng.choice(list(ViewKind)))
    frame = int(rng.integers(0, 3)) if kind is ViewKind.FRAME else 0
    return View(kind=kind, box=(number, 0, 9, 9), frame=frame)


def with_threshold(of: Policy, number: int, value: float, scale: Scale) -> Policy:
    """The policy with one category's review threshold at exactly that value, for every view."""
    limit = Thresholds(review_at=Threshold(value=value, scale=scale))
    changed = dataclasses.replace(of.categories[number], thresholds=limit, per_view_kind=())
    categories = (*of.categories[:number], changed, *of.categories[number + 1 :])
    return dataclasses.replace(of, categories=categories)
