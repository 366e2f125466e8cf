"""Which view of each picture decides, and whether it is flagged, by a category's own thresholds.

Thresholds of single view kinds are left aside: these tools compare like with like.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Category, Policy, Scale
from imagesieve_server.core.scoring import Doubles, logits_of
from imagesieve_server.core.views import Embeddings
from imagesieve_server.offline.labelled.labelled_set import LabelledSet

Rows = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


def reached(policy: Policy, category: Category, embeddings: Embeddings) -> Flags:
    """Whether each view [V, D] reaches review_at; a category without one raises ValueError."""
    limit = category.thresholds.review_at
    if limit is None:
        raise ValueError(f"category {category.id!r} has no review_at")
    scores, logits = logits_of(policy, category, embeddings.astype(np.float64))
    measured = scores if limit.scale is Scale.SCORE else logits
    return np.asarray(~(measured < limit.value), dtype=np.bool_)


def deciding_views(logits: Doubles, labelled: LabelledSet) -> Rows:
    """The number, among all V views, of each picture's view with the highest log-odds: [N]."""
    ends = np.append(labelled.starts[1:], len(logits))
    pairs = zip(labelled.starts.tolist(), ends.tolist(), strict=True)
    return np.array([a + int(np.argmax(logits[a:b])) for a, b in pairs], dtype=np.intp)
