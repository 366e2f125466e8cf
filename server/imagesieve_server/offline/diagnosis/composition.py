"""Whether the model reads a prompt as a sentence or as a bag of words.

Models of this kind often do not (Yuksekgonul et al., "When and why vision-language models behave
like bags-of-words, and what to do about it?", ICLR 2023). Each prompt is changed so that its
meaning changes and its words hardly do:

    negated    a knife                     no knife
    reversed   a person pointing a gun     gun a pointing person a
    swapped    a person pointing a gun     a gun pointing a person

On the text side: how far the change moves the vector, against the distance of different prompts.
On labelled pictures: whether the changed prompts still pick out the same pictures.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.policy import Category, Policy, PromptGroup, Vectors
from imagesieve_server.core.scoring import Doubles, logits_of
from imagesieve_server.offline.labelled.labelled_set import LabelledSet
from imagesieve_server.offline.measures.bootstrap import Measured, Resampling, measure
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.measures.quality import roc_auc

EncodePrompts = Callable[[Sequence[str]], Mapping[str, Vectors]]
"""Prompts to their ensembled unit vectors, float32 [D] each."""

_ARTICLE = re.compile(r"^(a|an|the)\s+", re.IGNORECASE)
_RELATION = re.compile(
    r"^(?P<first>.+?)\s+(?P<how>with|without|holding|pointing|attacking|threatening|cutting|"
    r"injecting|smoking|on|in|at|under|over|behind|beside|against|from|of|for)\s+(?P<second>.+)$"
)


def negated(prompt: str) -> str | None:
    """The prompt with "no" for its article."""
    return f"no {_ARTICLE.sub('', prompt)}"


def reversed_words(prompt: str) -> str | None:
    """The words from the last to the first; None where there are fewer than three."""
    words = prompt.split()
    return " ".join(reversed(words)) if len(words) >= 3 else None


def swapped(prompt: str) -> str | None:
    """What stands on either side of the first word of relation, exchanged; None without one."""
    found = _RELATION.match(prompt)
    if found is None or found["first"] == found["second"]:
        return None
    return f"{found['second']} {found['how']} {found['first']}"


CHANGES: Mapping[str, Callable[[str], str | None]] = {
    "negated": negated,
    "reversed": reversed_words,
    "swapped": swapped,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPictures:
    """One category's prompts and the same prompts changed, on labelled pictures."""

    category: str
    auc: Figure
    changed_auc: Figure
    difference: Figure  # changed − as written, on the same resamples


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """One kind of change over the whole policy."""

    kind: str
    prompts: int  # that can be changed so
    example: tuple[str, str]
    distance: float  # of a prompt and its change (median), 1 = the median of different prompts
    reach: float  # the most that such a change can move any picture's log-odds (median)
    pictures: tuple[OnPictures, ...]

    @property
    def is_not_read(self) -> bool:
        """The change hardly moves the vectors."""
        return self.distance < 0.5


def composition(
    policy: Policy,
    encode: EncodePrompts,
    *,
    labelled: LabelledSet | None,
    resampling: Resampling,
) -> tuple[Composition, ...]:
    """Every kind of change of which some prompt of the policy has one."""
    texts = {
        text: vector
        for category in policy.categories
        for text, vector in zip(category.prompts.texts, category.prompts.vectors, strict=True)
    }
    typical = _typical_distance(np.stack(list(texts.values()))) if len(texts) > 1 else 1.0
    found = []
    for kind, change in CHANGES.items():
        changed = {text: other for text in texts if (other := change(text))}
        if not changed:
            continue
        vectors = encode(list(dict.fromkeys(changed.values())))
        moved = [
            float(np.linalg.norm(texts[text].astype(np.float64) - vectors[other]))
            for text, other in changed.items()
        ]
        first = next(iter(changed))
        found.append(
            Composition(
                kind=kind,
                prompts=len(changed),
                example=(first, changed[first]),
                distance=float(np.median(moved)) / typical,
                reach=policy.logit_scale * float(np.median(moved)),
                pictures=_on_pictures(policy, changed, vectors, labelled, resampling),
            )
        )
    return tuple(found)


def _typical_distance(vectors: Vectors) -> float:
    """The median distance of two different prompts."""
    rows = vectors.astype(np.float64)
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return float(np.median(np.sqrt(np.maximum(2 - 2 * cosines, 0.0)))) or 1.0


def _on_pictures(
    policy: Policy,
    changed: Mapping[str, str],
    vectors: Mapping[str, Vectors],
    labelled: LabelledSet | None,
    resampling: Resampling,
) -> tuple[OnPictures, ...]:
    if labelled is None:
        return ()
    found = []
    for category in policy.categories:
        labels = labelled.labels.get(category.id)
        if labels is None or not any(text in changed for text in category.prompts.texts):
            continue
        known = labels >= 0
        positive = labels[known] == 1
        if not 0 < positive.sum() < len(positive):
            continue
        variants = {
            name: _image_logits(policy, one, labelled)[known]
            for name, one in _both(category, changed, vectors).items()
        }
        measured = measure(variants, positive, {"auc": roc_auc}, resampling)
        found.append(_compared(category.id, *(measured[name]["auc"] for name in variants)))
    return tuple(found)


def _compared(category: str, written: Measured, changed: Measured) -> OnPictures:
    return OnPictures(
        category=category,
        auc=written.figure(),
        changed_auc=changed.figure(),
        difference=changed.minus(written),
    )


def _both(
    category: Category, changed: Mapping[str, str], vectors: Mapping[str, Vectors]
) -> dict[str, Category]:
    """The category with only those prompts that can be changed: as they are, and changed."""
    rows = [row for row, text in enumerate(category.prompts.texts) if text in changed]
    kept = tuple(category.prompts.texts[row] for row in rows)
    others = tuple(changed[text] for text in kept)
    groups = {
        "as written": PromptGroup(texts=kept, vectors=category.prompts.vectors[rows]),
        "changed": PromptGroup(
            texts=others, vectors=np.stack([vectors[text] for text in others]).astype(np.float32)
        ),
    }
    return {name: dataclasses.replace(category, prompts=group) for name, group in groups.items()}


def _image_logits(policy: Policy, category: Category, labelled: LabelledSet) -> Doubles:
    _, logits = logits_of(policy, category, labelled.embeddings.astype(np.float64))
    return np.asarray(np.maximum.reduceat(logits, labelled.starts), dtype=np.float64)
