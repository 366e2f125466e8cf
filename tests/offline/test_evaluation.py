"""Evaluations: the server's own verdicts, figures by hand, honest gaps and fair comparisons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import policies
from helpers.labelled import (
    BOX,
    STILL,
    angle_category,
    angle_policy,
    at_angles,
    labelled_set,
)
from imagesieve_server.core.errors import LabelsError, PolicyError
from imagesieve_server.core.policy import (
    Category,
    Method,
    Mode,
    Policy,
    Scale,
    Threshold,
    Thresholds,
)
from imagesieve_server.core.verdict import Verdict
from imagesieve_server.core.views import View, ViewKind
from imagesieve_server.offline.evaluation import as_json, comparisons, wording
from imagesieve_server.offline.evaluation.categories import MEASURES, statement
from imagesieve_server.offline.evaluation.evaluate import aligned, compare_choices, evaluate
from imagesieve_server.offline.evaluation.judging import flagged, judge
from imagesieve_server.offline.evaluation.results import Evaluation
from imagesieve_server.offline.evaluation.sections import sections
from imagesieve_server.offline.evaluation.slices import LEVEL, SEEN_AS, seen_as, slice_all
from imagesieve_server.offline.labelled.labelled_set import LabelledSet, view_logits
from imagesieve_server.offline.measures import fisher
from imagesieve_server.offline.measures.bootstrap import Resampling
from imagesieve_server.offline.report import section

QUICK = Resampling(count=100)
TILE, FRAME = ViewKind.TILE, ViewKind.FRAME


def run(policy: Policy, labelled: LabelledSet, **changes: Any) -> Evaluation:
    return evaluate(policy, labelled, **({"model": "m", "resampling": QUICK} | changes))


# --- the server's own rule ------------------------------------------------------------------


@st.composite
def judged_cases(draw: st.DrawFn) -> tuple[Category, LabelledSet]:
    """Any thresholds on any scale, per kind of view too; pictures with any views."""
    method = draw(st.sampled_from([Method.CONTRAST, Method.COSINE, Method.SIGMOID]))
    scales = [Scale.SCORE] if method is Method.COSINE else list(Scale)

    def threshold() -> Threshold | None:
        if not draw(st.booleans()):
            return None
        scale = draw(st.sampled_from(scales))
        low, high = (-8.0, 8.0) if scale is Scale.LOGIT else (0.01, 0.99)
        return Threshold(value=draw(st.floats(low, high)), scale=scale)

    def limits() -> Thresholds:
        return Thresholds(review_at=threshold(), block_at=threshold())

    kinds = [(kind, limits()) for kind in (TILE, FRAME) if draw(st.booleans())]
    category = angle_category(method=method, thresholds=limits(), per_view_kind=tuple(kinds))
    views = draw(
        st.lists(
            st.lists(
                st.builds(
                    View,
                    kind=st.sampled_from(ViewKind),
                    box=st.just(BOX),
                    frame=st.integers(0, 2),
                ),
                min_size=1,
                max_size=4,
            ),
            min_size=1,
            max_size=5,
        )
    )
    total = sum(map(len, views))
    angles = draw(st.lists(st.floats(0, 90), min_size=total, max_size=total))
    answers = {"weapons": [1] * len(views)}
    return category, labelled_set(at_angles(angles), answers, views=views)


@settings(deadline=None)
@given(judged_cases())
def test_flags_of_all_pictures_at_once_are_those_of_the_server(
    case: tuple[Category, LabelledSet],
) -> None:
    category, labelled = case
    policy = angle_policy(category)
    judged = judge(policy, labelled)
    found = flagged(category, view_logits(policy, labelled)["weapons"], labelled)
    assert found.tolist() == (judged.bands["weapons"] > 0).tolist() == judged.flagged().tolist()


def test_verdicts_by_hand() -> None:
    """A tile's laxer threshold, an observed category, a picture not seen as a whole."""
    lax = angle_category(per_view_kind=((TILE, Thresholds(review_at=Threshold(value=0.999))),))
    block = angle_category(
        "death",
        mode=Mode.OBSERVE,
        thresholds=Thresholds(review_at=None, block_at=Threshold(value=0.5)),
    )
    tile = View(kind=TILE, box=BOX)
    views = [[STILL], [STILL, tile], [STILL], [STILL]]
    labelled = labelled_set(
        at_angles([30, 80, 30, 80, 80]),
        {"weapons": [1, 1, 0, 0], "death": [-1, 1, 0, 0]},
        views=views,
        coverage=[1, 1, 1, 0.5],
    )
    found = run(angle_policy(lax, block), labelled)
    assert found.bands["weapons"].tolist() == [1, 0, 0, 0]
    assert found.bands["death"].tolist() == [2, 2, 0, 0]
    assert found.verdicts.counts == {Verdict.ALLOW: 2, Verdict.REVIEW: 2, Verdict.BLOCK: 0}
    assert found.verdicts.flagged.value == 0.5
    assert found.verdicts.flagged_showing is not None
    assert found.verdicts.flagged_showing.value == 0.5
    assert found.verdicts.flagged_clean is not None
    assert found.verdicts.flagged_clean.value == 0.5
    assert found.verdicts.observed_only.value == 0.25
    (review,) = found.categories[0].at
    assert (review.hits, review.misses, review.false_alarms, review.passed) == (1, 1, 0, 2)
    assert [at.name for at in found.categories[1].at] == ["review_at", "block_at"]


