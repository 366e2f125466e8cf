"""Thresholds with a promise: the bounds are exact, ties do not break them, too few is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesieve_server.core import binomial
from imagesieve_server.core.errors import TooFewLabels
from imagesieve_server.offline.calibration.folds import deal, number_groups
from imagesieve_server.offline.calibration.held_out import held_out_flags, measure
from imagesieve_server.offline.calibration.promise import Aim, Goal, choose, flagged
from imagesieve_server.offline.calibration.review_load import choose_for_load

FPR = Aim(goal=Goal.MAX_FPR, rate=0.02)
RECALL = Aim(goal=Goal.MIN_RECALL, rate=0.9)
TRIALS = 2000
NOISE = 3 * math.sqrt(0.05 * 0.95 / TRIALS)


def labels_of(no: int, yes: int) -> np.ndarray:
    return np.repeat(np.array([0, 1], dtype=np.int8), [no, yes])


# --- the binomial -----------------------------------------------------------------------------


def test_cumulative_probabilities_by_hand() -> None:
    found = np.exp(binomial.log_cdf(3, 4, 0.25))
    terms = [math.comb(4, i) * 0.25**i * 0.75 ** (4 - i) for i in range(4)]
    assert found == pytest.approx(np.cumsum(terms), rel=1e-14)


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 299), (0.05, 59), (0.001, 2995), (0.5, 5)])
def test_the_fewest_draws_that_prove_a_rate(rate: float, needed: int) -> None:
    """n ≥ ln δ / ln(1 − rate)."""
    assert binomial.needed_draws(rate, 0.05) == needed
    assert binomial.allowed_events(needed, rate, 0.05) == 0
    assert binomial.allowed_events(needed - 1, rate, 0.05) == -1


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(0.001, 0.999), st.sampled_from([0.2, 0.1, 0.05, 0.01, 1e-6]))
def test_allowed_events_are_the_most_that_prove_it(n: int, rate: float, delta: float) -> None:
    k = binomial.allowed_events(n, rate, delta)
    cdf = np.exp(binomial.log_cdf(n - 1, n, rate))
    assert k < n * rate
    assert k < 0 or cdf[k] <= delta * (1 + 1e-9)
    assert k + 1 > n - 1 or cdf[k + 1] > delta * (1 - 1e-9)


def test_intervals_of_clopper_and_pearson() -> None:
    """0 of n has the upper end 1 − (α/2)^(1/n); the ends mirror each other."""
    none, all_of = binomial.interval(0, 20), binomial.interval(20, 20)
    assert (none.low, none.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20), rel=1e-12))
    assert (all_of.low, all_of.high) == (pytest.approx(0.025 ** (1 / 20), rel=1e-12), 1.0)
    assert binomial.interval(0, 0).value != binomial.interval(0, 0).value
    assert (binomial.interval(0, 0).low, binomial.interval(0, 0).high) == (0.0, 1.0)


@pytest.mark.evaluate
@pytest.mark.parametrize("n", [1, 7, 300, 20_000, 1_000_000])
def test_bounds_are_scipys(n: int) -> None:
    from scipy import stats

    for p in (1e-4, 0.01, 0.3, 0.9):
        most = min(n - 1, math.ceil(n * p))
        found, known = binomial.log_cdf(most, n, p), stats.binom.logcdf(np.arange(most + 1), n, p)
        stands = known > -600  # scipy's own sums underflow below
        assert found[stands] == pytest.approx(known[stands], rel=1e-8, abs=1e-7)
    for events in {0, n // 100, n // 2, n}:
        share = binomial.interval(events, n)
        exact = stats.binomtest(events, n).proportion_ci(0.95, method="exact")
        assert (share.low, share.high) == pytest.approx((exact.low, exact.high), rel=1e-7)


# --- one threshold ----------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
def test_the_false_positive_rate_is_kept_on_fresh_pictures(ties: bool) -> None:
    """Log-odds of a known distribution, so the rate of a threshold is known exactly: it stays
    below the goal in 95 % of the draws, ties or not, where the quantile of the labelled pictures
    breaks it in nearly half."""
    rng = np.random.default_rng(1)
    labels, kept, naive = labels_of(600, 0), 0, 0
    for _ in range(TRIALS):
        draws = rng.uniform(size=600)
        scores = np.floor(draws * 120) if ties else draws

        def rate(threshold: float) -> float:  # P(S ≥ t), S uniform on [0, 1] or on 0 … 119
            return 1 - math.ceil(threshold) / 120 if ties else 1 - threshold

        kept += rate(choose(scores, labels, FPR).log_odds) <= FPR.rate
        naive += rate(float(np.sort(scores)[-12])) <= FPR.rate
    assert kept / TRIALS >= 0.95 - NOISE
    assert naive / TRIALS < 0.7


@pytest.mark.parametrize("ties", [False, True])
def test_the_recall_is_kept_on_fresh_pictures(ties: bool) -> None:
    rng = np.random.default_rng(2)
    labels, kept, naive = labels_of(0, 200), 0, 0
    for _ in range(TRIALS):
        draws = rng.uniform(size=200)
        scores = np.floor(draws * 40) / 40 if ties else draws
        recall = 1 - choose(scores, labels, RECALL).log_odds
        kept += recall >= RECALL.rate - 1e-12
        naive += 1 - float(np.sort(draws)[20]) >= RECALL.rate
    assert kept / TRIALS >= 0.95 - NOISE
    assert naive / TRIALS < 0.7


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=149, max_size=400), st.booleans())
def test_the_labelled_pictures_themselves_have_no_more_mistakes_than_allowed(
    values: list[int], recall: bool
) -> None:
    """And a threshold one step laxer would have more, so none is given away."""
    aim = Aim(goal=Goal.MIN_RECALL, rate=0.98) if recall else FPR
    scores = np.asarray(values, dtype=np.float64)
    labels = np.full(len(values), aim.counts, dtype=np.int8)
    choice = choose(scores, labels, aim)
    mistakes = flagged(scores, choice.log_odds) != bool(aim.counts)
    assert mistakes.sum() <= choice.allowed
    step = 1e-9 if recall else -1e-9
    laxer = flagged(scores, choice.log_odds + step) != bool(aim.counts)
    assert laxer.sum() > choice.allowed


def test_pictures_of_which_nobody_said_anything_count_for_neither_side() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=1000)
    labels = labels_of(600, 400)
    unknown = np.concatenate([labels, np.full(500, -1, dtype=np.int8)])
    more = np.concatenate([scores, np.full(500, 9.0)])
    assert choose(more, unknown, FPR) == choose(scores, labels, FPR)


@pytest.mark.parametrize(
    ("no", "yes", "aim", "words"),
    [
        (148, 500, FPR, "148 pictures labelled as without the category"),
        (148, 500, FPR, "at least 149 are needed"),
        (0, 500, FPR, "0 pictures"),
        (500, 1, RECALL, "1 picture labelled as with the category"),
        (500, 28, RECALL, "recall of at least 0.9 with confidence 0.95 at least 29 are needed"),
    ],
)
def test_too_few_labels_are_refused_with_the_number_needed(
    no: int, yes: int, aim: Aim, words: str
) -> None:
    with pytest.raises(TooFewLabels, match=words):
        choose(np.zeros(no + yes), labels_of(no, yes), aim)


def test_a_group_counts_once_by_its_worst_picture() -> None:
    """600 harmless pictures in 200 groups of three: 149 groups are enough, and the threshold
    lies above every group's highest but the allowed ones."""
    rng = np.random.default_rng(4)
    scores, groups = rng.normal(size=600), np.repeat(np.arange(200), 3)
    choice = choose(scores, labels_of(600, 0), FPR, groups=groups)
    highest = scores.reshape(200, 3).max(axis=1)
    assert (choice.pictures, choice.allowed) == (200, 0)
    assert choice.log_odds == np.nextafter(highest.max(), np.inf)
    with pytest.raises(TooFewLabels, match=r"120 .*copies, count once"):
        choose(scores[:360], labels_of(360, 0), FPR, groups=groups[:360])
    lowest = scores.reshape(200, 3).min(axis=1)
    found = choose(scores, labels_of(0, 600), RECALL, groups=groups)
    assert found.log_odds == np.sort(lowest)[found.allowed]


