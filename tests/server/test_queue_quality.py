"""``imagesieve-server queue quality`` over a real database."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from helpers.review_queue import Desk, ManualClock
from imagesieve_server.commands import main
from imagesieve_server.core.review import Outcome
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite

APPROVE, REJECT = Outcome.APPROVE, Outcome.REJECT


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A queue with forty pairs, one of which differs."""
    path = tmp_path / "queue.sqlite3"
    migrate_sqlite(path=path)
    clock = ManualClock()
    clock.seconds = time.time() - 3600.0
    desk = Desk(store=open_sqlite(path=path, clock=clock), clock=clock)
    for n in range(40):
        desk.keep(f"r{n}", reviews_needed=2, category="red")
        for reviewer in ("ann", "ben"):
            outcome = APPROVE if n % 3 == 0 and not (n == 0 and reviewer == "ben") else REJECT
            desk.decide(desk.lease(reviewer=reviewer), outcome, reviewer=reviewer)
            clock.advance(1.0)
    desk.store.close()
    file = tmp_path / "settings.toml"
    file.write_text(f'[queue]\ndatabase = "{path}"\n')
    return file


def test_the_table_says_how_well_people_agree(
    settings: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "quality.json"
    command = ["queue", "quality", "--config", str(settings), "--tenant", "t", "--json", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if line.startswith("red"))
    assert line.split()[1:4] == ["40", "97.5", "%"]
    assert "0.94 [" in line
    assert "ann" not in said, "reviewers are shown where they are asked for"
    found = json.loads(out.read_text())
    assert "reviewers" not in found
    assert found["total"]["pairs"]["only_second_rejects"] == 1
    assert found["categories"]["red"]["golden_accuracy"] is None
    assert found["total"]["agreement"]["value"] == pytest.approx(39 / 40)


def test_reviewers_and_days_where_they_are_asked_for(
    settings: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["queue", "quality", "--config", str(settings), "--tenant", "t", "--reviewers"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines() if line.startswith(("ann", "ben"))]
    assert main([*command, "--since", "2020-01-01", "--until", "2020-01-31"]) == 0
    nothing = capsys.readouterr().out
    assert "2020-01-01 to 2020-01-31" in nothing
    assert "ann" not in nothing
    assert main([*command, "--since", "2020-02-01", "--until", "2020-01-31"]) != 0
    assert "--since lies behind --until" in capsys.readouterr().err


def test_few_pairs_give_no_number(
    settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagesieve_server.core.quality_report.MIN_PAIRS", 41)
    assert main(["queue", "quality", "--config", str(settings), "--tenant", "t"]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("red"))
    assert "too few" in line
    assert "[" not in line.split("too few")[0]
