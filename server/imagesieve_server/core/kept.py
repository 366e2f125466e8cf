"""Judged images as onlookers see them, and as they are kept for judging them again.

Everything that a second judgement needs stands here, so that a REVIEW for a picture that was
not wholly seen comes out again. Values only: writing them down is ``embedding_store``'s work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.policy import Policy
from imagesieve_server.core.verdict import Judgement, Verdict
from imagesieve_server.core.views import (
    Background,
    Coverage,
    Embeddings,
    View,
    ViewKind,
    ViewPlan,
)

Halves = npt.NDArray[np.float16]
Counts = npt.NDArray[np.int32]

KINDS: Final = tuple(ViewKind)
BACKGROUNDS: Final = tuple(Background)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedImage:
    """An image that was scored and whose answer is about to leave."""

    tenant: str
    sha256: str  # hex digest of the bytes
    surface: str
    categories: tuple[str, ...]  # those asked for; () is all of the policy's
    policy: Policy  # that judged it
    judgement: Judgement
    views: tuple[View, ...]
    coverage: float  # what was seen ÷ what was planned, 0 to 1
    truncated: tuple[str, ...]  # what was cut
    embeddings: Embeddings  # float32 [V, D]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptImage:
    """What is kept of one judged image."""

    tenant: str
    sha256: str
    at: float  # when it was judged, seconds since the epoch
    surface: str
    policy: str
    policy_version: str
    model_fingerprint: str
    plan: ViewPlan  # what the policy asked to be shown
    categories: tuple[str, ...]  # those asked for; () is all of the policy's
    verdict: Verdict
    coverage: float
    truncated: tuple[str, ...]
    views: tuple[View, ...]
    embeddings: Halves  # [V, D]


def kept_image(image: JudgedImage, *, at: float) -> KeptImage:
    """The image with its embeddings rounded to float16: 2 bytes a number, and what rounding
    does to a verdict is counted where images are judged again."""
    with np.errstate(all="ignore"):  # one that is too large for float16 is no unit vector
        halves = image.embeddings.astype(np.float16)
    policy = image.policy
    return KeptImage(
        tenant=image.tenant,
        sha256=image.sha256,
        at=at,
        surface=image.surface,
        policy=policy.name,
        policy_version=policy.version,
        model_fingerprint=policy.model_fingerprint,
        plan=ViewPlan(coverage=policy.coverage, max_views=policy.max_views),
        categories=image.categories,
        verdict=image.judgement.verdict,
        coverage=image.coverage,
        truncated=image.truncated,
        views=image.views,
        embeddings=halves,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One text per image, each different text once: ``texts[codes[i]]`` is image i's."""

    texts: tuple[str, ...]
    codes: Counts

    def of(self, image: int) -> str:
        """The text of one image."""
        return self.texts[int(self.codes[image])]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBlock:
    """Some kept images of one tenant, model and day, column by column.

    I images have V ≥ I views; the views of an image are neighbours and in their own order.
    """

    tenant: str
    model_fingerprint: str
    first: npt.NDArray[np.intp]  # [I] each image's first view
    sha256: npt.NDArray[np.void]  # [I] 32 bytes each
    at: npt.NDArray[np.float64]  # [I] seconds since the epoch
    surface: Words
    policy: Words
    policy_version: Words
    verdict: Words
    categories: Words  # ids separated by ","; empty is all of the policy's
    truncated: Words  # separated by ","
    plan: Words  # Coverage, a blank, max_views
    coverage: npt.NDArray[np.float64]  # [I]
    kinds: npt.NDArray[np.int8]  # [V] place in KINDS
    frames: Counts  # [V]
    boxes: Counts  # [V, 4]
    backgrounds: npt.NDArray[np.int8]  # [V] place in BACKGROUNDS
    embeddings: Halves  # [V, D]

    def __len__(self) -> int:
        return len(self.first)

    def rows(self, image: int) -> slice:
        """The views of one image."""
        last = image + 1 == len(self.first)
        end = len(self.kinds) if last else int(self.first[image + 1])
        return slice(int(self.first[image]), end)

    def image(self, number: int) -> KeptImage:
        """One image."""
        rows = self.rows(number)
        return KeptImage(
            tenant=self.tenant,
            sha256=self.sha256[number].tobytes().hex(),
            at=float(self.at[number]),
            surface=self.surface.of(number),
            policy=self.policy.of(number),
            policy_version=self.policy_version.of(number),
            model_fingerprint=self.model_fingerprint,
            plan=plan_of(self.plan.of(number)),
            categories=split(self.categories.of(number)),
            verdict=Verdict(self.verdict.of(number)),
            coverage=float(self.coverage[number]),
            truncated=split(self.truncated.of(number)),
            views=tuple(self._view(row) for row in range(rows.start, rows.stop)),
            embeddings=self.embeddings[rows],
        )

    def images(self) -> Iterator[KeptImage]:
        """One image after the other; for the few, not for the many."""
        return (self.image(number) for number in range(len(self)))

    def _view(self, row: int) -> View:
        left, upper, right, lower = (int(side) for side in self.boxes[row])
        return View(
            kind=KINDS[self.kinds[row]],
            box=(left, upper, right, lower),
            frame=int(self.frames[row]),
            background=BACKGROUNDS[self.backgrounds[row]],
        )


def plan_text(plan: ViewPlan) -> str:
    """A plan as one word per setting."""
    return f"{plan.coverage.value} {plan.max_views}"


def plan_of(text: str) -> ViewPlan:
    """What ``plan_text`` wrote. Raises ValueError."""
    coverage, _, views = text.partition(" ")
    return ViewPlan(coverage=Coverage(coverage), max_views=int(views))


def split(text: str) -> tuple[str, ...]:
    """The parts that stand between commas."""
    return tuple(text.split(",")) if text else ()
