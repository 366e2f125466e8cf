"""Explaining: the terms add up to the server's numbers, and a "what if" is what would happen."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.policies import category, group, policy, still, unit
from imagesieve_server.core.explaining import Explanation, explain
from imagesieve_server.core.policy import (
    Category,
    Method,
    Mode,
    Policy,
    Pooling,
    Probe,
    Scale,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Band, ReasonCode, Verdict
from imagesieve_server.core.views import View, ViewKind
from imagesieve_server.core.what_if import Change, WhatIf, nearest_threshold

X, Y, Z = unit(1, 0, 0), unit(0, 1, 0), unit(0, 0, 1)


def told(rules: Policy, *vectors: np.ndarray, coverage: float = 1.0) -> Explanation:
    return explain(
        policy=rules, embeddings=np.stack(vectors), views=still(len(vectors)), coverage=coverage
    )


def changes(found: Explanation, change: Change, number: int = 0) -> list[WhatIf]:
    return [what for what in found.categories[number].what_if if what.change is change]


rows = st.lists(
    st.tuples(*[st.floats(-1, 1, allow_nan=False)] * 5).filter(lambda v: np.linalg.norm(v) > 0.1),
    min_size=1,
    max_size=4,
).map(lambda found: [unit(*row) for row in found])
limits = st.builds(Threshold, value=st.floats(0.02, 0.98), scale=st.just(Scale.SCORE)) | st.builds(
    Threshold, value=st.floats(-5, 5), scale=st.just(Scale.LOGIT)
)


@st.composite
def categories(draw: st.DrawFn, name: str) -> Category:
    method = draw(st.sampled_from([Method.CONTRAST, Method.SIGMOID, Method.PROBE]))
    counter = draw(rows | st.just([])) if method is Method.CONTRAST else []
    return category(
        group(*draw(rows)) if method is not Method.PROBE else group(),
        id=name,
        method=method,
        mode=draw(st.sampled_from(Mode)),
        pooling=draw(st.sampled_from(Pooling)),
        counter_prompts=group(*counter),
        probe=Probe(weights=3 * draw(rows)[0], bias=0.5) if method is Method.PROBE else None,
        thresholds=Thresholds(review_at=draw(limits)),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    return policy(
        [draw(categories("first")), draw(categories("second"))],
        group(*draw(rows)),
        logit_scale=draw(st.sampled_from([5.0, 100.0])),
        logit_bias=draw(st.sampled_from([0.0, -3.0])),
    )


@settings(max_examples=60, deadline=None)
@given(policies(), rows)
def test_the_terms_add_up_to_the_servers_numbers(rules: Policy, v: list[np.ndarray]) -> None:
    """The numbers bit for bit, at the view that the server's own answer names; the sum of the
    terms but for the last bits, since the server multiplies all categories at once."""
    views, embeddings = still(len(v)), np.stack(v)
    scored = score_image(
        policy=rules, categories=rules.categories, embeddings=embeddings, views=views
    )
    found = told(rules, *v)
    assert found.judgement.scores == scored.scores
    by_id = {score.category: score for score in scored.scores}
    for one in found.categories:
        assert one.score == by_id[one.category.id]
        terms = one.terms
        assert one.by_view[one.score.view] == terms.log_odds
        assert max(value for value in one.by_view if value is not None) == one.score.log_odds
        if one.category.method is Method.CONTRAST:
            assert terms.prompts is not None
            assert terms.against is not None
            total = rules.logit_scale * terms.prompts.pooled - terms.against
        elif one.category.method is Method.SIGMOID:
            assert terms.prompts is not None
            total = rules.logit_scale * terms.prompts.pooled + rules.logit_bias
        else:
            assert terms.projection is not None
            assert one.category.probe is not None
            total = terms.projection + one.category.probe.bias
        assert total == pytest.approx(terms.log_odds, abs=1e-9)


def test_against_is_the_sum_of_both_pools() -> None:
    rules = policy([category(group(X), counter_prompts=group(Z))], group(Y), logit_scale=10.0)
    terms = told(rules, unit(1, 2, 3)).categories[0].terms
    assert terms.neutral is not None
    assert terms.counter is not None
    assert terms.against == np.logaddexp(10 * terms.neutral.pooled, 10 * terms.counter.pooled)
    assert terms.counter.pooled == pytest.approx(3 / math.sqrt(14))


def test_prompts_come_nearest_first_with_their_own_cosines() -> None:
    terms = told(policy([category(group(X, Y))], group(Z)), unit(3, 4, 0)).categories[0].terms
    assert terms.prompts is not None
    assert [(p.text, round(p.cosine, 6)) for p in terms.prompts.prompts] == [
        ("prompt 1", 0.8),
        ("prompt 0", 0.6),
    ]
    assert terms.counter is None


def test_a_cosine_is_explained_by_its_best_prompt() -> None:
    limit = Thresholds(review_at=Threshold(value=0.9))
    rules = policy([category(group(X, Y), method=Method.COSINE, thresholds=limit)], group(Z))
    (found,) = told(rules, unit(3, 4, 0)).categories
    assert found.terms.log_odds == found.score.score == pytest.approx(0.8)
    (less,) = [what for what in found.what_if if what.change is Change.WITHOUT_PROMPT]
    assert less.score.score == pytest.approx(0.6)
    (at,) = [what for what in found.what_if if what.change is Change.REVIEW_AT]
    assert at.threshold is not None
    assert at.threshold.value == pytest.approx(0.8, abs=0.001)
    assert at.verdict is Verdict.REVIEW


@settings(max_examples=60, deadline=None)
@given(policies(), rows)
def test_the_named_threshold_does_what_it_says(rules: Policy, v: list[np.ndarray]) -> None:
    """Below the score it flags, above it clears: judged again with that threshold alone."""
    found = told(rules, *v)
    for one in found.categories:
        (what,) = [w for w in one.what_if if w.change is Change.REVIEW_AT]
        limits = Thresholds(review_at=what.threshold)
        changed = dataclasses.replace(one.category, thresholds=limits)
        others = tuple(changed if c is one.category else c for c in rules.categories)
        (again,) = score_image(
            policy=dataclasses.replace(rules, categories=others),
            categories=[changed],
            embeddings=np.stack(v),
            views=still(len(v)),
        ).scores
        assert what.score == again
        assert (again.band is Band.CLEAR) == (one.score.band is not Band.CLEAR)


@settings(max_examples=60, deadline=None)
@given(policies(), rows)
def test_leaving_a_prompt_out_is_a_policy_without_it(rules: Policy, v: list[np.ndarray]) -> None:
    for one in told(rules, *v).categories:
        for what in one.what_if:
            if what.change is not Change.WITHOUT_COUNTER:
                continue
            keep = [
                vector
                for text, vector in zip(
                    one.category.counter_prompts.texts,
                    one.category.counter_prompts.vectors,
                    strict=True,
                )
                if text != what.prompt
            ]
            changed = dataclasses.replace(one.category, counter_prompts=group(*keep))
            alone = dataclasses.replace(rules, categories=(changed,))
            (again,) = score_image(
                policy=alone,
                categories=alone.categories,
                embeddings=np.stack(v),
                views=still(len(v)),
            ).scores
            assert what.score.log_odds == pytest.approx(again.log_odds, abs=1e-9)
            assert what.score.log_odds >= one.score.log_odds - 1e-9


def test_a_neutral_prompt_is_left_out_for_every_category() -> None:
    """It stands in all of them: the verdict may change through another one."""
    rules = policy(
        [category(group(X), id="first"), category(group(unit(1, 0.9, 0)), id="second")],
        group(unit(1, 0.8, 0), Z),
        logit_scale=20.0,
    )
    found = told(rules, unit(1, 0.85, 0))
    assert found.judgement.verdict is Verdict.ALLOW
    first = next(one for one in found.categories if one.category.id == "first")
    (what,) = [w for w in first.what_if if w.change is Change.WITHOUT_NEUTRAL]
    assert (what.prompt, what.verdict) == ("prompt 0", Verdict.REVIEW)


def test_all_counter_prompts_together() -> None:
    rules = policy(
        [category(group(X), counter_prompts=group(X, unit(1, 0.1, 0)))], group(Y), logit_scale=20.0
    )
    found = told(rules, X)
    assert found.categories[0].score.band is Band.CLEAR
    (one,) = changes(found, Change.WITHOUT_COUNTER)
    (everything,) = changes(found, Change.WITHOUT_ALL_COUNTERS)
    assert one.score.band is Band.CLEAR
    assert (everything.score.band, everything.verdict) == (Band.REVIEW, Verdict.REVIEW)
    single = policy([category(group(X), counter_prompts=group(X))], group(Y), logit_scale=20.0)
    assert len(changes(told(single, X), Change.WITHOUT_COUNTER)) == 1
    assert changes(told(single, X), Change.WITHOUT_ALL_COUNTERS) == []  # it would be the same


def test_an_observed_category_would_act_if_it_were_enforced() -> None:
    found = told(policy([category(group(X), mode=Mode.OBSERVE)], group(Y)), X)
    assert found.judgement.verdict is Verdict.ALLOW
    (what,) = changes(found, Change.ENFORCE)
    assert what.verdict is Verdict.REVIEW
    clear = told(policy([category(group(X), mode=Mode.OBSERVE)], group(Y)), Y)
    assert changes(clear, Change.ENFORCE) == []


def test_a_blocked_picture_says_what_it_would_be_without_block_at() -> None:
    limits = Thresholds(review_at=Threshold(value=0.5), block_at=Threshold(value=0.9))
    found = told(policy([category(group(X), thresholds=limits)], group(Y)), X)
    assert found.judgement.verdict is Verdict.BLOCK
    (what,) = changes(found, Change.NO_BLOCK_AT)
    assert what.verdict is Verdict.REVIEW
    assert changes(found, Change.REVIEW_AT) == []


def test_a_change_that_moves_nothing_is_not_mentioned() -> None:
    rules = policy([category(group(X, unit(1, 0.001, 0)))], group(Y))
    assert changes(told(rules, X), Change.WITHOUT_PROMPT) == []


def test_the_only_prompt_and_the_only_neutral_prompt_stay() -> None:
    found = told(policy([category(group(X))], group(Y)), unit(1, 1, 0))
    kinds = {what.change for what in found.categories[0].what_if}
    assert kinds == {Change.REVIEW_AT}


def test_the_leading_category_is_the_one_the_verdict_is_about() -> None:
    """An observed category further above its threshold does not come first."""
    rules = policy(
        [
            category(group(X), id="watched", mode=Mode.OBSERVE),
            category(group(unit(1, 0.2, 0)), id="acting"),
            category(group(Z), id="far"),
        ],
        group(Y),
    )
    found = told(rules, X)
    assert [one.category.id for one in found.categories] == ["acting", "watched", "far"]
    assert found.leading is found.categories[0]
    assert [one.category.id for one in found.about(["far"])] == ["far"]


def test_of_two_that_act_the_more_severe_leads() -> None:
    """As in the judgement's own order, though the other is further above its threshold."""
    rules = policy(
        [
            category(group(X), id="mild", severity=1),
            category(group(unit(1, 0.1, 0)), id="severe", severity=4),
        ],
        group(Y),
    )
    found = told(rules, X)
    mild, severe = found.judgement.scores
    assert mild.margin > severe.margin
    assert [one.category.id for one in found.categories] == ["severe", "mild"]


