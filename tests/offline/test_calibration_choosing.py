"""Thresholds for a whole policy, chosen and reported on pictures with views."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from helpers.policies import category, group, policy, unit
from imagesieve_server.core.calibration import Platt
from imagesieve_server.core.errors import LabelsError, PolicyError, TooFewLabels
from imagesieve_server.core.policy import Method, Mode, Policy, Scale, Threshold, Thresholds
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Band
from imagesieve_server.core.views import View, ViewKind
from imagesieve_server.offline.calibration import choosing, summary
from imagesieve_server.offline.calibration.flags import category_flags, kinds_of
from imagesieve_server.offline.calibration.outcome import Budget, CategoryOutcome, Outcome
from imagesieve_server.offline.calibration.promise import Aim, Goal
from imagesieve_server.offline.calibration.sample import (
    Sample,
    chosen_categories,
    sample_of,
)
from imagesieve_server.offline.labelled.labelled_set import LabelledSet, view_logits

X, Y, Z = unit(1, 0, 0), unit(0, 1, 0), unit(0, 0, 1)
SCALE = 10.0
FPR = Aim(goal=Goal.MAX_FPR, rate=0.05)
STILL = (ViewKind.STILL,)
TILES = (ViewKind.TILE, ViewKind.TILE)
FRAMES = (ViewKind.FRAME,) * 4


def rules(**changes: Any) -> Policy:
    """weapons looks along x, drugs along z; ordinary pictures lie along y."""
    weapons = category(group(X), **changes)
    return policy([weapons, category(group(Z), id="drugs")], group(Y), logit_scale=SCALE)


def pictures(
    shapes: list[tuple[ViewKind, ...]], labels: dict[str, np.ndarray], seed: int = 1, **more: Any
) -> LabelledSet:
    """A picture per shape; of one that shows weapons one view is nearer to x."""
    rng = np.random.default_rng(seed)
    views, image_of, vectors = [], [], []
    for number, shape in enumerate(shapes):
        special = rng.integers(len(shape))
        for place, kind in enumerate(shape):
            towards = 0.0
            if labels["weapons"][number] == 1 and place == special:
                towards = rng.uniform(0.0, 1.2)
            angle = towards + 0.15 * rng.normal()
            vectors.append(unit(math.sin(angle), math.cos(angle), 0.3 * rng.normal()))
            frame = place if kind is ViewKind.FRAME else 0
            views.append(View(kind=kind, box=(0, 0, 8, 8), frame=frame))
            image_of.append(number)
    count = len(shapes)
    base = LabelledSet(
        files=tuple(f"{i}.png" for i in range(count)),
        sha256=tuple(f"{i:064x}" for i in range(count)),
        labels={"drugs": np.full(count, -1, dtype=np.int8), **labels},
        columns={},
        embeddings=np.stack(vectors),
        image_of=np.asarray(image_of, dtype=np.intp),
        views=tuple(views),
        coverage=np.ones(count),
        model_fingerprint="m" * 64,
    )
    return dataclasses.replace(base, **more)


def labels_of(no: int, yes: int) -> np.ndarray:
    return np.repeat([0, 1], [no, yes]).astype(np.int8)


def mixed(no: int, yes: int, **more: Any) -> LabelledSet:
    """A third each of one view, tiles and frames."""
    shapes = [(STILL, TILES, FRAMES)[i % 3] for i in range(no + yes)]
    return pictures(shapes, {"weapons": labels_of(no, yes)}, **more)


def sample(labelled: LabelledSet, asked: Policy | None = None, **more: Any) -> Sample:
    return sample_of(asked or rules(), labelled, **more)


def weapons_only(found: Sample, aim: Aim = FPR, *, per_view_kind: bool = False) -> Outcome:
    chosen = chosen_categories(found.policy, ["weapons"])
    return choosing.choose_for_aim(found, chosen, aim, per_view_kind=per_view_kind)


def flagged_by_the_server(asked: Policy, labelled: LabelledSet) -> np.ndarray:
    """Each picture judged as the server does, by the first category."""
    flags = []
    for number in range(len(labelled)):
        rows = np.flatnonzero(labelled.image_of == number)
        scored = score_image(
            policy=asked,
            categories=asked.categories[:1],
            embeddings=labelled.embeddings[rows],
            views=[labelled.views[row] for row in rows],
        )
        flags.append(scored.scores[0].band is not Band.CLEAR)
    return np.asarray(flags)


def with_thresholds(asked: Policy, one: CategoryOutcome) -> Policy:
    """The policy with what was chosen for its first category."""
    limits = Thresholds(review_at=one.review_at)
    kinds = tuple((kind, Thresholds(review_at=limit)) for kind, limit in one.views.items())
    first = dataclasses.replace(asked.categories[0], thresholds=limits, per_view_kind=kinds)
    return dataclasses.replace(asked, categories=(first, *asked.categories[1:]))


LIMITS = Thresholds(review_at=Threshold(value=0.3), block_at=Threshold(value=0.9))
LOGIT = Thresholds(review_at=Threshold(value=-2.0, scale=Scale.LOGIT))
BLOCK_ONLY = Thresholds(review_at=None, block_at=Threshold(value=0.4))


@pytest.mark.parametrize("limits", [LIMITS, LOGIT, BLOCK_ONLY])
@pytest.mark.parametrize("method", [Method.CONTRAST, Method.COSINE])
def test_flags_are_the_servers(limits: Thresholds, method: Method) -> None:
    """View by view, with the kinds' own thresholds and the first view under the still's."""
    if method is Method.COSINE:
        limits = Thresholds(review_at=Threshold(value=0.2))
    other = dataclasses.replace(limits, review_at=Threshold(value=0.6))
    asked = rules(thresholds=limits, method=method, per_view_kind=((ViewKind.FRAME, other),))
    labelled = mixed(60, 60)
    log_odds = view_logits(asked, labelled)["weapons"]
    found = category_flags(asked.categories[0], log_odds, kinds_of(labelled))
    assert list(found) == list(flagged_by_the_server(asked, labelled))
    assert 0 < found.sum() < len(found)


def test_pictures_are_of_the_kind_of_their_later_views() -> None:
    """A transparent still has two views of kind still; a wide animation's first frame has two."""
    labelled = pictures([STILL * 2, TILES, FRAMES, (ViewKind.FRAME,)], {"weapons": labels_of(4, 0)})
    kinds = kinds_of(labelled)
    assert list(kinds.of_picture) == ["still", "tile", "frame", "still"]
    assert list(kinds.of_view) == ["still"] * 2 + ["still", "tile"] + ["still"] + ["frame"] * 3 + [
        "still"
    ]
    values = np.arange(9.0)
    assert list(kinds.highest(values, ViewKind.STILL)) == [1, 2, 4, 8]
    assert list(kinds.highest(values, ViewKind.TILE)) == [-np.inf, 3, -np.inf, -np.inf]


