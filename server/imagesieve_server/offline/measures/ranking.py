"""Scores from the highest down: what every measure of a ranking is computed from.

Equal scores are one step, because no threshold can part them: a measure that took them one
after the other would depend on the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How much is at or above each step, for B weightings of the same n pictures."""

    true: Doubles  # [B, G] weight of positives at or above each of G steps
    false: Doubles  # [B, G] weight of negatives

    @property
    def positives(self) -> Doubles:
        """[B, 1]: weight of all positives."""
        return self.true[:, -1:]

    @property
    def negatives(self) -> Doubles:
        """[B, 1]: weight of all negatives."""
        return self.false[:, -1:]


class Ranking:
    """n scores and answers, sorted once.

    A run of steps at which only negatives are added counts as one step: recall stands still
    over it, so the corners of its curves, and with them every measure, stay the same.
    """

    def __init__(self, scores: Doubles, positive: Flags) -> None:
        """Raises ValueError for scores that are NaN, other lengths, or nothing at all."""
        if scores.shape != positive.shape or scores.ndim != 1 or not len(scores):
            raise ValueError(f"scores {scores.shape} and answers {positive.shape}")
        if np.isnan(scores).any():
            raise ValueError("a score is NaN")
        self._order = np.argsort(-scores, kind="stable")
        ordered, answers = scores[self._order], positive[self._order]
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        adds = np.diff(np.cumsum(answers)[ends], prepend=0) > 0  # whether a step has positives
        ends = ends[adds | np.append(adds[1:], True)]
        self.thresholds: Doubles = ordered[ends]
        """[G], descending: a picture is flagged at a step where its score is at least this."""
        self._starts = np.concatenate([[0], ends[:-1] + 1])
        places = np.flatnonzero(answers)
        self._positives = self._order[places]
        step = np.searchsorted(ends, places)  # of each positive
        self._with_positives, self._first_positives = np.unique(step, return_index=True)

    def steps(self, weights: npt.NDArray[Any] | None = None) -> Steps:
        """The steps for weights [B, n] of the pictures, in the order they were given.

        None weighs each picture 1 (B = 1).
        """
        if weights is None:
            weights = np.ones((1, len(self._order)))
        every = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        true = np.zeros(every.shape)
        if len(self._positives):
            true[:, self._with_positives] = np.add.reduceat(
                weights[:, self._positives], self._first_positives, axis=1
            )
        return Steps(true=np.cumsum(true, axis=1), false=np.cumsum(every - true, axis=1))
