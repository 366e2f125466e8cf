"""``imagesieve review`` on how well people decide, against the fake server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from imagesieve import (
    Client,
    Estimate,
    Item,
    ItemState,
    Outcome,
    PermissionDenied,
    Quality,
    QualityFigures,
    Verdict,
)
from imagesieve.command import main
from imagesieve.testing import FakeServer

Run = Callable[..., tuple[int, str, str]]  # exit code, standard output and error


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as made:
        made.queue.add(
            Item(
                item_id="i1",
                sha256="a" * 64,
                state=ItemState.READY,
                verdict=Verdict.REVIEW,
                category="weapons",
            )
        )
        yield made


@pytest.fixture
def run(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["review", *words, "--server", server.target])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.1, high=value + 0.1)


SAID = Quality(
    total=QualityFigures(
        pairs=40, agreement=estimate(0.85), kappa=estimate(0.5), golden=21,
        golden_accuracy=estimate(0.9), decisions=300, overturn_rate=estimate(0.1),
    ),
    categories=(
        QualityFigures(name="", pairs=35, agreement=estimate(0.9)),
        QualityFigures(name="weapons", pairs=5, golden=1, decisions=3),
    ),
    reviewers=(QualityFigures(name="ann\x1b[2J", decisions=3),),
)  # fmt: skip


def test_figures_are_a_line_each(run: Run, server: FakeServer) -> None:
    server.set_quality(SAID)
    code, out, _ = run("quality", "--since", "2026-10-01", "--until", "2026-10-31")
    lines = [line.split("  ") for line in out.splitlines()]
    found = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert code == 0
    assert found[:4] == [
        ["OF", "NAME", "PAIRS", "AGREE", "KAPPA", "GOLDEN", "RIGHT", "DECISIONS", "OVERTURNED"],
        ["all", "40", "85.0 % [75.0, 95.0]", "0.50 [0.40, 0.60]", "21", "90.0 % [80.0, 100.0]",
         "300", "10.0 % [0.0, 20.0]"],
        ["category", "(none)", "35", "90.0 % [80.0, 100.0]", "all alike", "0", "-", "0", "-"],
        ["category", "weapons", "5", "too few", "too few", "1", "too few", "3", "too few"],
    ]  # fmt: skip
    assert found[-1][0].startswith(
        "What people said from 2026-10-01 00:00:00Z to 2026-11-01 00:00:00Z."
    )


def test_people_are_named_where_they_are_asked_for(run: Run, server: FakeServer) -> None:
    server.set_quality(SAID)
    assert "ann" not in run("quality")[1]
    assert json.loads(run("quality", "--format", "jsonl")[1])["reviewers"] == []
    assert "reviewer  ann?[2J" in run("quality", "--reviewers")[1]
    _, out, _ = run("quality", "--reviewers", "--format", "jsonl")
    (line,) = out.splitlines()
    assert json.loads(line)["reviewers"][0]["decisions"] == 3
    assert json.loads(line)["total"]["kappa"] == {"value": 0.5, "low": 0.4, "high": 0.6}


def test_a_span_that_was_cut_says_so(run: Run, server: FakeServer) -> None:
    server.set_quality(Quality(partial=True))
    assert "these are the first words of the span" in run("quality")[1]


@pytest.mark.parametrize("words", [("--since", "yesterday"), ("--until", "2026-13-01")])
def test_a_day_is_written_as_a_day(run: Run, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        run("quality", *words)
    assert left.value.code == 2


def test_an_item_is_marked_listed_and_unmarked(run: Run, server: FakeServer) -> None:
    code, _, err = run("mark-golden", "i1")
    assert code == 4
    assert "STATE_CONFLICT: only an item that people decided can be golden" in err
    with Client(server.target) as client:
        lease = client.review.claim(reviewer="ann")
        assert lease is not None
        client.review.decide("i1", lease.token, Outcome.REJECT, labels=["knife", "toy"])

    _, out, _ = run("mark-golden", "i1", "--note", "clear", "--by", "lea", "--format", "jsonl")
    assert json.loads(out)["outcome"] == "REJECT"
    _, out, _ = run("goldens")
    heading, line = out.splitlines()
    assert heading.split() == (
        ["ITEM", "CATEGORY", "OUTCOME", "LABELS", "GIVEN", "BY", "MARKED", "NOTE"]
    )
    day = datetime.now(UTC).strftime("%Y-")
    assert line.split()[:7] == ["i1", "weapons", "REJECT", "knife,", "toy", "0", "lea"]
    assert line.split()[7].startswith(day)
    assert line.endswith("clear")

    assert run("unmark-golden", "i1") == (0, "", "")
    assert run("goldens", "--format", "jsonl") == (0, "", "")


def test_whoever_may_not_ask_reads_which_role_may(run: Run, server: FakeServer) -> None:
    refusal = PermissionDenied("ListGoldens needs the role admin or lead")
    server.fail_next(refusal, method="ListGoldens")
    code, _, err = run("goldens")
    assert code == 4
    assert "PERMISSION_DENIED: ListGoldens needs the role admin or lead" in err