def test_cosines_are_those_of_the_view_that_decided() -> None:
    found = told(policy([category(group(X))], group(Y, Z)), Z, unit(3, 4, 0), X)
    (one,) = found.categories
    assert one.score.view == 2
    assert one.terms.prompts is not None
    assert one.terms.neutral is not None
    assert [p.cosine for p in one.terms.prompts.prompts] == [1.0]
    assert [p.cosine for p in one.terms.neutral.prompts] == [0.0, 0.0]
    assert (one.terms.prompts.pooled, one.terms.neutral.pooled) == (1.0, 0.0)


def test_a_small_change_of_a_cosine_is_worth_saying() -> None:
    """0.01 of a cosine is a whole log-odd at λ = 100."""
    limit = Thresholds(review_at=Threshold(value=0.9))
    prompts = group(unit(1, 0, 0), unit(1, 0.1, 0))
    rules = policy([category(prompts, method=Method.COSINE, thresholds=limit)], group(Z))
    (less,) = changes(told(rules, X), Change.WITHOUT_PROMPT)
    assert less.score.score == pytest.approx(1 / math.sqrt(1.01))


def test_unsound_views_are_named_and_the_rest_is_explained() -> None:
    bad = np.full(3, np.nan, dtype=np.float32)
    found = told(policy([category(group(X))], group(Y)), bad, X)
    (one,) = found.categories
    assert (one.by_view[0], one.score.view) == (None, 1)
    assert one.by_view[1] == one.terms.log_odds
    assert found.judgement.reasons[0].code is ReasonCode.SCORE_INVALID
    nothing = told(policy([category(group(X))], group(Y)), bad)
    assert (nothing.categories, nothing.leading) == ((), None)
    assert nothing.judgement.verdict is Verdict.REVIEW


