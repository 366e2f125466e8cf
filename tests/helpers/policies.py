"""Policies made of a few explicit vectors, so that every score can be worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from imagesieve_server.core.policy import (
    Category,
    Method,
    Mode,
    Policy,
    Pooling,
    PromptGroup,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.views import View, ViewKind


def unit(*values: float) -> np.ndarray:
    vector = np.asarray(values, dtype=np.float64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def group(*vectors: np.ndarray) -> PromptGroup:
    rows = np.stack(vectors) if vectors else np.zeros((0, 0), dtype=np.float32)
    return PromptGroup(texts=tuple(f"prompt {i}" for i in range(len(vectors))), vectors=rows)


def category(prompts: PromptGroup, **changes: Any) -> Category:
    base = Category(
        id="weapons",
        title="Weapons",
        severity=3,
        mode=Mode.ENFORCE,
        method=Method.CONTRAST,
        pooling=Pooling.MAX,
        prompts=prompts,
        counter_prompts=group(),
        thresholds=Thresholds(review_at=Threshold(value=0.6)),
    )
    return dataclasses.replace(base, **changes)


def policy(categories: Sequence[Category], neutral: PromptGroup, **changes: Any) -> Policy:
    base = Policy(
        name="test",
        version="v" * 64,
        model_fingerprint="m" * 64,
        logit_scale=100.0,
        logit_bias=0.0,
        neutral=neutral,
        categories=tuple(categories),
    )
    return dataclasses.replace(base, **changes)


def still(count: int = 1) -> tuple[View, ...]:
    return tuple(View(kind=ViewKind.STILL, box=(0, 0, 8, 8)) for _ in range(count))
