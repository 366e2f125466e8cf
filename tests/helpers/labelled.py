"""Labelled sets made of numbers: two-dimensional embeddings, so that every score is known.

A picture is an angle. A policy's one prompt lies at angle 0 and its neutral prompt at 90
degrees, so that the log-odds of a picture fall with its angle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from helpers import policies
from imagesieve_server.core.policy import Category, Policy, Threshold, Thresholds
from imagesieve_server.core.views import View, ViewKind
from imagesieve_server.offline.labelled.labelled_set import LabelledSet

BOX = (0, 0, 8, 8)
STILL = View(kind=ViewKind.STILL, box=BOX)


def at_angles(degrees: Sequence[float]) -> np.ndarray:
    """Unit vectors float32 [n, 2]."""
    radians = np.radians(np.asarray(degrees, dtype=np.float64))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def angle_category(id: str = "weapons", **changes: object) -> Category:
    """One prompt at angle 0; flagged from log-odds 0 on, which is at 45 degrees."""
    limits = Thresholds(review_at=Threshold(value=0.5))
    return policies.category(
        policies.group(policies.unit(1, 0)), **({"id": id, "thresholds": limits} | changes)
    )


def angle_policy(*categories: Category, **changes: object) -> Policy:
    """Neutral is at 90 degrees; λ is 10."""
    return policies.policy(
        categories or (angle_category(),),
        neutral=policies.group(policies.unit(0, 1)),
        **({"logit_scale": 10.0, "model_fingerprint": "f" * 64} | changes),
    )


def labelled_set(
    embeddings: np.ndarray,
    labels: Mapping[str, Sequence[int]],
    *,
    views: Sequence[Sequence[View]] | None = None,
    columns: Mapping[str, Sequence[str]] | None = None,
    coverage: Sequence[float] | None = None,
    sha256: Sequence[str] | None = None,
) -> LabelledSet:
    """A set; without ``views`` each embedding is a still of its own."""
    if views is None:
        views = [[STILL]] * len(embeddings)
    return LabelledSet(
        files=tuple(f"{n}.png" for n in range(len(views))),
        sha256=tuple(sha256 or (f"{n:064x}" for n in range(len(views)))),
        labels={name: np.array(answers, dtype=np.int8) for name, answers in labels.items()},
        columns={name: tuple(values) for name, values in (columns or {}).items()},
        embeddings=embeddings,
        image_of=np.repeat(np.arange(len(views)), [len(one) for one in views]),
        views=tuple(view for one in views for view in one),
        coverage=np.ones(len(views)) if coverage is None else np.array(coverage, dtype=np.float64),
        model_fingerprint="f" * 64,
    )
