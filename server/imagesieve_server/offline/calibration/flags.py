"""What a policy flags among labelled pictures, view by view as the server does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Category, Method, Threshold, Thresholds
from imagesieve_server.core.scoring import Doubles, sigmoid
from imagesieve_server.core.views import View, ViewKind
from imagesieve_server.offline.labelled.labelled_set import LabelledSet

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Whose thresholds apply to each view, and what kind of picture each picture is."""

    starts: npt.NDArray[np.intp]  # [N], each picture's first view
    of_view: npt.NDArray[np.str_]  # [V], values of ViewKind; view 0 and the first frame are stills
    of_picture: npt.NDArray[np.str_]  # [N]: tile or frame where it has such views, else still

    def highest(self, log_odds: Doubles, *kinds: ViewKind) -> Doubles:
        """Each picture's highest log-odds [N] over its views of these kinds; −∞ without one."""
        found = np.where(np.isin(self.of_view, [kind.value for kind in kinds]), log_odds, -np.inf)
        return np.asarray(np.maximum.reduceat(found, self.starts), dtype=np.float64)


def kinds_of(labelled: LabelledSet) -> Kinds:
    """The kinds of a set's views and pictures."""
    starts = labelled.starts
    first = np.zeros(len(labelled.views), dtype=np.bool_)
    first[starts] = True
    of_view = np.asarray([_kind(view) for view in labelled.views])
    of_view[first] = ViewKind.STILL.value
    of_picture = np.full(len(labelled), ViewKind.STILL.value, dtype=of_view.dtype)
    for kind in (ViewKind.TILE, ViewKind.FRAME):
        has = np.logical_or.reduceat(of_view == kind.value, starts)
        of_picture[has] = kind.value
    return Kinds(starts=starts, of_view=of_view, of_picture=of_picture)


def _kind(view: View) -> str:
    first_frame = view.kind is ViewKind.FRAME and view.frame == 0
    return (ViewKind.STILL if first_frame else view.kind).value


def category_flags(category: Category, log_odds: Doubles, kinds: Kinds) -> Flags:
    """Which pictures [N] the category flags for review or blocks, by the log-odds of views [V]."""
    scores = log_odds if category.method is Method.COSINE else sigmoid(log_odds)
    by_kind = {ViewKind.STILL: category.thresholds, **dict(category.per_view_kind)}
    flagged = np.zeros(len(log_odds), dtype=np.bool_)
    for kind in ViewKind:
        limits = by_kind.get(kind, category.thresholds)
        views = kinds.of_view == kind.value
        flagged[views] = _reached(limits, scores[views], log_odds[views])
    return np.asarray(np.logical_or.reduceat(flagged, kinds.starts), dtype=np.bool_)


def _reached(limits: Thresholds, scores: Doubles, log_odds: Doubles) -> Flags:
    found = np.zeros(len(scores), dtype=np.bool_)
    for limit in (limits.review_at, limits.block_at):
        if limit is not None:
            found |= _at(limit, scores, log_odds)
    return found


def _at(limit: Threshold, scores: Doubles, log_odds: Doubles) -> Flags:
    measured = log_odds if limit.scale == "logit" else scores
    return np.asarray(~(measured < limit.value))
