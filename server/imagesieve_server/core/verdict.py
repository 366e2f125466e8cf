"""From scores to a verdict. ``decide`` is the whole rule; it acts on nothing.

The order of strength is ALLOW < REVIEW < BLOCK. Every reason is listed, also one that a
policy only reports; the verdict is the strongest that any of them asks for.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from imagesieve_server.core.policy import Mode, OnPartialCoverage, Policy, Threshold


class Verdict(enum.StrEnum):
    ALLOW = "ALLOW"
    REVIEW = "REVIEW"
    BLOCK = "BLOCK"

    @property
    def strength(self) -> int:
        """0 for ALLOW, 1 for REVIEW, 2 for BLOCK."""
        return _STRENGTH[self]


_STRENGTH = {Verdict.ALLOW: 0, Verdict.REVIEW: 1, Verdict.BLOCK: 2}


class Band(enum.StrEnum):
    """Where a category's score lies among its thresholds."""

    CLEAR = "CLEAR"
    REVIEW = "REVIEW"
    BLOCK = "BLOCK"


class ReasonCode(enum.StrEnum):
    """Why a verdict is what it is; stable, part of the API."""

    CATEGORY_REVIEW = "CATEGORY_REVIEW"  # a category's score reached review_at
    CATEGORY_BLOCK = "CATEGORY_BLOCK"  # a category's score reached block_at
    UNDECODABLE = "UNDECODABLE"  # no picture could be made of the file
    VIEWS_TRUNCATED = "VIEWS_TRUNCATED"  # a part of the picture was not looked at
    SCORE_INVALID = "SCORE_INVALID"  # an embedding or score was not finite or not unit length
    UNSCORED = "UNSCORED"  # the encoder was down; a person decides
    POLICY_FAIL_OPEN = "POLICY_FAIL_OPEN"  # the encoder was down and the policy lets through
    AUDIT_SAMPLE = "AUDIT_SAMPLE"  # an ALLOW chosen for review to measure recall


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    code: ReasonCode
    category: str = ""  # category id, where the reason is a category's
    detail: str = ""  # from a fixed list per code, for example TRUNCATED


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryScore:
    """One category's result: its worst view's numbers."""

    category: str
    score: float  # as the method defines it; 0 to 1 for contrast, sigmoid, probe
    log_odds: float  # logit of the score; the cosine itself for method cosine
    neutral_score: float  # pooled cosine of the neutral prompts at that view; 0 without any
    threshold: Threshold | None  # review_at that applied to that view
    block_threshold: Threshold | None
    margin: float  # log_odds − threshold in log-odds; ≥ 0 means flagged
    band: Band
    view: int  # index of the worst view
    severity: int
    mode: Mode
    probability: float | None = None  # calibrated, for reports; None without a calibration

    @property
    def acts(self) -> bool:
        """Whether this category's band may raise the verdict."""
        return self.mode is Mode.ENFORCE and self.band is not Band.CLEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict with everything that explains it."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    scores: tuple[CategoryScore, ...]
    degraded: bool = False  # a part of the server was down and the policy chose this answer

    @property
    def worst(self) -> CategoryScore | None:
        """The acting category of the strongest band, then severity, then margin; else the
        category nearest to its threshold; None where nothing was scored."""
        if not self.scores:
            return None
        return max(
            self.scores,
            key=lambda s: (
                s.acts,
                s.acts and s.band is Band.BLOCK,
                s.acts and s.severity,
                s.margin,
            ),
        )


def decide(
    *,
    policy: Policy,
    scores: Sequence[CategoryScore],
    scores_valid: bool,
    coverage: float,
    truncated: Sequence[str] = (),
) -> Judgement:
    """Judge one image whose views were scored.

    ``scores_valid`` is False where an embedding or score was not finite or not unit length:
    then a person looks, whatever the numbers say.
    """
    reasons: list[Reason] = []
    verdict = Verdict.ALLOW
    if not scores_valid:
        reasons.append(Reason(code=ReasonCode.SCORE_INVALID))
        verdict = Verdict.REVIEW
    for score in scores:
        if not score.acts:
            continue
        blocked = score.band is Band.BLOCK
        code = ReasonCode.CATEGORY_BLOCK if blocked else ReasonCode.CATEGORY_REVIEW
        reasons.append(Reason(code=code, category=score.category))
        verdict = max(
            verdict, Verdict.BLOCK if blocked else Verdict.REVIEW, key=lambda v: v.strength
        )
    if coverage < 1.0:
        reasons.append(Reason(code=ReasonCode.VIEWS_TRUNCATED, detail=",".join(truncated)))
        if policy.on_partial_coverage is OnPartialCoverage.REVIEW:
            verdict = max(verdict, Verdict.REVIEW, key=lambda v: v.strength)
    return Judgement(verdict=verdict, reasons=tuple(reasons), scores=tuple(scores))
