"""``imagesieve-server calibrate`` on the demo's pictures: what people read, and the file."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from imagesieve_server.commands import main
from imagesieve_server.demo_data import DEMO_IMAGES, DEMO_POLICY, DEMO_POLICY_SOURCE
from imagesieve_server.policy_files.source import parse_policy

Printed = pytest.CaptureFixture[str]
IMAGES = ["--images", str(DEMO_IMAGES)]
LABELS = ["--labels", str(DEMO_IMAGES / "labels.csv")]
# 16 harmless pictures prove a rate of .2 (4 of .5); fewer than 10 of a category calibrate nothing.
GOAL = ["--max-fpr", "0.2", "--categories", "drugs,gambling", "--folds", "2"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return ["--cache", str(tmp_path_factory.mktemp("cache"))]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "demo.yaml"
    path.write_text(DEMO_POLICY_SOURCE.read_text())
    path.chmod(0o640)
    return path


def test_without_write_only_the_diff_is_shown(
    source: Path, cache: list[str], tmp_path: Path, capsys: Printed
) -> None:
    figures = tmp_path / "figures.json"
    asked = ["calibrate", "--policy", str(source), *LABELS, *IMAGES, *cache, *GOAL]
    page = tmp_path / "page.html"
    assert main([*asked, "--json", str(figures), "--html", str(page)]) == 0
    assert '<span class="better">+    review_at:' in page.read_text()
    shown = capsys.readouterr().out
    assert "a false-positive rate of at most 20\u202f% per category, with confidence 0.95" in shown
    assert "-    review_at: 0.40" in shown
    assert "not changed (--write changes it)" in shown
    assert "probability: none" in shown
    assert source.read_text() == DEMO_POLICY_SOURCE.read_text()
    assert [one["id"] for one in json.loads(figures.read_text())["categories"]] == [
        "drugs", "gambling",
    ]  # fmt: skip


def test_with_write_the_file_changes_and_nothing_else(
    source: Path, cache: list[str], capsys: Printed
) -> None:
    asked = ["calibrate", "--policy", str(source), *LABELS, *IMAGES, *cache, *GOAL, "--write"]
    assert main(asked) == 0
    assert f"written; now run: imagesieve-server policy compile {source}" in (
        capsys.readouterr().out
    )
    old = parse_policy(DEMO_POLICY_SOURCE.read_text(), file="old")
    new = parse_policy(source.read_text(), file="new")
    changed = [
        a.id for a, b in zip(old.categories, new.categories, strict=True) if a != b
    ]  # fmt: skip
    assert changed == ["drugs", "gambling"]
    assert "block_at: {logit: 2.5}   # or as log-odds" in source.read_text()
    assert stat.S_IMODE(source.stat().st_mode) == 0o640
    assert [path.name for path in source.parent.iterdir()] == ["demo.yaml"]
    assert main(asked) == 0
    assert "nothing to change" in capsys.readouterr().out


def test_too_few_labels_are_a_refusal_with_the_number_needed(
    source: Path, cache: list[str], capsys: Printed
) -> None:
    asked = ["calibrate", "--policy", str(source), *LABELS, *IMAGES, *cache, "--max-fpr", "0.01"]
    assert main([*asked, "--write"]) == 1
    told = capsys.readouterr().err
    assert "category 'weapons': " in told
    assert "at least 299 are needed" in told
    assert "category 'insults'" in told
    assert source.read_text() == DEMO_POLICY_SOURCE.read_text()


def test_a_goal_beyond_block_at_is_refused_by_name(
    source: Path, cache: list[str], capsys: Printed
) -> None:
    low = source.read_text().replace("block_at: 0.90 ", "block_at: 0.0002 ")
    source.write_text(
        low.replace("review_at: 0.50\n    block_at", "review_at: 0.0001\n    block_at")
    )
    asked = ["calibrate", "--policy", str(source), *LABELS, *IMAGES, *cache, "--max-fpr", "0.2"]
    assert main([*asked, "--categories", "insults", "--folds", "2"]) == 1
    assert "category 'insults': the goal asks for a review_at of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("goal", "problem"),
    [
        (["--max-review-per-day", "10"], "go together"),
        (["--max-fpr", "0.1", "--uploads-per-day", "10"], "go together"),
        (["--max-review-per-day", "10", "--uploads-per-day", "9"], "must be below"),
        (["--min-recall", "0.9", "--per-view-kind"], "goes with --max-fpr only"),
        (["--max-fpr", "0.1", "--categories", "hats"], "no category 'hats'"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    goal: list[str], problem: str, source: Path, capsys: Printed
) -> None:
    assert main(["calibrate", "--policy", str(source), *LABELS, *IMAGES, *goal]) == 1
    assert problem in capsys.readouterr().err


def test_a_share_written_as_a_percentage_is_told_how_to_write_it(capsys: Printed) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", "--policy", "p.yaml", *LABELS, *IMAGES, "--max-fpr", "1%"])
    assert "'1%' is no number between 0 and 1; 1 % is written 0.01" in capsys.readouterr().err


@pytest.mark.parametrize(
    "goal",
    [
        [],
        ["--max-fpr", "0"],
        ["--max-fpr", "1"],
        ["--max-fpr", "nan"],
        ["--min-recall", "high"],
        ["--max-fpr", "0.1", "--min-recall", "0.9"],
        ["--max-fpr", "0.1", "--confidence", "0.3"],
        ["--max-fpr", "0.1", "--folds", "1"],
        ["--max-review-per-day", "inf", "--uploads-per-day", "1"],
    ],
)
def test_impossible_numbers_are_wrong_usage(goal: list[str], capsys: Printed) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", "--policy", "p.yaml", *LABELS, *IMAGES, *goal])
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_budget_on_the_demos_pictures(source: Path, cache: list[str], capsys: Printed) -> None:
    asked = ["calibrate", "--policy", str(source), *LABELS, *IMAGES, *cache, "--folds", "2"]
    goal = ["--max-review-per-day", "900", "--uploads-per-day", "1000", "--categories", "drugs"]
    assert main([*asked, *goal]) == 0
    assert "at most 900 reviews a day of 1000 uploads (90\u202f%)" in capsys.readouterr().out


def test_a_compiled_policy_is_not_what_is_edited(capsys: Printed) -> None:
    asked = ["calibrate", "--policy", str(DEMO_POLICY), *LABELS, *IMAGES, "--max-fpr", "0.1"]
    assert main(asked) == 1
    assert "name the YAML that it was made of" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_named(
    source: Path, cache: list[str], tmp_path: Path, capsys: Printed
) -> None:
    asked = ["calibrate", "--policy", str(source), *LABELS, *IMAGES, *cache, *GOAL]
    assert main([*asked, "--html", str(tmp_path / "no" / "page.html")]) == 1
    assert "--html: there is no folder" in capsys.readouterr().err


def test_a_policy_that_cannot_be_read_is_named(tmp_path: Path, capsys: Printed) -> None:
    for content in (None, b"\xff"):
        path = tmp_path / "p.yaml"
        if content is not None:
            path.write_bytes(content)
        asked = ["calibrate", "--policy", str(path), *LABELS, *IMAGES, "--max-fpr", "0.1"]
        assert main(asked) == 1
        assert "p.yaml" in capsys.readouterr().err
