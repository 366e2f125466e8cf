"""Scoring: the formulas by hand, and every property the design states."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.policies import category, group, policy, still, unit
from imagesieve_server.core.calibration import Isotonic, Platt
from imagesieve_server.core.policy import (
    Method,
    Policy,
    Pooling,
    Probe,
    PromptGroup,
    Scale,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.scoring import logits_of, score_image, sigmoid
from imagesieve_server.core.verdict import Band, CategoryScore
from imagesieve_server.core.views import View, ViewKind

X, Y, Z = unit(1, 0, 0), unit(0, 1, 0), unit(0, 0, 1)


def score(rules: Policy, *vectors: np.ndarray, views: tuple[View, ...] = ()) -> CategoryScore:
    embeddings = np.stack(vectors)
    scored = score_image(
        policy=rules,
        categories=rules.categories,
        embeddings=embeddings,
        views=views or still(len(vectors)),
    )
    assert scored.valid
    return scored.scores[0]


def test_contrast_is_the_category_against_the_neutral_prompts() -> None:
    """logit = λ·m_P − λ·m_N without counter-prompts."""
    v = unit(3, 4, 0)  # cosine .6 to X, .8 to Y
    found = score(policy([category(group(X))], group(Y), logit_scale=10.0), v)
    assert found.log_odds == pytest.approx(10 * (0.6 - 0.8), abs=1e-6)
    assert found.score == pytest.approx(1 / (1 + math.exp(2)), abs=1e-6)
    assert found.neutral_score == pytest.approx(0.8, abs=1e-6)


def test_counter_prompts_join_the_neutral_side_as_a_pool_of_their_own() -> None:
    v = unit(1, 1, 1)
    rules = policy([category(group(X), counter_prompts=group(Z))], group(Y), logit_scale=10.0)
    c = 10 / math.sqrt(3)
    assert score(rules, v).log_odds == pytest.approx(c - np.logaddexp(c, c), abs=1e-5)


def test_sigmoid_uses_scale_and_bias() -> None:
    rules = policy(
        [category(group(X, Y), method=Method.SIGMOID)], group(Y), logit_scale=10.0, logit_bias=-6.0
    )
    assert score(rules, unit(3, 4, 0)).log_odds == pytest.approx(8 - 6, abs=1e-5)


def test_cosine_is_the_best_prompts_cosine() -> None:
    limits = Thresholds(review_at=Threshold(value=0.5))
    rules = policy([category(group(X), method=Method.COSINE, thresholds=limits)], group(Y))
    found = score(rules, unit(3, 4, 0))
    assert (found.score, found.margin) == (pytest.approx(0.6), pytest.approx(0.1))
    assert found.band is Band.REVIEW


def test_probe_is_a_linear_head() -> None:
    head = Probe(weights=np.array([1, 2, 3], dtype=np.float32), bias=-1.0)
    rules = policy([category(group(), method=Method.PROBE, probe=head)], group(Y))
    assert score(rules, X).log_odds == pytest.approx(0.0)


def test_a_saturated_logit_does_not_overflow() -> None:
    """e^{λc} overflows float32 from c = .887 on at λ = 100."""
    found = score(policy([category(group(X))], group(unit(-1, 0, 0))), X)
    assert found.log_odds == pytest.approx(200.0)
    assert found.score == 1.0


def test_logmeanexp_lies_between_mean_and_maximum() -> None:
    v = unit(3, 4, 0)
    rules = policy([category(group(X, Y), pooling=Pooling.LOGMEANEXP)], group(Z), logit_scale=10.0)
    assert 0.7 < score(rules, v).log_odds / 10 < 0.8


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 2.0])
def test_an_unsound_embedding_makes_the_scores_invalid(bad: float) -> None:
    """A verdict comes only from finite, unit embeddings."""
    rules = policy([category(group(X))], group(Y))
    rows = np.stack([X, np.full(3, bad, dtype=np.float32)])
    scored = score_image(policy=rules, categories=rules.categories, embeddings=rows, views=still(2))
    assert not scored.valid
    assert scored.scores[0].band is Band.REVIEW  # the sound row still counts


def test_no_sound_row_gives_no_scores() -> None:
    rules = policy([category(group(X))], group(Y))
    rows = np.full((1, 3), np.nan, dtype=np.float32)
    scored = score_image(policy=rules, categories=rules.categories, embeddings=rows, views=still())
    assert (scored.valid, scored.scores) == (False, ())


def test_views_and_embeddings_must_match() -> None:
    rules = policy([category(group(X))], group(Y))
    with pytest.raises(ValueError, match="2 views"):
        score_image(policy=rules, categories=rules.categories, embeddings=X[None], views=still(2))


def test_a_view_kinds_own_thresholds_apply_to_later_frames_only() -> None:
    """View 0 and the first frame always use the still's thresholds."""
    strict = Thresholds(review_at=Threshold(value=0.01))
    rules = policy(
        [category(group(X), per_view_kind=((ViewKind.FRAME, strict),))], group(Y), logit_scale=4.0
    )
    nearly = unit(1, 1.2, 0)  # score about .37
    first = View(kind=ViewKind.FRAME, box=(0, 0, 8, 8), frame=0)
    later = dataclasses.replace(first, frame=7)
    assert score(rules, nearly, views=(first,)).band is Band.CLEAR
    found = score(rules, nearly, nearly, views=(first, later))
    assert (found.band, found.view) == (Band.REVIEW, 1)


