"""A compiled policy in memory: prompt vectors, thresholds, and what to do when a part is down.

Pure values. Reading files is ``policy_files``' work, arithmetic is ``scoring``'s.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imagesieve_server.core.calibration import Calibration
from imagesieve_server.core.errors import UnknownCategory
from imagesieve_server.core.second_review import SecondReview
from imagesieve_server.core.views import Coverage, ViewKind

Vectors = npt.NDArray[np.float32]


class Mode(enum.StrEnum):
    """Whether a category acts."""

    ENFORCE = "enforce"
    OBSERVE = "observe"  # scored and counted, never acted on


class Method(enum.StrEnum):
    """How a category's score is computed (``scoring`` has the formulas)."""

    CONTRAST = "contrast"
    SIGMOID = "sigmoid"
    COSINE = "cosine"
    PROBE = "probe"


class Pooling(enum.StrEnum):
    """How the cosines of a group of prompts become one number."""

    MAX = "max"
    LOGMEANEXP = "logmeanexp"


class OnUndecodable(enum.StrEnum):
    REVIEW = "review"
    REJECT = "reject"


class OnPartialCoverage(enum.StrEnum):
    REVIEW = "review"
    REPORT = "report"


class OnUnavailable(enum.StrEnum):
    """The failure table's columns (``failure.py``)."""

    HOLD = "hold"
    REVIEW = "review"
    ALLOW = "allow"


class Scale(enum.StrEnum):
    """What a threshold compares with."""

    SCORE = "score"
    LOGIT = "logit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A limit at and above which a band begins."""

    value: float
    scale: Scale = Scale.SCORE

    def reached(self, *, score: float, logit: float) -> bool:
        """Whether the band begins here. NaN counts as reached: never let one pass as clear."""
        measured = score if self.scale is Scale.SCORE else logit
        return not measured < self.value

    def log_odds(self) -> float:
        """The threshold in log-odds; a score of 0 or 1 gives ∓infinity."""
        if self.scale is Scale.LOGIT:
            return self.value
        if self.value <= 0.0:
            return -math.inf
        if self.value >= 1.0:
            return math.inf
        return math.log(self.value) - math.log1p(-self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where a category's REVIEW and BLOCK bands begin; None means the band does not exist."""

    review_at: Threshold | None
    block_at: Threshold | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptGroup:
    """Prompts with their ensembled unit vectors, float32 [n, D]."""

    texts: tuple[str, ...]
    vectors: Vectors
    # The same in float64, made once: every image is compared with them.
    doubles: npt.NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "doubles", self.vectors.astype(np.float64))

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A linear head learned offline: score = σ(w·v + β)."""

    weights: Vectors  # float32 [D]
    bias: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One rule of the policy."""

    id: str
    title: str
    severity: int  # 1 (mild) … 4 (urgent)
    mode: Mode
    method: Method
    pooling: Pooling
    prompts: PromptGroup
    counter_prompts: PromptGroup
    thresholds: Thresholds
    per_view_kind: tuple[tuple[ViewKind, Thresholds], ...] = ()
    probe: Probe | None = None
    calibration: Calibration | None = None  # of the log-odds, for reports only

    def thresholds_for(self, kind: ViewKind, *, first: bool) -> Thresholds:
        """The thresholds of a view; view 0 and the first frame always use the still's."""
        if not self.per_view_kind:  # as nearly always
            return self.thresholds
        if first:
            kind = ViewKind.STILL
        return dict(self.per_view_kind).get(kind, self.thresholds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A policy's categories of one method and one pooling, which are scored together.

    Their prompts stand under each other in groups: first the neutral ones, then each
    category's, then the counter-prompts of those that have any. Neutral prompts or prompts that are
    none have one vector of zeros, whose cosine is 0 to whatever there is.
    """

    method: Method  # any but probe
    pooling: Pooling
    members: tuple[Category, ...]  # C categories, in the policy's order
    vectors: npt.NDArray[np.float64]  # [N, D]
    starts: npt.NDArray[np.intp]  # [1 + C + K] the first row of each group
    countered: npt.NDArray[np.intp]  # [K] places among C of those with counter-prompts


def families_of(neutral: PromptGroup, categories: tuple[Category, ...]) -> tuple[Family, ...]:
    """The families in the order of their first categories."""
    kinds = dict.fromkeys((c.method, c.pooling) for c in categories if c.method is not Method.PROBE)
    return tuple(
        _family(neutral, [c for c in categories if (c.method, c.pooling) == kind]) for kind in kinds
    )


def _family(neutral: PromptGroup, members: list[Category]) -> Family:
    countered = [place for place, member in enumerate(members) if len(member.counter_prompts)]
    groups = [
        neutral,
        *(member.prompts for member in members),
        *(members[place].counter_prompts for place in countered),
    ]
    size = max((group.doubles.shape[1] for group in groups if len(group)), default=0)
    rows = [group.doubles if len(group) else np.zeros((1, size)) for group in groups]
    return Family(
        method=members[0].method,
        pooling=members[0].pooling,
        members=tuple(members),
        vectors=np.concatenate(rows),
        starts=np.cumsum([0, *(len(row) for row in rows[:-1])], dtype=np.intp),
        countered=np.asarray(countered, dtype=np.intp),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NearBand:
    """ALLOWs close below a threshold, and how many of them a person looks at."""

    within: float  # log-odds below the nearest threshold, at most
    rate: float  # probability of each picture, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRates:
    """How many ALLOWs a person looks at all the same (``audit.py``)."""

    rate: float  # of pictures in no near band, 0 to 1
    near: tuple[NearBand, ...] = ()  # by rising ``within``; the first that fits counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything the server needs to judge one image."""

    name: str
    version: str  # hash of the compiled artefact
    model_fingerprint: str  # the bundle the vectors were made with
    logit_scale: float  # λ
    logit_bias: float  # b, SigLIP's bias; 0 for CLIP
    neutral: PromptGroup
    categories: tuple[Category, ...]
    coverage: Coverage = Coverage.TILES
    max_views: int = 32
    on_undecodable: OnUndecodable = OnUndecodable.REVIEW
    on_partial_coverage: OnPartialCoverage = OnPartialCoverage.REVIEW
    on_unavailable: OnUnavailable = OnUnavailable.HOLD
    reviews_needed: int = 1  # reviewers who must agree before a decision takes effect
    second_review: SecondReview | None = None  # a share of items that two people review, blind
    reuse_decisions: bool = False  # bytes decided before under this policy are decided alike
    audit: AuditRates | None = None  # None: no ALLOW is looked at
    description: str = ""
    source: str = field(default="", repr=False)  # the text people wrote
    # The categories as they are scored, made once: every image is compared with them.
    families: tuple[Family, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "families", families_of(self.neutral, self.categories))

    def subset(self, ids: tuple[str, ...]) -> tuple[Category, ...]:
        """The named categories in the policy's order; all of them where ``ids`` is empty.

        Raises UnknownCategory.
        """
        if not ids:
            return self.categories
        known = {category.id for category in self.categories}
        for wanted in ids:
            if wanted not in known:
                raise UnknownCategory(
                    f"policy {self.name!r} has no category {wanted!r}",
                    metadata={"policy": self.name, "category": wanted},
                )
        return tuple(category for category in self.categories if category.id in ids)

    @property
    def severity(self) -> int:
        """The highest severity of any category."""
        return max(category.severity for category in self.categories)