def test_what_is_written_keeps_its_promise_through_the_servers_own_scoring() -> None:
    """Nobody yes among these, so nothing is calibrated."""
    labelled = mixed(900, 9)
    found = weapons_only(sample(labelled)).categories[0]
    flags = flagged_by_the_server(with_thresholds(rules(), found), labelled)
    wrong = flags[:900].sum()
    assert found.allowed - 2 <= wrong <= found.allowed
    assert (found.yes, found.no, found.pictures) == (9, 900, 900)
    assert found.held_out.fpr.of == 900
    assert found.held_out.fpr.low < 0.05
    assert found.calibrated.why_not.startswith("9 pictures labelled as with")


def test_the_policy_as_it_is_is_measured_beside() -> None:
    labelled = mixed(300, 9)
    found = weapons_only(sample(labelled)).categories[0]
    flags = flagged_by_the_server(rules(), labelled)
    assert found.now.fpr.events == flags[:300].sum()
    assert found.now.recall.events == flags[300:].sum()


def test_every_category_without_enough_labels_is_named_at_once() -> None:
    labelled = mixed(30, 9)
    found = sample(labelled)
    with pytest.raises(TooFewLabels) as refused:
        choosing.choose_for_aim(found, found.policy.categories, FPR)
    weapons, drugs, advice = refused.value.message.splitlines()
    assert "'weapons': 30 pictures labelled as without" in weapons
    assert "at least 59 are needed" in weapons
    assert "'drugs': no picture is labelled as with the category (0 as without it, 39 not" in drugs
    assert "--categories" in advice


def test_one_example_promises_no_recall() -> None:
    recall = Aim(goal=Goal.MIN_RECALL, rate=0.9)
    with pytest.raises(TooFewLabels, match=r"1 picture labelled as with .* at least 29 are"):
        weapons_only(sample(mixed(900, 1)), recall)


