"""Editing a policy's YAML: the diff is the thresholds and calibrations, nothing else."""

from __future__ import annotations

import difflib
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imagesieve_server.core.calibration import Isotonic, Platt
from imagesieve_server.core.errors import PolicyError
from imagesieve_server.core.policy import Method, Scale, Threshold
from imagesieve_server.core.scoring import sigmoid
from imagesieve_server.core.views import ViewKind
from imagesieve_server.demo_data import DEMO_POLICY_SOURCE
from imagesieve_server.offline.calibration.edit_policy import Change, edited
from imagesieve_server.offline.policy_text.written import rounded, threshold_text
from imagesieve_server.policy_files.source import parse_policy

PLATT = Platt(slope=0.75, intercept=-2.5)
WRITTEN = 'calibration: {method: platt, slope: 0.75, intercept: -2.5, fitted_on: "0123456789ab"}'


def change(category: str, review_at: float | None = 0.7125, **more: object) -> Change:
    limit = None if review_at is None else Threshold(value=review_at)
    return Change(category=category, review_at=limit, **more)  # type: ignore[arg-type]


def calibrated(category: str, review_at: float | None = 0.7125) -> Change:
    return change(category, review_at, calibration=PLATT, fitted_on="0123456789ab")


def lines_changed(old: str, new: str) -> list[str]:
    found = difflib.ndiff(old.splitlines(keepends=True), new.splitlines(keepends=True))
    changed = [line.rstrip("\r\n") for line in found if line[0] in "+-"]
    return sorted(changed, key=lambda line: line[0], reverse=True)  # what went, then what came


def test_the_demo_policys_diff_is_the_lines_asked_for() -> None:
    old = DEMO_POLICY_SOURCE.read_text()
    logit = Threshold(value=1.25, scale=Scale.LOGIT)
    new = edited(
        old,
        [calibrated("weapons"), Change(category="drugs", review_at=logit), change("insults", 0.61)],
        file="f",
    )
    assert lines_changed(old, new) == [
        "-     review_at: 0.60",
        "-     review_at: 0.40",
        "-     review_at: 0.50",
        "+     review_at: 0.7125",
        f"+     {WRITTEN}",
        "+     review_at: {logit: 1.25}",
        "+     review_at: 0.61",
    ]
    assert edited(new, [], file="f") == new


NASTY = """\
# a policy   with   odd spacing
name:    "demo"
neutral: [ 'a cat',"a dog"   ,   a plate of food that is described at such length that it is wide ]


categories:
-   id: 'a'      # the first
    severity: 3
    prompts:
          - "a gun"    # quoted
          - é🔫 a pistol
    review_at:    0.60     # measured in May
    # between
    block_at: {  logit: 2.5  }   # and this
-   {id: b, severity: 1, prompts: [x], review_at: {logit: 0.5}, views: {tile: {review_at: 0.9}}}
-   id: c
    severity: 2
    description_of_nothing: &no
    prompts: [y]   # flow
    review_at:
        logit:   0.25   # nested
    views:
        frame:
            review_at: 0.8
            block_at: 0.99   # kept

    # trailing comment of c
-   severity: 2
    prompts:
        - z
    mode: observe
    review_at:
    id: d   # the id comes last
on_undecodable: review  # end
""".replace("    description_of_nothing: &no\n", "")


def test_odd_yaml_keeps_its_oddities() -> None:
    logit = Threshold(value=-0.125, scale=Scale.LOGIT)
    changes = [
        calibrated("a"),
        Change(category="b", review_at=logit, calibration=PLATT, fitted_on="0123456789ab"),
        Change(category="c", review_at=logit, views={ViewKind.FRAME: Threshold(value=0.85)}),
        calibrated("d"),
    ]
    new = edited(NASTY, changes, file="f")
    assert lines_changed(NASTY, new) == [
        "-     review_at:    0.60     # measured in May",
        "- -   {id: b, severity: 1, prompts: [x], review_at: {logit: 0.5}, "
        "views: {tile: {review_at: 0.9}}}",
        "-         logit:   0.25   # nested",
        "-             review_at: 0.8",
        "-     review_at:",
        "+     review_at:    0.7125     # measured in May",
        f"+     {WRITTEN}",
        "+ -   {id: b, severity: 1, prompts: [x], review_at: {logit: -0.125}, "
        f"{WRITTEN}, views: {{tile: {{review_at: 0.9}}}}}}",
        "+         logit:   -0.125   # nested",
        "+             review_at: 0.85",
        "+     review_at: 0.7125",
        f"+     {WRITTEN}",
    ]
    dos = NASTY.replace("\n", "\r\n")
    assert edited(dos, changes, file="f") == new.replace("\n", "\r\n")
    assert edited(NASTY.rstrip("\n"), changes, file="f") == new.rstrip("\n")


