"""What a way of choosing a threshold does on pictures it has not seen: K folds, the threshold of
each chosen on the others, the flags of all held-out parts pooled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.binomial import Share, interval
from imagesieve_server.core.scoring import Doubles
from imagesieve_server.offline.calibration.promise import (
    Aim,
    Groups,
    Labels,
    choose_loosely,
    flagged,
)

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the flags of a category do to the labelled pictures, with exact 95 % intervals."""

    fpr: Share  # flagged ÷ harmless
    recall: Share  # flagged ÷ the category's own
    precision: Share  # the category's own ÷ flagged


def measure(flags: Flags, labels: Labels) -> Measured:
    """Count. Pictures of which nobody said (−1) are left out."""
    yes, no = labels == 1, labels == 0
    found, wrong = int(np.sum(flags & yes)), int(np.sum(flags & no))
    return Measured(
        fpr=interval(wrong, int(no.sum())),
        recall=interval(found, int(yes.sum())),
        precision=interval(found, found + wrong),
    )


def held_out_flags(
    log_odds: Doubles, labels: Labels, aim: Aim, *, folds: npt.NDArray[np.intp], groups: Groups
) -> Flags:
    """The flag [N] of each picture by the threshold that was chosen without its fold.

    A training part may be too small for the promise although the whole set is not; there the
    threshold that makes no mistake is taken (``choose_loosely``).
    """
    flags = np.zeros(len(labels), dtype=np.bool_)
    for fold in np.unique(folds):
        out = folds == fold
        choice = choose_loosely(log_odds[~out], labels[~out], aim, groups=groups[~out])
        flags[out] = flagged(log_odds[out], choice.log_odds)
    return flags