def test_truncated_views_stay_a_reason() -> None:
    found = told(policy([category(group(X))], group(Y)), Y, coverage=0.5)
    assert found.judgement.verdict is Verdict.REVIEW
    assert found.judgement.reasons[0].code is ReasonCode.VIEWS_TRUNCATED
    (what,) = changes(found, Change.REVIEW_AT)
    assert what.verdict is Verdict.REVIEW


def test_thresholds_of_a_view_kind_are_replaced_with_the_rest() -> None:
    """A strict frame threshold flagged it: the new review_at must clear the frame as well."""
    strict = Thresholds(review_at=Threshold(value=0.01))
    rules = policy(
        [category(group(X), per_view_kind=((ViewKind.FRAME, strict),))], group(Y), logit_scale=4.0
    )
    first = View(kind=ViewKind.FRAME, box=(0, 0, 8, 8), frame=0)
    views = (first, dataclasses.replace(first, frame=7))
    nearly = unit(1, 1.2, 0)
    found = explain(policy=rules, embeddings=np.stack([nearly, nearly]), views=views, coverage=1.0)
    assert (found.categories[0].score.band, found.categories[0].score.view) == (Band.REVIEW, 1)
    (what,) = changes(found, Change.REVIEW_AT)
    assert what.score.band is Band.CLEAR


@pytest.mark.parametrize(
    ("log_odds", "band", "threshold"),
    [
        (0.0, Band.CLEAR, Threshold(value=0.5)),
        (0.0, Band.REVIEW, Threshold(value=0.51)),
        (6.004, Band.REVIEW, Threshold(value=6.01, scale=Scale.LOGIT)),
        (-6.004, Band.CLEAR, Threshold(value=-6.01, scale=Scale.LOGIT)),
    ],
)
def test_a_round_threshold_beside_a_score(
    log_odds: float, band: Band, threshold: Threshold
) -> None:
    """Two decimals of a score, or log-odds where those would say too little."""
    (one,) = told(policy([category(group(X))], group(Y)), X).categories
    score = dataclasses.replace(
        one.score, log_odds=log_odds, score=1 / (1 + math.exp(-log_odds)), band=band
    )
    assert nearest_threshold(one.category, score) == threshold