def test_an_old_calibration_is_replaced_however_it_is_written() -> None:
    flow = edited(NASTY, [calibrated("a")], file="f")
    other = Platt(slope=2.0, intercept=0.0)
    again = edited(flow, [Change(category="a", calibration=other, fitted_on="ab" * 6)], file="f")
    assert lines_changed(flow, again)[-1] == (
        '+     calibration: {method: platt, slope: 2.0, intercept: 0.0, fitted_on: "abababababab"}'
    )
    block = NASTY.replace(
        "    # between\n",
        "    calibration:   # of May\n"
        "        method: platt\n        slope: 1\n        intercept: 0\n",
    )
    again = edited(block, [Change(category="a", calibration=other, fitted_on="ab" * 6)], file="f")
    assert "    calibration:   # of May\n        {method: platt, slope: 2.0" in again


def test_a_long_isotonic_calibration_is_wrapped() -> None:
    knots = tuple(float(i) for i in range(90))
    mapping = Isotonic(log_odds=knots, probabilities=tuple(k / 100 for k in knots))
    new = edited(NASTY, [Change(category="a", calibration=mapping, fitted_on="ab" * 6)], file="f")
    added = [line for line in lines_changed(NASTY, new) if line.startswith("+")]
    assert len(added) == len(lines_changed(NASTY, new)) > 5
    assert max(map(len, added)) <= 102


def test_view_kinds_are_added_with_the_categorys_block_at() -> None:
    views = {ViewKind.TILE: Threshold(value=0.8), ViewKind.FRAME: Threshold(value=0.9)}
    new = edited(NASTY, [Change(category="a", views=views), Change(category="b", views=views)],
                 file="f")  # fmt: skip
    assert lines_changed(NASTY, new) == [
        "- -   {id: b, severity: 1, prompts: [x], review_at: {logit: 0.5}, "
        "views: {tile: {review_at: 0.9}}}",
        "+     views: {tile: {review_at: 0.8, block_at: {logit: 2.5}}, "
        "frame: {review_at: 0.9, block_at:",
        "+       {logit: 2.5}}}",
        "+ -   {id: b, severity: 1, prompts: [x], review_at: {logit: 0.5}, "
        "views: {tile: {review_at: 0.8}, frame: {review_at: 0.9}}}",
    ]
    block = edited(NASTY, [Change(category="c", views=views)], file="f")
    assert lines_changed(NASTY, block) == [
        "-             review_at: 0.8",
        "+             review_at: 0.9",
        "+         tile: {review_at: 0.8}",
    ]


ANCHORS = """\
name: demo
neutral: [a cat]
categories:
  - {id: a, severity: 1, prompts: [x], review_at: &limit 0.6}
  - {id: b, severity: 1, prompts: [y], review_at: *limit}
"""


def test_an_alias_becomes_a_value_of_its_own() -> None:
    new = edited(ANCHORS, [change("b")], file="f")
    assert lines_changed(ANCHORS, new) == [
        "-   - {id: b, severity: 1, prompts: [y], review_at: *limit}",
        "+   - {id: b, severity: 1, prompts: [y], review_at: 0.7125}",
    ]
    both = edited(ANCHORS, [change("a", 0.8), change("b")], file="f")
    assert "review_at: &limit 0.8}" in both


def test_an_anchor_that_another_category_uses_is_not_moved_under_it() -> None:
    with pytest.raises(
        PolicyError, match=r"category 'b': cannot be edited .* another place shares its anchor"
    ):
        edited(ANCHORS, [change("a")], file="f")
    merged = """\
name: demo
neutral: [a cat]
categories:
  - &base
    id: a
    severity: 1
    prompts: [x]
    review_at: 0.6
  - <<: *base
    id: b
"""
    with pytest.raises(PolicyError, match="category 'b'"):
        edited(merged, [change("a")], file="f")
    new = edited(merged, [change("b")], file="f")
    assert lines_changed(merged, new) == ["+     review_at: 0.7125"]


def test_a_threshold_above_block_at_is_refused_by_name() -> None:
    with pytest.raises(PolicyError, match="block_at: lies below review_at"):
        edited(DEMO_POLICY_SOURCE.read_text(), [change("insults", 0.95)], file="f")


def test_a_category_that_is_not_there_is_refused() -> None:
    with pytest.raises(PolicyError, match="category 'q'"):
        edited(NASTY, [change("q")], file="f")


def test_a_key_without_a_value_may_end_the_file() -> None:
    text = ANCHORS + "  - id: c\n    severity: 1\n    mode: observe\n"
    text += "    prompts: [z]\n    review_at:"
    new = edited(text, [calibrated("c")], file="f")
    assert new == f"{text} 0.7125\n    {WRITTEN}"


def test_marks_before_the_text_stay() -> None:
    for before in ("\ufeff", "---\n", "%YAML 1.2\n---\n", "# only a comment\n\n"):
        new = edited(before + NASTY, [calibrated("a")], file="f")
        assert new == before + edited(NASTY, [calibrated("a")], file="f")