def test_nan_reaches_every_threshold() -> None:
    """NaN ≥ 0.6 is False, so a naive comparison would let it pass as clear."""
    for scale in Scale:
        assert Threshold(value=0.6, scale=scale).reached(score=math.nan, logit=math.nan)


vectors = st.lists(
    st.tuples(*[st.floats(-1, 1, allow_nan=False)] * 4).filter(lambda v: np.linalg.norm(v) > 0.1),
    min_size=1,
    max_size=4,
).map(lambda rows: [unit(*row) for row in rows])


@settings(max_examples=60, deadline=None)
@given(vectors, vectors, vectors, vectors, st.sampled_from(Pooling))
def test_repeating_a_whole_list_changes_nothing(
    p: list[np.ndarray], n: list[np.ndarray], c: list[np.ndarray], v: list[np.ndarray], how: Pooling
) -> None:
    once = policy([category(group(*p), counter_prompts=group(*c), pooling=how)], group(*n))
    twice = policy(
        [category(group(*p, *p), counter_prompts=group(*c, *c), pooling=how)], group(*n, *n)
    )
    assert score(twice, *v).log_odds == pytest.approx(score(once, *v).log_odds, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(vectors, vectors, vectors, vectors, vectors)
def test_more_prompts_push_the_score_their_way(
    p: list[np.ndarray],
    n: list[np.ndarray],
    c: list[np.ndarray],
    v: list[np.ndarray],
    extra: list[np.ndarray],
) -> None:
    """With maximum pooling more P never lowers a score; more N or C never raises it."""

    def logit(pp: list[np.ndarray], nn: list[np.ndarray], cc: list[np.ndarray]) -> float:
        rule = category(group(*pp), counter_prompts=group(*cc))
        return score(policy([rule], group(*nn)), *v).log_odds

    base = logit(p, n, c)
    assert logit([*p, *extra], n, c) >= base - 1e-9
    assert logit(p, [*n, *extra], c) <= base + 1e-9
    assert logit(p, n, [*c, *extra]) <= base + 1e-9


@settings(max_examples=60, deadline=None)
@given(vectors, vectors, vectors, vectors, st.sampled_from([Method.CONTRAST, Method.COSINE]))
def test_adding_a_view_never_lowers_score_probability_or_band(
    p: list[np.ndarray], n: list[np.ndarray], v: list[np.ndarray], more: list[np.ndarray], m: Method
) -> None:
    limits = Thresholds(review_at=Threshold(value=0.3), block_at=Threshold(value=0.8))
    order = list(Band)
    for mapping in (
        Platt(slope=0.5, intercept=-1.0),
        Isotonic(log_odds=(-50.0, 0.2, 0.3, 40.0), probabilities=(0.0, 0.3, 0.3, 0.9)),
    ):
        rule = category(group(*p), method=m, thresholds=limits, calibration=mapping)
        rules = policy([rule], group(*n))
        fewer, all_views = score(rules, *v), score(rules, *v, *more)
        assert all_views.score >= fewer.score - 1e-12
        assert fewer.probability is not None
        assert all_views.probability is not None
        assert all_views.probability >= fewer.probability - 1e-9
        assert order.index(all_views.band) >= order.index(fewer.band)


@settings(max_examples=60, deadline=None)
@given(vectors, vectors, vectors, vectors, st.sampled_from(Method), st.sampled_from(Pooling))
def test_an_images_numbers_are_those_of_its_views(
    p: list[np.ndarray],
    n: list[np.ndarray],
    c: list[np.ndarray],
    v: list[np.ndarray],
    method: Method,
    how: Pooling,
) -> None:
    """What is explained, calibrated and compared elsewhere is what the server answers."""
    probe = Probe(weights=p[0] * 9, bias=-1.0) if method is Method.PROBE else None
    rule = category(group(*p), counter_prompts=group(*c), method=method, pooling=how, probe=probe)
    rules = policy([rule], group(*n))
    scores, logits = logits_of(rules, rule, np.stack(v).astype(np.float64))
    found = score(rules, *v)
    assert found.score == pytest.approx(scores.max(), abs=1e-9)
    assert found.log_odds == pytest.approx(logits.max(), abs=1e-9)
    assert logits[found.view] == pytest.approx(logits.max(), abs=1e-9)


@pytest.mark.parametrize("neutrals", [0, 7])
@pytest.mark.parametrize("how", Pooling)
def test_categories_scored_together_are_as_each_by_itself(how: Pooling, neutrals: int) -> None:
    """Of every method, with and without counter-prompts, as wide as a real model's embeddings:
    only the order of sums may differ."""
    rng = np.random.default_rng(3)

    def some(count: int) -> PromptGroup:
        return group(*(unit(*rng.normal(size=512)) for _ in range(count)))

    other = next(pooling for pooling in Pooling if pooling is not how)
    rules = policy(
        [
            category(some(5), id="plain", pooling=how),
            category(some(1), id="one", counter_prompts=some(4), pooling=how),
            category(some(9), id="other", pooling=other),
            category(some(3), id="sigmoid", method=Method.SIGMOID, pooling=how),
            category(some(2), id="countered", counter_prompts=some(1), pooling=how),
            category(some(4), id="cosine", method=Method.COSINE, pooling=how),
            category(
                some(0),
                id="probe",
                method=Method.PROBE,
                probe=Probe(weights=rng.normal(size=512).astype(np.float32), bias=-1.0),
            ),
        ],
        some(neutrals),
    )
    v = np.stack([unit(*rng.normal(size=512)) for _ in range(6)])
    scored = score_image(policy=rules, categories=rules.categories, embeddings=v, views=still(6))
    assert [found.category for found in scored.scores] == [c.id for c in rules.categories]
    for rule, found in zip(rules.categories, scored.scores, strict=True):
        scores, logits = logits_of(rules, rule, v.astype(np.float64))
        assert found.log_odds == pytest.approx(logits.max(), abs=1e-9)
        assert found.score == pytest.approx(scores.max(), abs=1e-9)


def test_a_category_of_another_policy_is_refused() -> None:
    rules = policy([category(group(X))], group(Y))
    with pytest.raises(ValueError, match="own"):
        score_image(
            policy=rules, categories=[category(group(X))], embeddings=X[None], views=still()
        )


def test_categories_are_independent() -> None:
    """A picture that breaks two rules scores high in both."""
    both = unit(1, 1, 0)
    rules = policy([category(group(X)), category(group(Y), id="drugs")], group(Z))
    scored = score_image(
        policy=rules, categories=rules.categories, embeddings=both[None], views=still()
    )
    assert [s.band for s in scored.scores] == [Band.REVIEW, Band.REVIEW]


def test_sigmoid_is_stable_at_both_ends() -> None:
    with np.errstate(all="raise", under="ignore"):
        assert list(sigmoid(np.array([-1e4, 0.0, 1e4]))) == [0.0, 0.5, 1.0]


def test_an_empty_group_is_only_legal_for_counter_prompts() -> None:
    assert len(PromptGroup(texts=(), vectors=np.zeros((0, 0), dtype=np.float32))) == 0
