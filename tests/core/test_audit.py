"""Which ALLOWs are drawn: by bytes, tenant and key, at the rate of the band they lie in."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import Any

import pytest

from helpers.policies import category, group, policy, unit
from imagesieve_server.core.audit import FAR, Draw, draw
from imagesieve_server.core.policy import (
    AuditRates,
    Method,
    Mode,
    NearBand,
    Policy,
    Scale,
    Threshold,
)
from imagesieve_server.core.verdict import Band, CategoryScore, Judgement, Verdict

X, Y = unit(1, 0), unit(0, 1)
RATES = AuditRates(rate=0.01, near=(NearBand(within=1.0, rate=0.5), NearBand(within=3.0, rate=0.1)))
RULES = policy(
    [category(group(X)), category(group(X), id="drugs", severity=1)], group(Y), audit=RATES
)
KEY = b"k" * 32


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def score(margin: float = -5.0, **changes: Any) -> CategoryScore:
    base = CategoryScore(
        category="weapons",
        score=0.1,
        log_odds=margin,
        neutral_score=0.2,
        threshold=Threshold(value=0.5),
        block_threshold=None,
        margin=margin,
        band=Band.CLEAR,
        view=0,
        severity=3,
        mode=Mode.ENFORCE,
    )
    return dataclasses.replace(base, **changes)


def drawn(
    *scores: CategoryScore, rules: Policy = RULES, number: int = 0, tenant: str = "t",
    key: bytes = KEY, **judged: Any
) -> Draw | None:  # fmt: skip
    judgement = Judgement(
        **{"verdict": Verdict.ALLOW, "reasons": (), "scores": scores or (score(),), **judged}
    )
    return draw(key=key, tenant=tenant, sha256=sha(number), policy=rules, judgement=judgement)


def selected(**fields: Any) -> list[bool]:
    found = [drawn(number=number, **fields) for number in range(400)]
    return [each is not None and each.selected for each in found]


@pytest.mark.parametrize(
    ("margin", "band", "rate"),
    [
        (-0.001, "near-1", 0.5),
        (-1.0, "near-1", 0.5),
        (-1.001, "near-3", 0.1),
        (-3.0, "near-3", 0.1),
        (-3.001, FAR, 0.01),
        (-math.inf, FAR, 0.01),
    ],
)
def test_the_band_is_the_distance_to_the_threshold(margin: float, band: str, rate: float) -> None:
    found = drawn(score(margin))
    assert found is not None
    assert (found.band, found.probability) == (band, rate)


def test_the_nearest_enforced_category_counts() -> None:
    found = drawn(
        score(-9.0),
        score(-2.0, category="drugs", severity=1),
        score(-0.1, category="observed", mode=Mode.OBSERVE),
    )
    assert found is not None
    assert (found.category, found.severity, found.band) == ("drugs", 1, "near-3")


@pytest.mark.parametrize(
    ("limit", "band"),
    [(Threshold(value=0.5), "near-1"), (Threshold(value=2.0, scale=Scale.LOGIT), "near-3")],
)
def test_a_category_that_only_blocks_has_that_threshold(limit: Threshold, band: str) -> None:
    found = drawn(score(-math.inf, log_odds=-0.5, threshold=None, block_threshold=limit))
    assert found is not None
    assert found.band == band


def test_a_cosines_distance_counts_as_a_logits_does() -> None:
    rules = dataclasses.replace(RULES, categories=(category(group(X), method=Method.COSINE),))
    near, far = drawn(score(-0.02), rules=rules), drawn(score(-0.04), rules=rules)
    assert near is not None
    assert far is not None
    assert (near.band, far.band) == ("near-3", FAR)  # λ is 100
    limit = Threshold(value=0.3)
    only_block = score(-math.inf, log_odds=0.295, threshold=None, block_threshold=limit)
    found = drawn(only_block, rules=rules)
    assert found is not None
    assert found.band == "near-1"


def test_the_share_selected_is_the_rate() -> None:
    for margin, rate in ((-0.5, 0.5), (-2.0, 0.1), (-9.0, 0.01)):
        share = sum(
            bool((found := drawn(score(margin), number=number)) and found.selected)
            for number in range(4000)
        )
        assert abs(share - 4000 * rate) < 5 * math.sqrt(4000 * rate * (1 - rate)), margin


def test_a_rate_of_one_selects_all() -> None:
    assert all(selected(rules=dataclasses.replace(RULES, audit=AuditRates(rate=1.0))))


def test_the_same_bytes_are_drawn_alike_and_nested_in_every_higher_rate() -> None:
    def at(rate: float) -> list[bool]:
        return selected(rules=dataclasses.replace(RULES, audit=AuditRates(rate=rate)))

    assert at(0.2) == at(0.2)
    assert all(high or not low for low, high in zip(at(0.2), at(0.4), strict=True))


@pytest.mark.parametrize("other", [{"tenant": "u"}, {"key": b"l" * 32}])
def test_another_tenant_or_key_draws_others(other: dict[str, Any]) -> None:
    rules = dataclasses.replace(RULES, audit=AuditRates(rate=0.5))
    agree = sum(
        a is b for a, b in zip(selected(rules=rules), selected(rules=rules, **other), strict=True)
    )
    assert 140 < agree < 260  # of 400: independent


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": dataclasses.replace(RULES, audit=None)},
        {"verdict": Verdict.REVIEW},
        {"verdict": Verdict.BLOCK},
        {"degraded": True},
        {"scores": ()},
        {"scores": (score(mode=Mode.OBSERVE),)},
    ],
    ids=["no audit", "review", "block", "degraded", "unscored", "observed"],
)
def test_what_cannot_be_audited_is_not_drawn(changes: dict[str, Any]) -> None:
    assert drawn(**changes) is None
