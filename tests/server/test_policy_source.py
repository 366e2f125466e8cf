"""A policy person's mistakes: each names file, line and field."""

from __future__ import annotations

import pytest

from imagesieve_server.core.calibration import Isotonic, Platt
from imagesieve_server.core.errors import PolicyError
from imagesieve_server.core.policy import (
    AuditRates,
    Method,
    Mode,
    NearBand,
    OnUnavailable,
    Pooling,
    Scale,
)
from imagesieve_server.core.views import Coverage, ViewKind
from imagesieve_server.policy_files.source import parse_policy

GOOD = """\
name: demo
description: a test
templates: ["a photo of {}", "{}"]
neutral: [a cat, a plate of food]
coverage: squash
pooling: logmeanexp
categories:
  - id: weapons
    title: Weapons
    severity: 3
    prompts: [a handgun, a sword]
    counter_prompts: [a kitchen knife]
    review_at: 0.6
    block_at: {logit: 3}
    views:
      frame: {review_at: 0.7, block_at: 0.99}
  - id: hats
    severity: 1
    mode: observe
    method: cosine
    pooling: max
    prompts: [a hat]
    review_at: 0.2
on_unavailable: review
"""
REVIEW_AND_BLOCK = "    review_at: 0.6\n    block_at: {logit: 3}\n"


def test_a_whole_policy_is_read() -> None:
    source = parse_policy(GOOD, file="demo.yaml")
    weapons, hats = source.categories
    assert (source.coverage, source.on_unavailable) == (Coverage.SQUASH, OnUnavailable.REVIEW)
    assert (weapons.method, weapons.pooling, hats.pooling) == (
        Method.CONTRAST,
        Pooling.LOGMEANEXP,
        Pooling.MAX,
    )
    assert weapons.thresholds.block_at is not None
    assert weapons.thresholds.block_at.scale is Scale.LOGIT
    assert dict(weapons.per_view_kind)[ViewKind.FRAME].review_at is not None
    assert (hats.mode, hats.title) == (Mode.OBSERVE, "hats")
    assert source.prompt_texts() == (
        "a cat",
        "a plate of food",
        "a handgun",
        "a sword",
        "a kitchen knife",
        "a hat",
    )
    assert source.text == GOOD


def test_a_laxer_view_threshold_is_a_warning() -> None:
    assert "'weapons': the frame thresholds are laxer" in parse_policy(GOOD, file="f").warnings[0]


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "problem"),
    [
        ("name: demo", "nam: demo", 1, "nam", r"unknown key; did you mean 'name'\? \(known here: "),
        ("name: demo", "name: Demo!", 1, "name", "must be 1 to 64"),
        ("name: demo", "name: [demo]", 1, "name", "must be text, not a list"),
        ("neutral: [a cat, a plate of food]", "", None, "neutral", "is missing"),
        ("[a cat, a plate of food]", "[]", 4, "neutral", "must not be empty"),
        ("[a cat, a plate of food]", "[a cat, 7]", 4, "neutral[1]", "must be text, not a number"),
        ("[a cat, a plate of food]", "[a cat, a cat]", 4, "neutral[1]", "twice"),
        ('"{}"]', '"no place"]', 3, "templates", "exactly once"),
        ("coverage: squash", "coverage: tile", 5, "coverage", "must be one of tiles"),
        ("    severity: 3", "    severity: 9", 10, "categories[0].severity", "from 1 to 4"),
        ("    severity: 3", "    severity: yes", 10, "categories[0].severity", "from 1 to 4"),
        ("review_at: 0.6", "review_at: 1.5", 13, "categories[0].review_at", "between 0 and 1"),
        ("review_at: 0.6", "review_at: high", 13, "categories[0].review_at", "must be a number"),
        ("review_at: 0.6", "review_at: .nan", 13, "categories[0].review_at", "finite"),
        ("block_at: {logit: 3}", "block_at: 0.1", 14, "categories[0].block_at", "below review_at"),
        ("{logit: 3}", "{logits: 3}", 14, "categories[0].block_at.logits", "unknown key"),
        ("frame: {", "still: {", 16, "categories[0].views.still", "unknown key"),
        ("review_at: 0.2", "review_at: {logit: 1}", 23, "categories[1].review_at", "no logit"),
        ("id: hats", "id: weapons", 17, "categories[1].id", "stands twice"),
        ("    prompts: [a hat]", "", 17, "categories[1].prompts", "is missing"),
        ("method: cosine", "method: probe", 22, "categories[1].prompts", "no effect"),
        ("    pooling: max", "    probe: a.json", 21, "categories[1].probe", "no effect"),
        (REVIEW_AND_BLOCK, "", 8, "categories[0].review_at", "is missing"),
        ("name: demo", "name: demo\nname: demo", 2, "", "not valid YAML"),
        ("categories:", "categories: {", None, "", "not valid YAML"),
    ],
)
def test_mistakes_name_file_line_and_field(
    old: str, new: str, line: int | None, field: str, problem: str
) -> None:
    assert old in GOOD
    with pytest.raises(PolicyError, match=problem) as raised:
        parse_policy(GOOD.replace(old, new, 1), file="demo.yaml")
    assert (raised.value.file, raised.value.field) == ("demo.yaml", field)
    if line is not None:
        assert raised.value.line == line
        assert f"demo.yaml:{line}" in raised.value.message


