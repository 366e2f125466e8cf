"""Judged images by the hundred, of random embeddings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from imagesieve_server.core.kept import (
    BACKGROUNDS,
    KINDS,
    JudgedImage,
    KeptBlock,
    KeptImage,
    Words,
    plan_text,
)
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


def block_of(images: Sequence[KeptImage]) -> KeptBlock:
    """Images of one tenant as one block, without a file."""
    views = [view for image in images for view in image.views]
    counts = [len(image.views) for image in images]
    return KeptBlock(
        tenant=images[0].tenant,
        model_fingerprint=images[0].model_fingerprint,
        first=np.cumsum([0, *counts[:-1]]).astype(np.intp),
        sha256=np.frombuffer(b"".join(bytes.fromhex(i.sha256) for i in images), dtype="V32"),
        at=np.array([image.at for image in images]),
        surface=_words([image.surface for image in images]),
        policy=_words([image.policy for image in images]),
        policy_version=_words([image.policy_version for image in images]),
        verdict=_words([image.verdict.value for image in images]),
        categories=_words([",".join(image.categories) for image in images]),
        truncated=_words([",".join(image.truncated) for image in images]),
        plan=_words([plan_text(image.plan) for image in images]),
        coverage=np.array([image.coverage for image in images]),
        kinds=np.array([KINDS.index(view.kind) for view in views], dtype=np.int8),
        frames=np.array([view.frame for view in views], dtype=np.int32),
        boxes=np.array([view.box for view in views], dtype=np.int32),
        backgrounds=np.array([BACKGROUNDS.index(v.background) for v in views], dtype=np.int8),
        embeddings=np.concatenate([image.embeddings for image in images]),
    )


def _words(texts: Sequence[str]) -> Words:
    different = tuple(sorted(set(texts)))
    return Words(
        texts=different, codes=np.array([different.index(text) for text in texts], dtype=np.int32)
    )