# --- figures ---------------------------------------------------------------------------------


def two_heaps(
    positives: int = 30, negatives: int = 200, *, seed: int = 0, **changes: Any
) -> LabelledSet:
    """Pictures that show it lie near 30 degrees, others near 60."""
    chance = np.random.default_rng(seed)
    angles = np.concatenate(
        [chance.normal(38, 8, positives), chance.normal(60, 8, negatives)]
    ).clip(0, 90)
    answers = [1] * positives + [0] * negatives
    return labelled_set(at_angles(angles.tolist()), {"weapons": answers}, **changes)


def test_figures_counts_and_mistakes_agree() -> None:
    labelled = two_heaps()
    found = run(angle_policy(), labelled)
    (one,) = found.categories
    assert (one.positives, one.negatives, one.unsaid, one.statement) == (30, 200, 0, "")
    assert list(one.figures) == list(MEASURES)
    (at,) = one.at
    assert at.hits + at.misses == 30
    assert at.false_alarms + at.passed == 200
    assert at.recall is not None
    assert at.recall.low < at.hits / 30 == at.recall.value < at.recall.high
    assert at.precision is not None
    assert at.precision.value == at.hits / (at.hits + at.false_alarms)
    assert len(one.misses) == min(12, at.misses) > 1
    assert len(one.false_alarms) == min(12, at.false_alarms) > 1
    margins = [mistake.margin for mistake in one.misses]
    assert margins == sorted(margins)
    assert margins[-1] < 0
    alarms = [mistake.margin for mistake in one.false_alarms]
    assert alarms == sorted(alarms, reverse=True)
    assert alarms[-1] >= 0
    assert all(labelled.labels["weapons"][m.number] == 1 for m in one.misses)
    assert all(labelled.files[m.number] == m.file for m in one.misses)


def test_what_nobody_spoke_of_counts_neither_way() -> None:
    labelled = two_heaps()
    answers = labelled.labels["weapons"].copy()
    answers[:5], answers[100:150] = -1, -1
    (one,) = run(angle_policy(), replace(labelled, labels={"weapons": answers})).categories
    assert (one.positives, one.negatives, one.unsaid) == (25, 150, 55)
    assert len(one.log_odds) == 175
    assert sum((one.at[0].hits, one.at[0].misses)) == 25