PLATT = "calibration: {method: platt, slope: 0.5, intercept: -2, fitted_on: 00ff00ff00ff}"
ISOTONIC = "calibration: {method: isotonic, logits: [-2, 0.5], probabilities: [0.1, 0.9]}"


def with_calibration(line: str, *, cosine: bool = False) -> str:
    """GOOD with a calibration for weapons, or for hats, whose method is cosine."""
    after = "    review_at: 0.2\n" if cosine else "    review_at: 0.6\n"
    return GOOD.replace(after, f"{after}    {line}\n")


def test_calibrations_are_read() -> None:
    found = parse_policy(with_calibration(PLATT), file="f").categories[0].calibration
    assert found is not None
    assert found.calibration == Platt(slope=0.5, intercept=-2.0)
    assert found.fitted_on == "00ff00ff00ff"
    found = parse_policy(with_calibration(ISOTONIC), file="f").categories[0].calibration
    assert found is not None
    assert found.calibration == Isotonic(log_odds=(-2.0, 0.5), probabilities=(0.1, 0.9))
    assert found.fitted_on == ""
    cosines = ISOTONIC.replace("logits: [-2, 0.5]", "cosines: [-0.2, 0.5]")
    text = with_calibration(cosines, cosine=True)
    assert parse_policy(text, file="f").categories[1].calibration is not None
    assert parse_policy(GOOD, file="f").categories[0].calibration is None