def test_a_recall_is_kept_by_what_is_written() -> None:
    labels = np.concatenate([labels_of(4, 60), np.full(9, -1, dtype=np.int8)])
    labelled = pictures([STILL] * 73, {"weapons": labels})
    found = weapons_only(sample(labelled), Aim(goal=Goal.MIN_RECALL, rate=0.9)).categories[0]
    flags = flagged_by_the_server(with_thresholds(rules(), found), labelled)
    assert 60 - flags[4:64].sum() == found.allowed
    assert found.unsaid == 9


def test_groups_come_from_a_column_or_from_equal_bytes() -> None:
    column = tuple(f"video {i % 30}" if i < 300 else "" for i in range(309))
    labelled = mixed(300, 9, columns={"video": column})
    with pytest.raises(TooFewLabels, match=r"30 .*copies, count once"):
        weapons_only(sample(labelled, group="video"))
    assert sample(labelled, group="video").groups.max() + 1 == 39
    with pytest.raises(LabelsError, match=r"not a column to group by.*video"):
        sample(labelled, group="artist")
    same = dataclasses.replace(labelled, sha256=("a" * 64,) * 300 + labelled.sha256[300:])
    with pytest.raises(TooFewLabels, match=r"1 picture .*copies, count once"):
        weapons_only(sample(same))
    with pytest.raises(TooFewLabels, match="fewer than 20 folds"):
        sample(same, folds=20)


