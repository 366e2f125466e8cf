"""What a model can do with pairs: retrieval both ways, zero-shot accuracy where there are classes.

Pure arithmetic over unit embeddings; refuses to know models and files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Vectors

Numbers = npt.NDArray[np.intp]

_CHUNK = 512  # rows of similarities at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pairs to find again: I different pictures, C different captions, P pairs."""

    pictures: Vectors  # float32 [I, D], unit rows
    captions: Vectors  # float32 [C, D], unit rows
    picture_of: Numbers  # [P]
    caption_of: Numbers  # [P]
    classes: Vectors | None = None  # float32 [K, D], a caption of each class
    class_of: Numbers | None = None  # [I]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """Shares between 0 and 1."""

    picture_to_caption_1: float  # a true caption is first among all
    picture_to_caption_5: float
    caption_to_picture_1: float
    caption_to_picture_5: float
    zero_shot: float | None  # the nearest class is the picture's own


def ability(gallery: Gallery) -> Ability:
    """Recall at 1 and 5 both ways, and zero-shot accuracy.

    Any true caption or picture counts; an untrue one that is as similar counts as before it.
    """
    true = _truth(gallery)
    forth = _ranks(gallery.pictures, gallery.captions, true)
    back = _ranks(gallery.captions, gallery.pictures, _turned(true, len(gallery.captions)))
    return Ability(
        picture_to_caption_1=float(np.mean(forth < 1)),
        picture_to_caption_5=float(np.mean(forth < 5)),
        caption_to_picture_1=float(np.mean(back < 1)),
        caption_to_picture_5=float(np.mean(back < 5)),
        zero_shot=_zero_shot(gallery),
    )


def _truth(gallery: Gallery) -> list[Numbers]:
    """For each picture the numbers of its true captions."""
    true: list[list[int]] = [[] for _ in gallery.pictures]
    for picture, caption in zip(gallery.picture_of, gallery.caption_of, strict=True):
        true[picture].append(caption)
    return [np.unique(np.asarray(row, dtype=np.intp)) for row in true]


def _turned(true: list[Numbers], count: int) -> list[Numbers]:
    turned: list[list[int]] = [[] for _ in range(count)]
    for number, others in enumerate(true):
        for other in others:
            turned[other].append(number)
    return [np.asarray(row, dtype=np.intp) for row in turned]


def _ranks(queries: Vectors, found: Vectors, true: list[Numbers]) -> Numbers:
    """[N]: how many untrue ones are at least as similar as the best true one."""
    ranks = np.empty(len(queries), dtype=np.intp)
    for start in range(0, len(queries), _CHUNK):
        similar = queries[start : start + _CHUNK] @ found.T
        for row, values in enumerate(similar):
            own = true[start + row]
            best = values[own].max()
            values[own] = -np.inf
            ranks[start + row] = np.count_nonzero(values >= best)
    return ranks


def _zero_shot(gallery: Gallery) -> float | None:
    if gallery.classes is None or gallery.class_of is None:
        return None
    nearest = (gallery.pictures @ gallery.classes.T).argmax(axis=1)
    return float(np.mean(nearest == gallery.class_of))


def turned_by(before: Vectors, after: Vectors) -> float:
    """Mean cosine between the old and the new embedding of the same picture; 1 is unmoved."""
    return float(np.mean(np.einsum("nd,nd->n", before.astype(np.float64), after)))
