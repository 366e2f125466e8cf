"""Whether printed words steer the scores (Goh et al., "Multimodal neurons", Distill 2021).

Both ways: a prompt of the category printed on pictures that do not show it, and a benign word on
pictures that do. Nonsense words of the same length on the same label are the control: what they
change is the label's doing, and only what goes beyond each of them may be reading.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.policy import Category, Policy
from imagesieve_server.core.scoring import Doubles, logits_of
from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.offline.diagnosis.deciding import deciding_views, reached
from imagesieve_server.offline.diagnosis.stamping import nonsense, sizes_that_fit, stamp
from imagesieve_server.offline.labelled.labelled_set import LabelledSet, view_logits
from imagesieve_server.offline.measures.figures import Figure, percentiles, proportion

Encode = Callable[[Pixels], Embeddings]
"""uint8 [N, S, S, 3] to float32 [N, D]."""

MOST_PICTURES = 24  # of one category and direction
LEAST_PICTURES = 8
CONTROLS = 4
_RESAMPLES = 1000
_ARTICLE = re.compile(r"^(a|an|the)\s+", re.IGNORECASE)


class Direction(enum.StrEnum):
    """What the printed word is for."""

    TRIGGERS = "triggers"  # a word of the category on a picture that does not show it
    HIDES = "hides"  # a benign word on a picture that was flagged rightly


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is printed on which views."""

    category: str
    direction: Direction
    word: str
    views: tuple[tuple[int, int], ...]  # picture, number of its view


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """One category, direction and size of letters."""

    category: str
    direction: Direction
    word: str
    size: float  # letters ÷ height of the view
    pictures: int
    shift: Figure  # mean change of the log-odds by the word, beyond the nonsense words'
    control_shifts: tuple[float, ...]  # mean change by each nonsense word
    flipped: Figure  # share of pictures that the word brought to the other side of review_at
    control_flipped: float  # the same by a nonsense word, mean

    @property
    def beyond_nonsense(self) -> bool:
        """The word moves the scores further the way its printer wants than each nonsense word.

        A word that is not read does so in one of ``CONTROLS`` + 1 cases.
        """
        sign = 1.0 if self.direction is Direction.TRIGGERS else -1.0
        word = self.shift.value + float(np.mean(self.control_shifts))
        return sign * word > max(sign * control for control in self.control_shifts)

    @property
    def steers(self) -> bool:
        """Beyond nonsense, hardly by the choice of pictures, and by half a log-odd or more."""
        certain = self.shift.low > 0 or self.shift.high < 0
        return self.beyond_nonsense and certain and abs(self.shift.value) >= 0.5


def choose_targets(policy: Policy, labelled: LabelledSet, *, seed: int = 0) -> tuple[Target, ...]:
    """Views to print on: those that decided, of pictures the policy judges rightly now."""
    generator = np.random.default_rng(seed)
    logits = view_logits(policy, labelled)
    targets = []
    for category in policy.categories:
        labels = labelled.labels.get(category.id)
        if labels is None or category.thresholds.review_at is None:
            continue
        worst = deciding_views(logits[category.id], labelled)
        flagged = reached(policy, category, labelled.embeddings[worst])
        for direction, right in (
            (Direction.TRIGGERS, (labels == 0) & ~flagged),
            (Direction.HIDES, (labels == 1) & flagged),
        ):
            rows = np.flatnonzero(right)
            if len(rows) < LEAST_PICTURES:
                continue
            rows = np.sort(generator.permutation(rows)[:MOST_PICTURES])
            targets.append(
                Target(
                    category=category.id,
                    direction=direction,
                    word=word_for(policy, category, direction),
                    views=tuple((int(r), int(worst[r] - labelled.starts[r])) for r in rows),
                )
            )
    return tuple(targets)


def word_for(policy: Policy, category: Category, direction: Direction) -> str:
    """What somebody would print: the shortest prompt of the side that it helps."""
    if direction is Direction.TRIGGERS:
        texts: Sequence[str] = category.prompts.texts or (category.title,)
    else:
        texts = category.counter_prompts.texts or policy.neutral.texts
    return min((_ARTICLE.sub("", text) for text in texts), key=len)


def steer(
    policy: Policy,
    target: Target,
    views: Mapping[tuple[int, int], Pixels],
    encode: Encode,
    *,
    seed: int = 0,
) -> tuple[Steered, ...]:
    """Print in every size and look again; ``views`` has the pixels of the target's views."""
    (category,) = (c for c in policy.categories if c.id == target.category)
    plain = [views[key] for key in target.views if key in views]
    if not plain:
        return ()
    words = (target.word, *nonsense(target.word, count=CONTROLS, seed=seed))
    before = encode(np.stack(plain))
    found = []
    for size in sizes_that_fit(len(plain[0]), words):
        after = [
            encode(np.stack([stamp(view, word, size=size, words=words) for view in plain]))
            for word in words
        ]
        found.append(_steered(policy, category, target, size, (before, *after), seed))
    return tuple(found)


def _steered(
    policy: Policy,
    category: Category,
    target: Target,
    size: float,
    seen: tuple[Embeddings, ...],
    seed: int,
) -> Steered:
    """``seen`` is before, with the word, and with each nonsense word."""
    before, printed, *controls = (
        logits_of(policy, category, one.astype(np.float64))[1] for one in seen
    )
    was, now, *by_controls = (reached(policy, category, one) for one in seen)
    return Steered(
        category=category.id,
        direction=target.direction,
        word=target.word,
        size=size,
        pictures=len(before),
        shift=_mean(printed - np.mean(controls, axis=0), seed=seed),
        control_shifts=tuple(float((one - before).mean()) for one in controls),
        flipped=proportion(int((now != was).sum()), len(before)),
        control_flipped=float(np.mean([(one != was).mean() for one in by_controls])),
    )


def _mean(values: Doubles, *, seed: int) -> Figure:
    """The mean with the percentiles of its bootstrap over pictures."""
    generator = np.random.default_rng(seed)
    drawn = values[generator.integers(0, len(values), (_RESAMPLES, len(values)))].mean(axis=1)
    value = float(values.mean())
    low, high = percentiles(drawn)
    return Figure(value=value, low=min(low, value), high=max(high, value))