# --- folds ------------------------------------------------------------------------------------


def test_folds_share_out_both_labels_evenly_and_keep_groups_whole() -> None:
    labels = labels_of(900, 60)
    alone = deal(labels, groups=np.arange(960), folds=5, seed=1)
    for fold in range(5):
        assert (np.sum(labels[alone == fold] == 0), np.sum(labels[alone == fold] == 1)) == (180, 12)
    groups = np.arange(960) // 4
    whole = deal(labels, groups=groups, folds=5, seed=1)
    assert all(len(set(whole[groups == g])) == 1 for g in range(240))
    assert [int(np.sum(labels[whole == f])) for f in range(5)] == [12] * 5


def test_folds_follow_the_seed() -> None:
    labels = labels_of(80, 20)
    first, same, other = (
        deal(labels, groups=np.arange(100), folds=5, seed=seed) for seed in (1, 1, 2)
    )
    assert list(first) == list(same)
    assert list(first) != list(other)


def test_groups_are_numbered_by_first_appearance() -> None:
    assert list(number_groups(["b", "a", "b", "c"])) == [0, 1, 0, 2]


def test_held_out_flags_are_made_without_the_pictures_own_fold() -> None:
    """One picture far above all others is flagged although its own fold would have set the
    threshold above it."""
    rng = np.random.default_rng(5)
    scores, labels = rng.uniform(size=400), labels_of(400, 0)
    scores[7] = 50.0
    folds = deal(labels, groups=np.arange(400), folds=5, seed=1)
    flags = held_out_flags(scores, labels, FPR, folds=folds, groups=np.arange(400))
    assert flags[7]
    assert not flagged(scores, choose(scores, labels, Aim(goal=Goal.MAX_FPR, rate=0.008)).log_odds)[
        7
    ]