@pytest.mark.parametrize(("positives", "negatives"), [(0, 50), (1, 50), (9, 50), (50, 0), (50, 3)])
def test_too_few_labels_are_a_statement_and_no_figure(positives: int, negatives: int) -> None:
    found = run(angle_policy(), two_heaps(positives, negatives))
    (one,) = found.categories
    assert set(one.figures.values()) == {None}
    assert f"label {10 - min(positives, negatives)} more that" in one.statement
    assert (one.at[0].recall is None) == (positives < 10)
    assert (one.at[0].false_positive_rate is None) == (negatives < 10)
    assert one.at[0].precision is None or positives >= 10
    text = section.as_text(sections(found))
    assert "Too few labels to say anything of Weapons" in text
    assert one.statement[:40] in text
    json.dumps(section.as_json(as_json.head(found), sections(found)), allow_nan=False)


def test_a_statement_says_how_many_labels_would_do() -> None:
    assert "1 picture is labelled as showing it and 4 as not" in statement(1, 4)
    assert "label 9 more that show it and 6 more that do not" in statement(1, 4)
    assert "no pictures are labelled" in statement(0, 10)
    assert "97 that show it" in statement(0, 10)
    assert statement(10, 10) == ""


def test_a_measure_that_needs_more_labels_says_so() -> None:
    (one,) = run(angle_policy(), two_heaps(12, 60)).categories
    assert one.figures["auc"] is not None
    assert one.lacking == {
        "precision_at_recall_95": "needs 20 pictures that show it, has 12",
        "recall_at_fpr_1": "needs 100 pictures that do not, has 60",
    }


def test_another_models_policy_is_refused() -> None:
    with pytest.raises(PolicyError, match="compiled for another model"):
        run(angle_policy(model_fingerprint="0" * 64), two_heaps())


def test_copies_and_contrary_labels_are_said() -> None:
    labelled = two_heaps(
        20, 20, sha256=["a" * 64] * 2 + [f"{n:064}" for n in range(37)] + ["a" * 64]
    )
    (copies, contrary) = run(angle_policy(), labelled).notes
    assert "3 pictures are copies" in copies
    assert "'0.png' and '1.png'" in contrary


def test_an_observed_category_without_thresholds_still_has_figures() -> None:
    bare = angle_category(mode=Mode.OBSERVE, thresholds=Thresholds(review_at=None))
    found = run(angle_policy(bare), two_heaps(columns={"half": ["a", "b"] * 115}))
    (one,) = found.categories
    assert one.at == ()
    assert one.figures["auc"] is not None
    assert found.slices.tests == 0
    assert one.misses[0].margin == -np.inf
    assert [m.log_odds for m in one.misses] == sorted(m.log_odds for m in one.misses)
    json.dumps(section.as_json(as_json.head(found), sections(found)), allow_nan=False)


# --- slices ----------------------------------------------------------------------------------


def with_columns(labelled: LabelledSet, **columns: Sequence[str]) -> LabelledSet:
    return replace(labelled, columns={name: tuple(texts) for name, texts in columns.items()})


def test_a_planted_gap_is_flagged_and_the_others_are_not() -> None:
    labelled = two_heaps(200, 400)
    policy = angle_policy()
    hit = judge(policy, labelled).bands["weapons"] > 0
    chance = np.random.default_rng(3)
    # Of what shows it, camera b has nearly only misses.
    camera = np.where(hit | (chance.random(600) < 0.1), "a", "b")
    camera[200:] = chance.choice(["a", "b"], 400)
    noise = chance.choice(["x", "y", "z"], 600)
    found = slice_all(
        policy,
        with_columns(labelled, camera=camera.tolist(), noise=noise.tolist()),
        judge(policy, labelled),
        None,
    )
    flagged = {
        (table.column, row.value, name)
        for table in found.tables
        for row in table.rows
        for name in ("recall_gap", "false_positive_gap")
        if getattr(row, name) and getattr(row, name).flagged
    }
    assert flagged == {("camera", "a", "recall_gap"), ("camera", "b", "recall_gap")}
    assert found.gaps() == 2
    assert found.tests == 2 + 6  # two values are one question; three are three


