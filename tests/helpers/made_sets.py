"""Labelled sets drawn at random, with a signal of a chosen strength in one view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from imagesieve_server.core.views import View, ViewKind
from imagesieve_server.offline.labelled.labelled_set import LabelledSet

SIZE = 16


def unit(rows: np.ndarray) -> np.ndarray:
    """float32 [N, D], each row of length 1."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def made_set(
    positive: np.ndarray,
    *,
    seed: int = 0,
    views: int = 1,
    signal: float = 3.0,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> LabelledSet:
    """``views`` a picture; of positive ones a single random view has the signal.

    ``positive`` [N] is 1, 0 or -1 (nobody said). Each picture has bytes of its own.
    """
    generator = np.random.default_rng(seed)
    count = len(positive)
    rows = generator.normal(size=(count, views, SIZE))
    shown = generator.integers(views, size=count)
    rows[np.arange(count), shown, 0] += signal * (positive == 1)
    return LabelledSet(
        files=tuple(f"{n}.png" for n in range(count)),
        sha256=tuple(f"{n:064x}" for n in range(count)),
        labels={"weapons": positive.astype(np.int8)},
        columns={name: tuple(values) for name, values in (columns or {}).items()},
        embeddings=unit(rows.reshape(-1, SIZE)),
        image_of=np.repeat(np.arange(count), views),
        views=(View(kind=ViewKind.STILL, box=(0, 0, 8, 8)),) * (count * views),
        coverage=np.ones(count),
        model_fingerprint="f" * 64,
    )