@pytest.mark.evaluate
def test_it_is_said_that_a_promise_is_about_groups() -> None:
    videos = [str(number // 2) for number in range(100)]
    labelled = mixed(60, 40, columns={"video": videos})
    aim = dataclasses.replace(FPR, rate=0.2)
    (note,) = (n for n in weapons_only(sample(labelled, group="video"), aim).notes if "group" in n)
    assert "the 50 groups that 100 pictures make; the other figures count every picture" in note
    assert not any("group" in n for n in weapons_only(sample(labelled), aim).notes)


def test_unknown_categories_are_refused() -> None:
    with pytest.raises(PolicyError, match="no category 'hats'; it has weapons, drugs"):
        chosen_categories(rules(), ["hats"])


# --- kinds of views -------------------------------------------------------------------------------


def test_each_kind_of_picture_keeps_the_rate_by_itself() -> None:
    """With four views against one, animations break a rate that holds over all pictures."""
    shapes = [STILL] * 2400 + [FRAMES] * 400 + [STILL] * 9
    labelled = pictures(shapes, {"weapons": labels_of(2800, 9)})
    found = weapons_only(sample(labelled), per_view_kind=True).categories[0]
    still, frame = found.kinds
    assert (still.kind, frame.kind) == (ViewKind.STILL, ViewKind.FRAME)
    assert frame.shared.fpr.value > 1.3 * FPR.rate
    assert still.shared.fpr.value < frame.shared.fpr.value / 2
    assert frame.separate is not None
    assert frame.separate.fpr.value <= FPR.rate
    assert set(found.views) == {ViewKind.FRAME}
    flags = flagged_by_the_server(with_thresholds(rules(), found), labelled)
    assert flags[2400:2800].mean() <= FPR.rate
    assert flags[:2400].mean() <= FPR.rate


def test_a_kind_with_too_few_pictures_is_named() -> None:
    labelled = pictures([STILL] * 400 + [TILES] * 60 + [STILL], {"weapons": labels_of(460, 1)})
    with pytest.raises(TooFewLabels, match=r"pictures with tiles: 60 .* at least 146 are needed"):
        weapons_only(sample(labelled), per_view_kind=True)


def test_thresholds_per_kind_that_nobody_asked_about_are_refused() -> None:
    views = ((ViewKind.FRAME, Thresholds(review_at=Threshold(value=0.9))),)
    found = sample(mixed(300, 9), rules(per_view_kind=views))
    with pytest.raises(PolicyError, match="'weapons': has thresholds per kind of view"):
        weapons_only(found)
    with pytest.raises(PolicyError, match="per kind of view"):
        choosing.choose_for_budget(
            found, found.policy.categories, Budget(reviews_per_day=1, uploads_per_day=10)
        )


# --- the reviewers' budget ------------------------------------------------------------------------

TENTH = Budget(reviews_per_day=50, uploads_per_day=500)


def unsaid(count: int, **more: Any) -> LabelledSet:
    return pictures([STILL] * count, {"weapons": np.full(count, -1, dtype=np.int8)}, **more)


def test_a_budget_needs_no_labels() -> None:
    found = sample(unsaid(2000))
    outcome = choosing.choose_for_budget(found, found.policy.categories, TENTH)
    assert 0.05 < outcome.flagged_held_out.value <= 0.1
    weapons, drugs = outcome.categories
    assert weapons.calibrated.why_not == "nobody said which pictures show it"
    assert math.isnan(weapons.held_out.fpr.value)
    assert weapons.review_at != drugs.review_at
    text = "\n".join(summary.lines(outcome))
    assert "at most 50 reviews a day of 500 uploads (10\u202f%)" in text
    assert "fair sample" in text


def test_what_other_categories_and_unseen_parts_flag_is_counted_in() -> None:
    labelled = unsaid(2000, coverage=np.where(np.arange(2000) % 40 == 0, 0.5, 1.0))
    found = sample(labelled)
    weapons = chosen_categories(found.policy, ["weapons"])
    alone = choosing.choose_for_budget(sample(unsaid(2000)), weapons, TENTH)
    fuller = choosing.choose_for_budget(found, weapons, TENTH)
    assert fuller.categories[0].log_odds > alone.categories[0].log_odds
    assert 0.05 < fuller.flagged_held_out.value <= 0.1
    reports = dataclasses.replace(found.policy, on_partial_coverage="report")
    same = choosing.choose_for_budget(sample(labelled, reports), weapons, TENTH)
    assert same.categories[0].log_odds == alone.categories[0].log_odds
    drugs = dataclasses.replace(
        found.policy.categories[1], thresholds=Thresholds(review_at=Threshold(value=0.001))
    )
    busy = dataclasses.replace(found.policy, categories=(found.policy.categories[0], drugs))
    with pytest.raises(TooFewLabels, match="no room is left"):
        choosing.choose_for_budget(sample(unsaid(2000), busy), weapons, TENTH)


def test_only_acting_categories_are_counted_as_flagged() -> None:
    asked = rules(mode=Mode.OBSERVE)
    outcome = weapons_only(sample(mixed(300, 9), asked))
    acting = weapons_only(sample(mixed(300, 9)))
    assert outcome.flagged_held_out.events < acting.flagged_held_out.events


# --- calibration ----------------------------------------------------------------------------------


@pytest.mark.evaluate
def test_probabilities_are_measured_before_and_after() -> None:
    found = sample(mixed(900, 300))
    one = weapons_only(found).categories[0].calibrated
    assert one.fitted is not None
    assert one.before is not None
    assert one.after is not None
    assert one.after.ece < one.before.ece
    assert sum(b.observed.of for b in one.after.bins) == 1200
    again = rules(calibration=one.fitted.calibration)
    present = weapons_only(sample(mixed(900, 300), again)).categories[0].calibrated.before
    assert present is not None
    assert present.ece < one.before.ece


@pytest.mark.evaluate
def test_a_bare_cosine_has_no_probability_before() -> None:
    asked = rules(method=Method.COSINE)
    one = weapons_only(sample(mixed(900, 300), asked)).categories[0]
    assert one.calibrated.before is None
    assert one.calibrated.after is not None
    assert -1.0 < one.review_at.value < 1.0
    assert one.review_at.scale is Scale.SCORE


@pytest.mark.evaluate
def test_json_has_every_figure() -> None:
    asked = rules(calibration=Platt(slope=1.0, intercept=0.0))
    labelled = mixed(900, 300)
    outcome = weapons_only(sample(labelled, asked), per_view_kind=True)
    found = summary.as_json(outcome)
    assert found["goal"] == {"confidence": 0.95, "goal": "max-fpr", "rate": 0.05}
    one = found["categories"][0]
    assert one["labels"] == {"yes": 300, "no": 900, "unsaid": 0}
    assert set(one["kinds"]) == {"still", "tile", "frame"}
    assert set(one["views"]) == {"tile", "frame"}
    assert one["calibration"]["method"] in ("platt", "isotonic")
    assert 0 < one["calibration"]["held_out"]["ece"] < one["calibration"]["before"]["ece"]
    text = "\n".join(summary.lines(outcome))
    assert "animations: one threshold for all recall" in text
