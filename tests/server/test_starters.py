"""The starter policies keep what their heads promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imagesieve_server.commands import main
from imagesieve_server.core.policy import Method, Mode, OnUnavailable, OnUndecodable
from imagesieve_server.offline.compile_policy import read_source
from imagesieve_server.policy_files.source import PolicySource
from imagesieve_server.starter_policies import STARTERS

Printed = pytest.CaptureFixture[str]

WANTED = {"sexual", "violence", "hate_symbols", "self_harm", "drugs", "weapons", "spam"}
CONTEXT = {"starter_clip": 77, "starter_siglip": 64}
"""Tokens that the text encoders of CLIP and SigLIP take, the special ones included."""

_MINORS = re.compile(
    r"\b(child\w*|kids?|minors?|teen\w*|bab(y|ies)|infants?|toddlers?|boys?|girls?|school\w*|"
    r"pupils?|young|youth\w*|underage|adolescent\w*|lolita|juvenile\w*)\b",
    re.IGNORECASE,
)


@pytest.fixture(params=STARTERS, ids=lambda path: path.stem)
def starter(request: pytest.FixtureRequest) -> PolicySource:
    return read_source(request.param)


def head(source: PolicySource) -> str:
    return source.text.partition("name:")[0]


def test_there_is_one_for_each_family() -> None:
    methods = [{c.method for c in read_source(path).categories} for path in STARTERS]
    assert methods == [{Method.CONTRAST}, {Method.SIGMOID}]
    assert [path.stem for path in STARTERS] == [read_source(path).name for path in STARTERS]


def test_the_seven_categories_are_there_without_a_warning(starter: PolicySource) -> None:
    assert {category.id for category in starter.categories} == WANTED
    assert starter.warnings == ()


def test_nothing_is_blocked_and_nothing_acts_until_somebody_says_so(starter: PolicySource) -> None:
    for category in starter.categories:
        assert category.mode is Mode.OBSERVE
        assert category.thresholds.review_at is not None  # it is counted what would be flagged
        assert category.thresholds.block_at is None
        assert category.per_view_kind == ()
        assert category.calibration is None
    assert starter.on_unavailable is OnUnavailable.HOLD
    assert starter.on_undecodable is OnUndecodable.REVIEW


def test_it_says_that_it_is_not_calibrated(starter: PolicySource) -> None:
    assert starter.text.startswith("# UNCALIBRATED.")
    assert starter.description.startswith("Uncalibrated")
    assert "must not be used for it" in head(starter)


def test_each_category_is_an_ensemble(starter: PolicySource) -> None:
    assert len(starter.templates) >= 4
    assert len(starter.neutral) >= 15
    for category in starter.categories:
        assert len(category.prompts) >= 8


def test_the_clip_starter_has_look_alikes_for_every_category() -> None:
    for category in read_source(STARTERS[0]).categories:
        assert len(category.counter_prompts) >= 12, category.id


@pytest.mark.parametrize(
    ("category", "words"),
    [
        ("sexual", ("medical", "breast-feeding", "painting", "statue", "swimwear")),
        ("violence", ("surgeon", "boxing", "make-up", "paint", "memorial", "video game")),
        ("hate_symbols", ("Hindu", "Buddhist", "Jain", "museum", "memorial", "protest")),
        ("self_harm", ("surgical", "healed", "helpline", "razor")),
        ("drugs", ("medicine", "vaccination", "naloxone", "needle exchange", "flour")),
        ("weapons", ("kitchen", "toy", "museum", "video game", "drill")),
        ("spam", ("receipt", "menu", "warning about fraud")),
    ],
)
def test_known_false_alarms_are_look_alikes(category: str, words: tuple[str, ...]) -> None:
    (found,) = (c for c in read_source(STARTERS[0]).categories if c.id == category)
    told = " ".join(found.counter_prompts)
    assert [word for word in words if word not in told] == []


def test_every_category_says_why_it_is_worded_so(starter: PolicySource) -> None:
    """A comment stands before each."""
    lines = starter.text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("  - id:"):
            assert lines[number - 1].lstrip().startswith("#"), line


def test_the_sigmoid_thresholds_are_log_odds_and_the_urgent_one_is_lowest() -> None:
    found = {c.id: c.thresholds.review_at for c in read_source(STARTERS[1]).categories}
    values = {name: limit.value for name, limit in found.items() if limit}
    assert min(values, key=lambda name: values[name]) == "self_harm"
    assert all(-5 <= value <= -2 for value in values.values())


def test_minors_are_in_no_prompt(starter: PolicySource) -> None:
    """Known material needs matching, and the law's own way; a prompt must not stand in for it."""
    texts = (*starter.prompt_texts(), *starter.templates, starter.description)
    assert [text for text in texts if _MINORS.search(text)] == []


def test_no_prompt_is_cut_off(starter: PolicySource) -> None:
    """Each character costs at most one token, so short enough texts fit whatever the tokenizer.

    CLIP adds a start and an end token; SigLIP an end token, and a space before the first word.
    """
    room = CONTEXT[starter.name] - 2
    texts = [t.replace("{}", p) for t in starter.templates for p in starter.prompt_texts()]
    assert [text for text in texts if len(text) > room] == []
    assert all(text.isascii() for text in texts)


def test_sigmoid_prompts_have_no_punctuation_to_lose() -> None:
    starter = read_source(STARTERS[1])
    texts = (*starter.prompt_texts(), *(t.replace("{}", "") for t in starter.templates))
    assert [text for text in texts if not re.fullmatch(r"[A-Za-z ]*", text)] == []


# --- the command -----------------------------------------------------------------------------


def test_they_are_listed_and_nothing_is_written(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["policy", "starters"]) == 0
    told = capsys.readouterr().out
    assert "starter_clip: for CLIP (softmax)" in told
    assert "starter_siglip: for SigLIP (sigmoid)" in told
    assert list(tmp_path.iterdir()) == []


def test_they_are_written_once_and_never_over_another_file(tmp_path: Path, capsys: Printed) -> None:
    folder = tmp_path / "policies" / "new"
    assert main(["policy", "starters", "--write", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {path.name for path in STARTERS}
    for path in STARTERS:
        assert (folder / path.name).read_bytes() == path.read_bytes()
    (folder / STARTERS[0].name).unlink()
    (folder / STARTERS[1].name).write_text("mine")
    assert main(["policy", "starters", "--write", str(folder)]) == 1
    assert "is there already; nothing was written" in capsys.readouterr().err
    assert [path.read_text() for path in folder.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "file").write_text("")
    assert main(["policy", "starters", "--write", str(tmp_path / "file" / "x")]) == 1
    assert "file/x" in capsys.readouterr().err


def test_a_policy_in_which_nothing_acts_is_noted(capsys: Printed) -> None:
    assert main(["policy", "check", str(STARTERS[0])]) == 0
    assert "nothing is flagged for its content" in capsys.readouterr().out