def test_a_report_without_gaps_seldom_cries_wolf() -> None:
    """60 reports of 12 slices each, drawn by chance. LEVEL allows for three that flag one;
    uncorrected, about forty would.
    """
    labelled = two_heaps(150, 150)
    judged = judge(angle_policy(), labelled)
    wolves = uncorrected = 0
    for seed in range(60):
        chance = np.random.default_rng(seed)
        columns = {f"c{k}": chance.integers(0, 4, 300).astype(str).tolist() for k in range(3)}
        found = slice_all(angle_policy(), with_columns(labelled, **columns), judged, None)
        assert found.tests == 24
        wolves += found.gaps() > 0
        uncorrected += any(
            row.recall_gap and row.recall_gap.p < 24 * LEVEL
            for table in found.tables
            for row in table.rows
        )
    assert wolves <= 6 < 20 <= uncorrected


def test_small_slices_are_shown_and_not_tested() -> None:
    camera = ["a"] * 5 + ["b"] * 225
    found = slice_all(
        angle_policy(),
        with_columns(two_heaps(), camera=camera),
        judge(angle_policy(), two_heaps()),
        ["camera"],
    )
    (table,) = found.tables
    small = next(row for row in table.rows if row.value == "a")
    assert (small.positives, small.recall, small.recall_gap) == (5, None, None)
    assert (small.negatives, small.false_positive_gap) == (0, None)
    large = next(row for row in table.rows if row.value == "b")
    assert large.recall is not None
    assert large.recall_gap is None  # there are only five others


def test_columns_with_many_values_are_sliced_only_where_asked_for() -> None:
    labelled = with_columns(
        two_heaps(), id=[str(n) for n in range(230)], same=["x"] * 230, blank=["", "y"] * 115
    )
    judged = judge(angle_policy(), labelled)
    found = slice_all(angle_policy(), labelled, judged, None)
    assert {table.column for table in found.tables} == {"blank"}
    assert {row.value for table in found.tables for row in table.rows} == {"(empty)", "y"}
    assert found.notes == ("column 'id' has 230 values: slice it with --slices",)
    asked = slice_all(angle_policy(), labelled, judged, ["id"])
    assert asked.tables[0].rows[0].value == "(all others)"
    assert len(asked.tables[0].rows) == 21
    assert slice_all(angle_policy(), labelled, judged, []).tables == ()
    with pytest.raises(LabelsError, match=r"no column 'wrong' .*'blank', '\(seen as\)'"):
        slice_all(angle_policy(), labelled, judged, ["wrong"])


def test_how_a_picture_was_looked_at_is_a_column_of_ours() -> None:
    tile, frame = View(kind=TILE, box=BOX), View(kind=FRAME, box=BOX, frame=2)
    labelled = labelled_set(
        at_angles([0] * 6),
        {"weapons": [1, 1, 1]},
        views=[[STILL], [tile, tile], [STILL, frame, tile]],
    )
    assert seen_as(labelled) == ("still", "tiles", "animation")
    assert SEEN_AS not in labelled.columns


@pytest.mark.parametrize(
    ("table", "p"),
    [((3, 3, 0, 3), 0.1), ((1, 10, 1, 10), 1.0), ((0, 5, 0, 7), 1.0), ((8, 10, 2, 10), 0.0230)],
)
def test_fishers_exact_test_by_known_tables(table: tuple[int, int, int, int], p: float) -> None:
    assert fisher.exact_test(*table) == pytest.approx(p, abs=5e-5)


def test_holms_correction_by_hand() -> None:
    assert fisher.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert fisher.holm([0.9, 0.8]) == [1.0, 1.0]
    assert fisher.holm([]) == []


