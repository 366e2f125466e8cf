"""The many at once are judged exactly as the core judges one by one."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.judged import NOON, block_of, judged, unit
from helpers.policies import category, group, policy
from helpers.random_policies import random_images, random_policy, with_threshold
from imagesieve_server.core.kept import KeptImage, kept_image
from imagesieve_server.core.policy import (
    Method,
    Policy,
    Scale,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Judgement, decide
from imagesieve_server.offline.backtest import judge as judging
from imagesieve_server.offline.backtest.halves import floats
from imagesieve_server.offline.backtest.judge import BANDS, NOT_ASKED, BlockJudge

DIMENSIONS = 24


def by_the_core(of: Policy, image: KeptImage) -> Judgement:
    with np.errstate(invalid="ignore"):
        scored = score_image(
            policy=of,
            categories=[
                c for c in of.categories if not image.categories or c.id in image.categories
            ],
            embeddings=image.embeddings.astype(np.float32),
            views=image.views,
        )
    return decide(
        policy=of, scores=scored.scores, scores_valid=scored.valid, coverage=image.coverage
    )


def assert_same(policies: list[Policy], images: list[KeptImage]) -> None:
    found = BlockJudge(policies).judge(block_of(images))
    for of, verdicts in zip(policies, found, strict=True):
        for number, image in enumerate(images):
            wanted = by_the_core(of, image)
            assert verdicts.verdict[number] == wanted.verdict.strength
            bands = {score.category: BANDS.index(score.band) for score in wanted.scores}
            for place, one in enumerate(of.categories):
                asked = not image.categories or one.id in image.categories
                assert verdicts.bands[place, number] == (
                    bands.get(one.id, 0) if asked else NOT_ASKED
                )


@pytest.mark.parametrize("seed", range(25))
def test_verdicts_and_bands_are_the_cores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    policies = [random_policy(rng, DIMENSIONS) for _ in range(2)]
    assert_same(policies, random_images(rng, policies[0], 60, DIMENSIONS))


@pytest.mark.parametrize("scale", list(Scale))
@pytest.mark.parametrize("seed", range(10))
def test_a_threshold_at_exactly_an_images_own_score(seed: int, scale: Scale) -> None:
    """The hardest case: at the score it is reached, one step above it is not."""
    rng = np.random.default_rng(seed)
    of = random_policy(rng, DIMENSIONS)
    images = random_images(rng, of, 20, DIMENSIONS)
    policies = []
    for image in images[:2]:
        for score in by_the_core(of, image).scores:
            number = [c.id for c in of.categories].index(score.category)
            cosine = of.categories[number].method is Method.COSINE
            kind = Scale.SCORE if cosine else scale
            value = score.log_odds if kind is Scale.LOGIT else score.score
            for exact in (value, np.nextafter(value, np.inf), np.nextafter(value, -np.inf)):
                policies.append(with_threshold(of, number, float(exact), kind))
    assert policies
    assert_same(policies, images)


def test_few_images_are_judged_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is tight enough: doubt is rare with thresholds that nobody aimed."""
    asked = []
    real = judging._by_the_core
    monkeypatch.setattr(judging, "_by_the_core", lambda *a: (asked.append(a[3]), real(*a)))
    rng = np.random.default_rng(3)
    of = policy([category(group(*unit(rng, 5, 512)))], group(*unit(rng, 9, 512)))
    images = random_images(rng, of, 1000, 512)
    found = BlockJudge([of]).judge(block_of(images))[0]
    assert len(asked) <= 1
    assert not found.doubtful.any()


def test_what_rounding_may_have_changed_is_counted() -> None:
    """Images are aimed at log-odds around a threshold at 0; 64 numbers, |log-odds| below 0.2."""
    rng = np.random.default_rng(5)
    prompt, neutral = unit(rng, 2, 64)
    limit = Thresholds(review_at=Threshold(value=0.0, scale=Scale.LOGIT))
    of = policy([category(group(prompt), thresholds=limit)], group(neutral))
    aims = rng.uniform(-0.2, 0.2, 2000)
    apart = (prompt.astype(np.float64) - neutral) * 100.0
    size = np.linalg.norm(apart)
    other = unit(rng, 2000, 64).astype(np.float64)
    other -= np.outer(other @ apart / size**2, apart)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    along = aims / size
    vectors = other * np.sqrt(1 - along**2)[:, None] + np.outer(along, apart / size)
    images = [
        kept_image(judged(f"{n}", policy=of, embeddings=vector[None].astype(np.float32)), at=NOON)
        for n, vector in enumerate(vectors)
    ]
    found = BlockJudge([of]).judge(block_of(images))[0]
    changed = np.array([image.verdict.strength for image in images]) != found.verdict
    assert changed.sum() >= 10
    assert (changed & ~found.close).sum() == 0
    assert found.close.mean() < 0.5
    assert not found.close[np.abs(aims) > 0.1].any()


def test_the_margin_is_that_of_the_nearest_enforced_category() -> None:
    rng = np.random.default_rng(7)
    of = policy([category(group(*unit(rng, 2, 16)))], group(*unit(rng, 2, 16)))
    images = [i for i in random_images(rng, of, 50, 16) if not i.categories]
    found = BlockJudge([of]).judge(block_of(images))[0]
    for number, image in enumerate(images):
        scores = by_the_core(of, image).scores
        if scores:
            assert found.margin[number] == pytest.approx(scores[0].margin, abs=1e-2)


def test_every_half_becomes_the_same_float() -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = np.isfinite(halves)
    found = floats(halves[:, None])[:, 0]
    assert np.array_equal(found[finite], halves[finite].astype(np.float32))
    assert np.array_equal(np.signbit(found), np.signbit(halves))
    assert np.abs(found[~finite]).min() >= 65536