def test_what_flags_do_is_counted() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0, 0, -1], dtype=np.int8)
    found = measure(np.array([1, 1, 0, 1, 0, 0, 0, 1], dtype=bool), labels)
    assert (found.recall.value, found.fpr.value, found.precision.value) == (2 / 3, 1 / 4, 2 / 3)
    assert found.recall.low < 2 / 3 < found.recall.high


# --- the reviewers' budget ----------------------------------------------------------------------


def uploads(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Three categories, two of them alike, with ties."""
    one = rng.normal(size=n)
    two = one + 0.3 * rng.normal(size=n)
    return {"a": one, "b": np.round(two, 1), "c": 5 + 3 * rng.normal(size=n)}


def test_the_review_load_is_kept_on_fresh_uploads() -> None:
    rng = np.random.default_rng(6)
    fresh = uploads(rng, 200_000)
    kept, trials = 0, 300
    for trial in range(trials):
        seen = uploads(rng, 800)
        choice = choose_for_load(
            seen, flagged_anyway=np.zeros(800, bool), share=0.05, delta=0.05, seed=trial
        )
        reviews = np.zeros(200_000, dtype=bool)
        for category, threshold in choice.log_odds.items():
            reviews |= flagged(fresh[category], threshold)
        kept += reviews.mean() <= 0.05
    assert kept / trials >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / trials)


def test_every_category_gets_the_same_share_of_the_budget() -> None:
    rng = np.random.default_rng(7)
    seen = {name: scale * rng.normal(size=4000) for name, scale in (("a", 1.0), ("b", 40.0))}
    choice = choose_for_load(
        seen, flagged_anyway=np.zeros(4000, bool), share=0.2, delta=0.05, seed=1
    )
    shares = [flagged(seen[name], choice.log_odds[name]).mean() for name in seen]
    assert shares[0] == pytest.approx(shares[1], abs=0.02)
    assert 0.08 < shares[0] < 0.11  # half each, less the certainty's price


def test_as_many_are_flagged_as_the_promise_has_room_for() -> None:
    """No step of the scale is wider than a picture, but where scores tie."""
    rng = np.random.default_rng(10)
    for seed in range(20):
        seen = {name: rng.normal(size=1000) for name in "abcd"}
        choice = choose_for_load(
            seen, flagged_anyway=np.zeros(1000, bool), share=0.1, delta=0.05, seed=seed
        )
        counted = np.random.default_rng(seed).permutation(1000) >= 500
        flags = np.any([flagged(seen[c], choice.log_odds[c]) for c in seen], axis=0)
        assert flags[counted].sum() == choice.allowed


def test_categories_whose_scores_are_all_alike_are_flagged_whole_or_not_at_all() -> None:
    seen = {"a": np.zeros(1000), "b": np.random.default_rng(1).normal(size=1000)}
    choice = choose_for_load(
        seen, flagged_anyway=np.zeros(1000, bool), share=0.2, delta=0.05, seed=1
    )
    assert choice.log_odds["a"] > 0
    assert flagged(seen["b"], choice.log_odds["b"]).mean() < 0.2


def test_what_goes_to_review_anyway_uses_up_the_budget() -> None:
    rng = np.random.default_rng(8)
    seen, anyway = {"a": rng.normal(size=2000)}, np.arange(2000) % 50 == 0
    with_it = choose_for_load(seen, flagged_anyway=anyway, share=0.05, delta=0.05, seed=1)
    without = choose_for_load(
        seen, flagged_anyway=np.zeros(2000, bool), share=0.05, delta=0.05, seed=1
    )
    assert with_it.log_odds["a"] > without.log_odds["a"]
    with pytest.raises(TooFewLabels, match="40 of 2000 pictures go to review whatever"):
        choose_for_load(seen, flagged_anyway=anyway, share=0.01, delta=0.05, seed=1)


def test_a_budget_smaller_than_the_first_halfs_resolution_lies_beyond_its_highest() -> None:
    rng = np.random.default_rng(9)
    seen = {name: rng.normal(size=700) for name in "abcdef"}
    choice = choose_for_load(
        seen, flagged_anyway=np.zeros(700, bool), share=0.01, delta=0.05, seed=1
    )
    assert choice.allowed == 0
    counted = np.random.default_rng(1).permutation(700) >= 350
    flags = np.any([flagged(seen[c], choice.log_odds[c]) for c in seen], axis=0)
    assert flags[counted].sum() == 0


def test_a_budget_needs_twice_as_many_pictures_as_a_rate() -> None:
    with pytest.raises(TooFewLabels, match=r"500 pictures; .* at least 598 are needed"):
        choose_for_load(
            {"a": np.zeros(500)}, flagged_anyway=np.zeros(500, bool), share=0.01, delta=0.05, seed=1
        )
