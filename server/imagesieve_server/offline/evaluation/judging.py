"""Verdicts on labelled pictures, by the code that serves: ``score_image``, then ``decide``.

``flagged`` is the same rule over all pictures at once, for variants of a category that no server
judges by; tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Category, Method, Policy, Scale, Threshold
from imagesieve_server.core.scoring import score_image, sigmoid
from imagesieve_server.core.verdict import Band, CategoryScore, Verdict, decide
from imagesieve_server.core.views import View, ViewKind
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.measures.ranking import Doubles, Flags

_BANDS = {Band.CLEAR: 0, Band.REVIEW: 1, Band.BLOCK: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the server would say of N pictures."""

    verdicts: tuple[Verdict, ...]  # N
    bands: Mapping[str, npt.NDArray[np.int8]]  # category id → [N]: 0 clear, 1 review, 2 block
    margins: Mapping[str, Doubles]  # category id → [N]: see CategoryScore.margin
    views: Mapping[str, npt.NDArray[np.intp]]  # category id → [N]: the view that decides, 0 … V−1

    def flagged(self) -> Flags:
        """[N]: whether the verdict is REVIEW or BLOCK."""
        return np.array([verdict is not Verdict.ALLOW for verdict in self.verdicts])


def judge(policy: Policy, labelled: LabelledSet) -> Judged:
    """Judge each picture as the server does."""
    starts = labelled.starts
    ends = [*starts[1:].tolist(), len(labelled.views)]
    verdicts: list[Verdict] = []
    found: list[Sequence[CategoryScore]] = []
    for number, (start, end) in enumerate(zip(starts.tolist(), ends, strict=True)):
        scored = score_image(
            policy=policy,
            categories=policy.categories,
            embeddings=labelled.embeddings[start:end],
            views=labelled.views[start:end],
        )
        verdicts.append(
            decide(
                policy=policy,
                scores=scored.scores,
                scores_valid=scored.valid,
                coverage=float(labelled.coverage[number]),
            ).verdict
        )
        found.append(scored.scores)
    columns = {
        category.id: [row[i] for row in found] for i, category in enumerate(policy.categories)
    }
    return Judged(
        verdicts=tuple(verdicts),
        bands={
            name: np.array([_BANDS[score.band] for score in scores], dtype=np.int8)
            for name, scores in columns.items()
        },
        margins={
            name: np.array([score.margin for score in scores]) for name, scores in columns.items()
        },
        views={
            name: starts + np.array([score.view for score in scores])
            for name, scores in columns.items()
        },
    )


def flagged(category: Category, logits: Doubles, labelled: LabelledSet) -> Flags:
    """[N]: pictures some view of which reaches its own review_at or block_at.

    ``logits`` are the category's log-odds of every view, [V] (the cosine for method cosine).
    """
    scores = logits if category.method is Method.COSINE else sigmoid(logits)
    reached = np.zeros(len(logits), dtype=np.bool_)
    for (kind, first), views in _kinds(labelled).items():
        limits = category.thresholds_for(kind, first=first)
        for limit in (limits.review_at, limits.block_at):
            if limit is not None:
                reached[views] |= _reached(limit, scores[views], logits[views])
    return np.asarray(np.logical_or.reduceat(reached, labelled.starts), dtype=np.bool_)


def _reached(limit: Threshold, scores: Doubles, logits: Doubles) -> Flags:
    measured = scores if limit.scale is Scale.SCORE else logits
    return ~(measured < limit.value)


def _kinds(labelled: LabelledSet) -> dict[tuple[ViewKind, bool], npt.NDArray[np.intp]]:
    """(kind, whether the still's thresholds apply) → numbers of such views."""
    firsts = np.zeros(len(labelled.views), dtype=np.bool_)
    firsts[labelled.starts] = True
    found: dict[tuple[ViewKind, bool], list[int]] = {}
    for number, view in enumerate(labelled.views):
        first = bool(firsts[number]) or _first_frame(view)
        found.setdefault((view.kind, first), []).append(number)
    return {key: np.array(numbers, dtype=np.intp) for key, numbers in found.items()}


def _first_frame(view: View) -> bool:
    return view.kind is ViewKind.FRAME and view.frame == 0