COMMENT = st.sampled_from(["", "  # why", "      # \u00e9\U0001f52b: {not: yaml}"])
LIMIT = st.sampled_from(["0.6", "0.60", "{logit: 1}", "{ logit:  1.5 }", "{\n      logit: 2}", ""])


@st.composite
def block_categories(draw: st.DrawFn, name: str) -> str:
    """A category in block style: keys in any order, comments anywhere, odd indentation."""
    indent = " " * draw(st.integers(2, 6))
    lines = [f"id: {name}", f"severity: {draw(st.integers(1, 4))}", "mode: observe"]
    lines.append(draw(st.sampled_from([
        "prompts: [a gun]", f"prompts:\n{indent}  - a gun{draw(COMMENT)}\n{indent}  - 'a # sword'",
        f"prompts:\n{indent}- >-\n{indent}    a gun\n{indent}    in a hand",
    ])))  # fmt: skip
    if draw(st.booleans()):
        lines.append(f"review_at: {draw(LIMIT)}")
    if draw(st.booleans()):
        lines.append("title: |\n" + indent + "  Long # title\n")
    if draw(st.booleans()):
        lines.append(f"views:\n{indent}  tile: {{review_at: 0.9}}")
    if draw(st.booleans()):
        lines.append(f"calibration:\n{indent}  method: platt\n{indent}  slope: 1\n"
                     f"{indent}  intercept: 0")  # fmt: skip
    lines = [line + draw(COMMENT) if not line.endswith("\n") else line.rstrip("\n")
             for line in draw(st.permutations(lines))]  # fmt: skip
    gap = draw(st.sampled_from(["\n", "\n\n", f"\n{indent}# between\n", "\n# left\n"]))
    return f"-{indent[1:]}" + gap.join(f"{indent}{line}" for line in lines).lstrip() + "\n"


@st.composite
def policies(draw: st.DrawFn) -> str:
    categories = "".join(draw(block_categories(name)) for name in ("a", "b"))
    return f"name: demo\nneutral: [a cat]\ncategories:\n{categories}# the end\n"


@settings(deadline=None)
@given(policies(), st.booleans())
def test_whatever_the_layout_all_that_is_not_asked_for_stays(text: str, views: bool) -> None:
    """``edited`` checks the meaning itself; this is about every other line and comment."""
    try:
        parse_policy(text, file="f")
    except PolicyError:
        assume(False)
    tile = {ViewKind.TILE: Threshold(value=0.8)} if views else {}
    new = edited(
        text,
        [change("a", 0.71, calibration=PLATT, fitted_on="0123456789ab", views=tile)],
        file="f",
    )
    gone = [line[2:] for line in lines_changed(text, new) if line[0] == "-"]
    touched = ("review_at", "logit", "calibration", "method: platt", "slope", "intercept", "tile")
    assert all(any(word in line for word in touched) for line in gone), gone
    assert new.count("#") >= text.count("#") - sum(line.count("#") for line in gone)
    assert text.split("id: b")[1] == new.split("id: b")[1]


# --- rounding -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(-12, 12), st.booleans(), st.booleans(), st.booleans())
def test_a_written_threshold_is_on_the_promises_side(
    log_odds: float, up: bool, as_logit: bool, tie: bool
) -> None:
    """Up: what lay below stays unflagged. Down: what was flagged stays so."""
    at = round(log_odds, 1) if tie else log_odds
    at = float(np.nextafter(at, math.inf)) if up else at
    like = Threshold(value=0.0, scale=Scale.LOGIT) if as_logit else Threshold(value=0.5)
    found = rounded(at, method=Method.CONTRAST, like=like, up=up)
    edge = float(np.nextafter(at, -math.inf)) if up else at
    reached = found.reached(score=float(sigmoid(np.array([edge]))[0]), logit=edge)
    assert reached is not up
    assert found.log_odds() == pytest.approx(at, abs=0.012)


def test_scales_are_kept_as_far_as_they_say_enough() -> None:
    plain, logit = Threshold(value=0.5), Threshold(value=1.0, scale=Scale.LOGIT)
    kinds = [
        rounded(at, method=Method.CONTRAST, like=like, up=True).scale
        for at, like in ((0.3, plain), (0.3, None), (0.3, logit), (6.0, plain), (-6.0, plain))
    ]
    assert kinds == [Scale.SCORE, Scale.SCORE, Scale.LOGIT, Scale.LOGIT, Scale.LOGIT]
    cosine = rounded(0.2345678, method=Method.COSINE, like=plain, up=False)
    assert cosine == Threshold(value=0.23456)


@pytest.mark.parametrize("value", [1e-7, 0.5, 1e-5, -3.25, 12.0])
def test_numbers_are_written_as_yaml_reads_them(value: float) -> None:
    text = ANCHORS.replace("*limit", threshold_text(Threshold(value=value, scale=Scale.LOGIT)))
    found = parse_policy(text, file="f").categories[1].thresholds.review_at
    assert found == Threshold(value=value, scale=Scale.LOGIT)