@pytest.mark.evaluate
@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_scipy_finds_the_same_p(a: int, b: int, c: int, d: int) -> None:
    from scipy import stats

    assert fisher.exact_test(a, a + b, c, c + d) == pytest.approx(
        stats.fisher_exact([[a, b], [c, d]]).pvalue
    )


# --- comparisons -----------------------------------------------------------------------------


def test_a_counter_prompt_that_catches_look_alikes_is_worth_it() -> None:
    """Look-alikes lie at 40 degrees as offences do, but off the plane, by their counter-prompt."""
    chance = np.random.default_rng(2)
    flat = np.column_stack([at_angles(chance.normal(35, 6, 100).tolist()), np.zeros(100)])
    far = np.column_stack([at_angles(chance.normal(70, 6, 100).tolist()), np.zeros(100)])
    alike = np.column_stack([0.7 * at_angles(chance.normal(35, 6, 100).tolist()), np.ones(100)])
    vectors = np.concatenate([flat, far, alike])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    category = policies.category(
        policies.group(policies.unit(1, 0, 0)),
        counter_prompts=policies.group(policies.unit(0.3, 0, 1)),
        thresholds=Thresholds(review_at=Threshold(value=0.5)),
    )
    policy = policies.policy(
        [category],
        policies.group(policies.unit(0, 1, 0)),
        logit_scale=10.0,
        model_fingerprint="f" * 64,
    )
    labelled = labelled_set(vectors.astype(np.float32), {"weapons": [1] * 100 + [0] * 200})
    found = comparisons.counter_prompts(policy, labelled, QUICK)
    (row,) = found.rows
    for measure in ("fpr_at_threshold", "fpr_at_equal_recall"):
        assert row.measures[measure].difference.high < -0.2
    assert row.measures["auc"].difference.low > 0
    assert found.mean == row.measures
    assert "they take false positives from" in wording.conclusion(found)


