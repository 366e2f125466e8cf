"""Thresholds per kind of view, so that a picture with many views is not flagged more often.

A picture's score is its highest over all views, so the more views, the more often a harmless one
is flagged: one threshold that keeps a rate over all pictures breaks it for animations. Here the
rate is kept for each kind of picture by itself: for those with one view, those with tiles, and
animations.

View 0 and the first frame always go by the still's threshold (a frame's laxer one would be an open
door). So a picture with tiles or frames can be flagged by two thresholds: each may use half of the
rate with half of the doubt, which together keep the whole for that kind of picture. The still's
threshold is the strictest that any kind of picture asks of it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.errors import TooFewLabels
from imagesieve_server.core.scoring import Doubles
from imagesieve_server.core.views import ViewKind
from imagesieve_server.offline.calibration.flags import Flags, Kinds
from imagesieve_server.offline.calibration.promise import (
    Aim,
    Choice,
    Groups,
    Labels,
    choose,
    choose_loosely,
    flagged,
)

PICTURES = {
    ViewKind.STILL: "pictures of one view",
    ViewKind.TILE: "pictures with tiles",
    ViewKind.FRAME: "animations",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KindChoices:
    """The threshold of each kind that the labelled pictures have; always one for stills."""

    choices: dict[ViewKind, Choice]

    def flags(self, log_odds: Doubles, kinds: Kinds) -> Flags:
        """Which pictures [N] they flag, by the log-odds of views [V]."""
        found = np.zeros(len(kinds.starts), dtype=np.bool_)
        for kind, choice in self.choices.items():
            found |= flagged(kinds.highest(log_odds, kind), choice.log_odds)
        return found


def choose_by_kind(
    log_odds: Doubles,
    labels: Labels,
    aim: Aim,
    *,
    kinds: Kinds,
    groups: Groups,
    among: Flags | None = None,
    loosely: bool = False,
) -> KindChoices:
    """Thresholds that keep the false-positive rate for each kind of picture.

    ``log_odds`` is [V], ``labels`` and ``groups`` are [N]; ``among`` [N] are the pictures to
    choose from (all). Raises TooFewLabels, which names the kind.
    """
    pick = choose_loosely if loosely else choose
    half = dataclasses.replace(aim, rate=aim.rate / 2, confidence=1 - aim.delta / 2)
    first = kinds.highest(log_odds, ViewKind.STILL)
    chosen: dict[ViewKind, Choice] = {}
    stills = []
    for kind in ViewKind:
        part = kinds.of_picture == kind.value
        if among is not None:
            part &= among
        if not part.any():
            continue
        own = aim if kind is ViewKind.STILL else half
        try:
            stills.append(pick(first[part], labels[part], own, groups=groups[part]))
            if kind is not ViewKind.STILL:
                rest = kinds.highest(log_odds, kind)[part]
                chosen[kind] = pick(rest, labels[part], half, groups=groups[part])
        except TooFewLabels as error:
            halves = "" if kind is ViewKind.STILL else " (half of it for each of two thresholds)"
            raise TooFewLabels(f"{PICTURES[kind]}: {error.message}{halves}") from None
    chosen[ViewKind.STILL] = max(stills, key=lambda choice: choice.log_odds)
    return KindChoices(choices=chosen)