@pytest.mark.parametrize(
    ("line", "field", "problem"),
    [
        ("calibration: 0.5", "", "must be a mapping"),
        ("calibration: {slope: 1}", "method", "is missing"),
        ("calibration: {method: beta}", "method", "must be one of platt, isotonic"),
        (PLATT.replace("0.5", "0"), "slope", "must be above 0"),
        (PLATT.replace("0.5", "-1"), "slope", "must be above 0"),
        (PLATT.replace("0.5", ".inf"), "slope", "finite"),
        (PLATT.replace("-2", "low"), "intercept", "must be a number"),
        (PLATT.replace("00ff00ff00ff", "123456789012"), "fitted_on", "must be text"),
        (PLATT.replace("00ff00ff00ff", "cafe"), "fitted_on", "must be 12 of"),
        (PLATT.replace("slope", "logits"), "logits", "unknown key"),
        (ISOTONIC.replace("logits", "cosines"), "cosines", "calibrated over logits"),
        (ISOTONIC.replace("[-2, 0.5]", "7"), "logits", "must be a list"),
        (ISOTONIC.replace("[-2, 0.5]", "[1]"), "logits", "2 to 1000 numbers"),
        (ISOTONIC.replace("[-2, 0.5]", "[-2, x]"), "logits[1]", "must be a number"),
        (ISOTONIC.replace("[-2, 0.5]", "[.nan, 1]"), "logits[0]", "finite"),
        (ISOTONIC.replace("[-2, 0.5]", "[0.5, 0.5]"), "logits", "must rise"),
        (ISOTONIC.replace("[-2, 0.5]", "[-2, 0, 1]"), "probabilities", "has 2 numbers for 3"),
        (ISOTONIC.replace("[0.1, 0.9]", "[0.9, 0.1]"), "probabilities", "must never fall"),
        (ISOTONIC.replace("[0.1, 0.9]", "[0.1, 1.1]"), "probabilities", "between 0 and 1"),
        (ISOTONIC.replace("[0.1, 0.9]", "[-0.1, 1]"), "probabilities", "between 0 and 1"),
    ],
)
def test_mistakes_in_a_calibration_name_line_and_field(line: str, field: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem) as raised:
        parse_policy(with_calibration(line), file="f")
    path = "categories[0].calibration"
    assert (raised.value.line, raised.value.field) == (14, f"{path}.{field}" if field else path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [(ISOTONIC, "over cosines"), (ISOTONIC.replace("logits", "cosines"), "between -1 and 1")],
)
def test_a_calibration_of_another_scale_is_refused(line: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        parse_policy(with_calibration(line, cosine=True), file="f")


@pytest.mark.parametrize("text", ["", "- a", "just text", "a: &x [*x, *x]\nb: *y", "\x00", "{{{"])
def test_whatever_is_not_a_mapping_is_a_policy_error(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_policy(text, file="f")


def test_a_huge_file_is_refused_unread() -> None:
    with pytest.raises(PolicyError, match="more than"):
        parse_policy("a" * (1 << 20) + "b", file="f")


def test_how_reviews_go_is_the_policys_to_say() -> None:
    plain = parse_policy(GOOD, file="demo.yaml")
    assert (plain.reviews_needed, plain.reuse_decisions) == (1, False)
    told = parse_policy(GOOD + "reviews_needed: 2\nreuse_decisions: true\n", file="demo.yaml")
    assert (told.reviews_needed, told.reuse_decisions) == (2, True)
    for wrong in ("reviews_needed: 0", "reuse_decisions: 1", 'reuse_decisions: "yes"'):
        with pytest.raises(PolicyError, match=wrong.partition(":")[0]):
            parse_policy(f"{GOOD}{wrong}\n", file="demo.yaml")


def test_audit_rates_are_read_with_their_bands() -> None:
    assert parse_policy(GOOD, file="demo.yaml").audit is None
    text = GOOD + "audit: {rate: 0.001, near: [{within: 1, rate: 0.5}, {within: 3, rate: 0.02}]}\n"
    assert parse_policy(text, file="demo.yaml").audit == AuditRates(
        rate=0.001, near=(NearBand(within=1.0, rate=0.5), NearBand(within=3.0, rate=0.02))
    )
    assert parse_policy(GOOD + "audit: {rate: 1}\n", file="demo.yaml").audit == AuditRates(rate=1)


@pytest.mark.parametrize(
    ("audit", "field"),
    [
        ("0.1", "audit"),
        ("{}", "audit.rate"),
        ("{rate: 0}", "audit.rate"),
        ("{rate: 1.01}", "audit.rate"),
        ("{rate: .nan}", "audit.rate"),
        ("{rate: 0.1, far: 0.1}", "audit.far"),
        ("{rate: 0.1, near: {within: 1, rate: 0.5}}", "audit.near"),
        ("{rate: 0.1, near: [{within: 0, rate: 0.5}]}", "audit.near[0].within"),
        ("{rate: 0.1, near: [{within: 1}]}", "audit.near[0].rate"),
        ("{rate: 0.1, near: [{within: 1, rate: 0.5, to: 2}]}", "audit.near[0].to"),
        (
            "{rate: 0.1, near: [{within: 2, rate: 0.5}, {within: 2, rate: 0.2}]}",
            "audit.near[1].within",
        ),
    ],
)
def test_impossible_audit_rates_are_refused_with_their_place(audit: str, field: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(f"{GOOD}audit: {audit}\n", file="demo.yaml")
    assert f"demo.yaml:{GOOD.count(chr(10)) + 1}: {field}:" in str(caught.value)


def test_a_share_of_items_is_reviewed_twice() -> None:
    assert parse_policy(GOOD, file="demo.yaml").second_review is None
    told = "second_review:\n  share: 0.1\n  per_category:\n    - {id: weapons, share: 0}\n"
    found = parse_policy(GOOD + told, file="demo.yaml").second_review
    assert found is not None
    assert (found.of("weapons"), found.of(""), found.of("other")) == (0.0, 0.1, 0.1)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ("{share: 1.1}", "share"),
        ("{share: -0.1}", "share"),
        ("{per_category: []}", "per_category"),
        ("{share: 0.1, rate: 0.1}", "rate"),
        ("{share: 0.1, per_category: [{id: unknown, share: 0.1}]}", "id"),
        ("{share: 0.1, per_category: [{id: weapons}]}", "share"),
        ("{share: 0.1, per_category: [{id: weapons, share: 0.1}, {id: weapons, share: 1}]}", "id"),
    ],
)
def test_an_impossible_share_of_second_reviews_is_refused(wrong: str, field: str) -> None:
    with pytest.raises(PolicyError, match=field):
        parse_policy(GOOD + f"second_review: {wrong}\n", file="demo.yaml")
