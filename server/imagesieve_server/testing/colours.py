"""Pictures of one colour and policies about colours, so that every score is plain to see."""

from __future__ import annotations

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
    Vectors,
)
from imagesieve_server.core.views import Embeddings

Colour = tuple[int, int, int]

RED: Colour = (255, 0, 0)
GREEN: Colour = (0, 255, 0)
BLUE: Colour = (0, 0, 255)
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)

FINGERPRINT = "f" * 64


def ppm(colour: Colour, *, side: int = 8) -> bytes:
    """A square picture of one colour as a binary PPM file."""
    return b"P6 %d %d 255\n" % (side, side) + bytes(colour) * (side * side)


def colour_vector(colour: Colour) -> Vectors:
    """The unit embedding that FakeEncoder gives a picture of this colour, float32 [4]."""
    vector: Vectors = unit_vectors(np.asarray(colour, dtype=np.float64)[None, :])[0]
    return vector


def colour_policy(
    *,
    name: str = "colours",
    version: str = "v1",
    flagged: Sequence[tuple[str, Colour]] = (("red", RED),),
    block_at: float | None = None,
    **changes: Any,
) -> Policy:
    """A policy that flags colours against white, black, green and blue.

    ``changes`` replace fields of the policy.
    """
    categories = tuple(
        _colour_category(name=category, colour=colour, block_at=block_at)
        for category, colour in flagged
    )
    fields: dict[str, Any] = {
        "name": name,
        "version": version,
        "model_fingerprint": FINGERPRINT,
        "logit_scale": 100.0,
        "logit_bias": 0.0,
        "neutral": _group(WHITE, BLACK, GREEN, BLUE),
        "categories": categories,
        "source": f"name: {name}\n",
    }
    return Policy(**{**fields, **changes})


def _colour_category(*, name: str, colour: Colour, block_at: float | None) -> Category:
    return Category(
        id=name,
        title=name.title(),
        severity=2,
        mode=Mode.ENFORCE,
        method=Method.CONTRAST,
        pooling=Pooling.MAX,
        prompts=_group(colour),
        counter_prompts=PromptGroup(texts=(), vectors=np.zeros((0, 4), dtype=np.float32)),
        thresholds=Thresholds(
            review_at=Threshold(value=0.6),
            block_at=None if block_at is None else Threshold(value=block_at),
        ),
    )


def _group(*colours: Colour) -> PromptGroup:
    return PromptGroup(
        texts=tuple(str(colour) for colour in colours),
        vectors=np.stack([colour_vector(colour) for colour in colours]),
    )


def unit_vectors(colours: Any) -> Embeddings:
    """[n, 3] of 0 to 255 to unit [n, 4]; the fourth keeps black from having no direction."""
    vectors = np.concatenate([colours / 255.0, np.ones((len(colours), 1))], axis=1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)