def noisy_prompts(seed: int) -> tuple[Policy, LabelledSet]:
    """Twelve prompts that mean nothing, alike in all: no list of them is worth more than one."""
    chance = np.random.default_rng(seed)
    vectors = chance.normal(size=(120, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prompts = [policies.unit(*chance.normal(size=16)) for _ in range(12)]
    policy = policies.policy(
        [policies.category(policies.group(*prompts))],
        policies.group(policies.unit(*chance.normal(size=16))),
        model_fingerprint="f" * 64,
    )
    names = [f"{n:064x}" for n in chance.permutation(120).tolist()]
    labelled = labelled_set(vectors.astype(np.float32), {"weapons": ([1, 0] * 60)}, sha256=names)
    return policy, labelled


def test_the_best_single_prompt_is_not_flattered_by_its_own_choice() -> None:
    """Where no prompt means anything, the one chosen on one half has an AUC of .5 on the other."""
    few = Resampling(count=1)
    found = [comparisons.single_prompts(*noisy_prompts(seed), few) for seed in range(60)]
    chosen = [one.mean["auc"].second for one in found if one.mean]
    assert len(chosen) > 55
    error = np.std(chosen) / np.sqrt(len(chosen))
    assert abs(np.mean(chosen) - 0.5) < 4 * error
    policy, labelled = noisy_prompts(0)
    category = policy.categories[0]
    on = comparisons.variants.sides(labelled, "weapons")
    alone = [
        comparisons.variant_of(policy, comparisons.variants.with_prompt(category, n), labelled)
        for n in range(12)
    ]
    assert max(comparisons._aucs(alone, on)) > 0.55  # chosen and measured on the same pictures


def test_copies_stay_in_one_half() -> None:
    labelled = two_heaps(10, 10, sha256=[f"{n // 2:064x}" for n in range(20)])
    half = comparisons.halves(labelled)
    assert (half[0::2] == half[1::2]).all()
    assert 0 < half.sum() < 20


def test_coverage_is_compared_on_what_is_seen_differently() -> None:
    tile = View(kind=TILE, box=BOX)
    square, angles = [STILL], np.random.default_rng(0).normal(60, 8, 120)
    angles[:30] = 20
    tiles = labelled_set(
        at_angles([a for n, a in enumerate(angles) for a in ([a] if n >= 60 else [a, 60])]),
        {"weapons": [1] * 30 + [0] * 90},
        views=[[tile, tile]] * 60 + [square] * 60,
    )
    centre = labelled_set(
        at_angles([60.0] * 60 + angles[60:].tolist()), {"weapons": [1] * 30 + [0] * 90}
    )
    (found,) = comparisons.coverage(angle_policy(), {"tiles": tiles, "centre": centre}, QUICK)
    (row,) = found.rows
    assert row.pictures == 60
    assert row.measures["recall_at_threshold"].first == 1.0
    assert row.measures["recall_at_threshold"].second == 0.0
    assert row.measures["auc"].difference.low > 0.2
    assert "Better: tiles" in wording.conclusion(found)


def test_all_choices_run_and_few_labels_only_leave_figures_out() -> None:
    steps: list[str] = []
    tiny = two_heaps(3, 5)
    policy = angle_policy()
    found = compare_choices(
        policy,
        {"tiles": tiny, "centre": tiny, "squash": tiny},
        {"a {}": policy, "b {}": policy},
        QUICK,
        steps.append,
    )
    assert steps == ["prompts", "templates", "counter-prompts", "pooling", "coverage"]
    assert [one.id for one in found] == [
        "single_template", "pooling", "coverage_centre", "coverage_squash"
    ]  # fmt: skip
    assert all(one.mean == {} for one in found)
    text = section.as_text(sections(run(policy, tiny, compared=found)))
    assert "too few labels to say" in text


def test_sets_are_aligned_by_file() -> None:
    one = two_heaps(4, 4, columns={"n": list("abcdefgh")})
    other = one.only(np.array([0, 2, 3, 7]))
    assert other.files == ("0.png", "2.png", "3.png", "7.png")
    assert other.columns == {"n": ("a", "c", "d", "h")}
    found = aligned({"x": one, "y": other})
    assert found["y"] is other
    assert found["x"].files == other.files
    assert found["x"].embeddings.tobytes() == other.embeddings.tobytes()
    assert found["x"].image_of.tolist() == [0, 1, 2, 3]


# --- reports ---------------------------------------------------------------------------------


def test_terminals_are_not_steered_by_a_label_file() -> None:
    labelled = two_heaps(200, 400)
    hit = judge(angle_policy(), labelled).bands["weapons"] > 0
    labelled = with_columns(
        labelled, **{"c\x1b]0;x\x07": np.where(hit, "a\x1b[31m", "b\u202e").tolist()}
    )
    text = section.as_text(sections(run(angle_policy(), labelled)))
    assert "worse" in text
    assert not set("\x1b\x07\u202e") & set(text)


def test_the_json_has_what_the_reference_lists() -> None:
    labelled = with_columns(two_heaps(60, 150), camera=["a", "b"] * 105)
    policy = angle_policy()
    found = run(policy, labelled, compared=[comparisons.pooling(policy, labelled, QUICK)])
    data = section.as_json(as_json.head(found), sections(found))
    text = json.dumps(data, allow_nan=False)
    assert data["format"] == 1
    assert data["categories"][0]["figures"]["auc"]["low"] > 0.5
    assert data["categories"][0]["curve"][-1]["recall"] == 1.0
    assert data["slices"]["tables"][0]["column"] == "camera"
    from helpers.reference import REFERENCE

    described = (REFERENCE / "evaluation-json.md").read_text(encoding="utf-8")
    keys: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            keys.update(value)
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, dict | list):
                collect(inner)

    collect(json.loads(text))
    assert sorted(key for key in keys if f"`{key}`" not in described) == []
