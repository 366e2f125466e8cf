"""Nested cross-validation: what a probe does on pictures that neither it nor its strength saw.

The strength of the penalty is chosen by folds inside each training part, so the scores of the
outer folds are those of a whole procedure repeated, and not flattered by the choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagesieve_server.offline.calibration.folds import deal
from imagesieve_server.offline.probes.head import Bags, Doubles, Head, Numbers, balanced_loss, fit

STRENGTHS = (10.0, 1.0, 0.1, 0.01, 0.001)
"""Of the L2 penalty, for weights that sum to the number of pictures."""

_INNER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Pictures to learn from; those of a group (the same bytes, say) never part."""

    bags: Bags
    groups: Numbers  # [N]

    def dealt(self, *, folds: int, seed: int) -> Numbers:
        """The fold [N] of each picture."""
        labels = self.bags.positive.astype(np.int8)
        return deal(labels, groups=self.groups, folds=folds, seed=seed)


def learn(examples: Examples, *, seed: int) -> tuple[Head, float]:
    """(head, strength): the strength by folds over all examples, the head on all of them."""
    strength = choose_strength(examples, seed=seed)
    return fit(examples.bags, strength=strength), strength


def choose_strength(examples: Examples, *, seed: int) -> float:
    """The strength with the least balanced loss over held-out folds; the stronger of equals."""
    bags, folds = examples.bags, examples.dealt(folds=_INNER, seed=seed)
    losses = []
    for strength in STRENGTHS:
        log_odds = np.empty(len(bags))
        for fold in range(_INNER):
            out = folds == fold
            head = fit(bags.some(~out), strength=strength)
            log_odds[out] = head.of_pictures(bags.some(out))
        losses.append(balanced_loss(log_odds, bags.positive))
    return STRENGTHS[int(np.argmin(losses))]


def held_out_log_odds(examples: Examples, *, folds: int, seed: int) -> Doubles:
    """The log-odds [N] of each picture by a probe that was learned without its fold."""
    bags, fold_of = examples.bags, examples.dealt(folds=folds, seed=seed)
    log_odds = np.empty(len(bags))
    for fold in range(folds):
        out = fold_of == fold
        part = Examples(bags=bags.some(~out), groups=examples.groups[~out])
        head, _ = learn(part, seed=seed)
        log_odds[out] = head.of_pictures(bags.some(out))
    return log_odds
