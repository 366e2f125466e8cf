"""Which ALLOW verdicts a person looks at all the same, so that what is missed can be measured.

A picture is drawn by HMAC(key, tenant ‖ sha256) below the rate of its band; the band is how far
its scores stay below the policy's thresholds. So the draw is the same however often the same
bytes are uploaded, nobody without the key can foresee it, and a picture drawn at a rate is drawn
at every higher one. Each picture's inclusion probability is its band's rate, which is what
inverse-probability weighting needs (Horvitz and Thompson, JASA 47, 1952).

Knows judgements and rates; where a sample is kept is ``audit_sampling.py``.
"""

from __future__ import annotations

import hmac
import math
from dataclasses import dataclass
from typing import Literal

from imagesieve_server.core.policy import AuditRates, Method, Mode, Policy, Scale
from imagesieve_server.core.verdict import CategoryScore, Judgement, Verdict

WITHHELD: tuple[
    Literal["verdict"], Literal["reasons"], Literal["score"], Literal["answer"],
    Literal["enqueued_at"], Literal["due_at"], Literal["submissions"], Literal["group_id"],
] = (
    "verdict", "reasons", "score", "answer", "enqueued_at", "due_at", "submissions", "group_id",
)  # fmt: skip
"""Fields of an item that could tell an audit sample from a flag: a sample's further uploads are
counted elsewhere, so that more than one submission is a flag's, and only flags are in groups.
Where ``Item.blind`` is true, nobody who may decide is shown them, on whatever way."""

FAR = "far"
"""The band of pictures in no near band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What the draw says about one ALLOW."""

    band: str  # "far", or "near-" and the band's width
    probability: float  # of being selected; the band's rate
    selected: bool
    category: str  # the enforced category that came nearest to its threshold
    severity: int  # that category's


def draw(
    *, key: bytes, tenant: str, sha256: str, policy: Policy, judgement: Judgement
) -> Draw | None:
    """Draw one picture; None where the policy audits nothing or there is nothing to audit: a
    verdict other than ALLOW, a degraded one, or one without an enforced category.
    """
    if policy.audit is None or judgement.verdict is not Verdict.ALLOW or judgement.degraded:
        return None
    enforced = [score for score in judgement.scores if score.mode is Mode.ENFORCE]
    if not enforced:
        return None
    below, nearest = min(
        ((_below(policy, score), score) for score in enforced), key=lambda pair: pair[0]
    )
    band, rate = _band(policy.audit, below)
    return Draw(
        band=band,
        probability=rate,
        selected=_place(key, tenant, sha256) < rate,
        category=nearest.category,
        severity=nearest.severity,
    )


def band_name(within: float) -> str:
    """The name of the near band of that width."""
    return f"near-{within:g}"


def _band(rates: AuditRates, below: float) -> tuple[str, float]:
    for near in rates.near:
        if below <= near.within:
            return band_name(near.within), near.rate
    return FAR, rates.rate


def _below(policy: Policy, score: CategoryScore) -> float:
    """Log-odds from the score up to the nearest threshold, of the view that scored highest.

    A cosine has no log-odds: its distance counts λ times, as in every other method's logit.
    """
    cosine = any(
        category.id == score.category and category.method is Method.COSINE
        for category in policy.categories
    )
    margin = score.margin
    if score.threshold is None and score.block_threshold is not None:
        block = score.block_threshold
        plain = cosine or block.scale is Scale.LOGIT
        margin = score.log_odds - (block.value if plain else block.log_odds())
    return -margin * policy.logit_scale if cosine and math.isfinite(margin) else -margin


def _place(key: bytes, tenant: str, sha256: str) -> float:
    """Where the bytes fall between 0 and 1; length-prefixed, so that no two pairs collide."""
    name = tenant.encode()
    text = len(name).to_bytes(4, "big") + name + bytes.fromhex(sha256)
    return int.from_bytes(hmac.digest(key, text, "sha256")[:8], "big") / 2.0**64
