"""Judged images by the hundred, of random embeddings."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from imagesieve_server.core.kept import JudgedImage
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import decide
from imagesieve_server.core.views import Background, Embeddings, View, ViewKind
from imagesieve_server.testing import colour_policy

DAY_S = 86400.0
NOON = 20_000 * DAY_S + DAY_S / 2
"""Some noon, UTC, seconds since the epoch."""


def sha_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def unit(rng: np.random.Generator, rows: int, dimensions: int) -> Embeddings:
    found = rng.standard_normal((rows, dimensions))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def views_of(count: int) -> tuple[View, ...]:
    """The first is the still, then tiles and frames by turns."""
    kinds = (ViewKind.TILE, ViewKind.FRAME)
    return tuple(
        View(
            kind=kinds[n % 2] if n else ViewKind.STILL,
            box=(n, 0, n + 64, 64),
            frame=n if n and kinds[n % 2] is ViewKind.FRAME else 0,
            background=Background.BLACK if n % 3 == 2 else Background.NONE,
        )
        for n in range(count)
    )


def judged(name: str = "picture", *, views: int = 1, seed: int = 1, **changes: Any) -> JudgedImage:
    """An image judged by the core itself; ``changes`` replace fields."""
    policy: Policy = changes.pop("policy", None) or colour_policy()
    dimensions = policy.neutral.vectors.shape[1]
    embeddings = changes.pop("embeddings", None)
    if embeddings is None:
        embeddings = unit(np.random.default_rng(seed), views, dimensions)
    coverage = changes.pop("coverage", 1.0)
    truncated = changes.pop("truncated", ())
    shown = changes.pop("views_shown", views_of(len(embeddings)))
    categories = changes.pop("categories", ())
    scored = score_image(
        policy=policy, categories=policy.subset(categories), embeddings=embeddings, views=shown
    )
    judgement = decide(
        policy=policy,
        scores=scored.scores,
        scores_valid=scored.valid,
        coverage=coverage,
        truncated=truncated,
    )
    return JudgedImage(
        tenant=changes.pop("tenant", "t"),
        sha256=sha_of(name),
        surface=changes.pop("surface", ""),
        categories=categories,
        policy=policy,
        judgement=judgement,
        views=shown,
        coverage=coverage,
        truncated=truncated,
        embeddings=embeddings,
    )
