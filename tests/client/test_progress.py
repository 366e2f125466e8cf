"""What a person at a terminal sees: the line that moves, and tables that keep their columns."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from helpers.command_line import COMMAND, absolute_path
from imagesieve import Moderated, ModerationResult, Overloaded, Upload, Verdict
from imagesieve.command_output import Columns, shortened, width_of
from imagesieve.command_progress import Progress, Tally
from imagesieve.command_verdicts import as_table, fitting
from imagesieve.testing import FakeServer, flag


def outcome(result: ModerationResult | None = None, error: Exception | None = None) -> Moderated:
    return Moderated(index=0, upload=Upload(image=b""), result=result, error=error)  # type: ignore[arg-type]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_line() -> None:
    clock, tally = Clock(), Tally()
    progress = Progress(io.StringIO(), total=2000, shown=True, clock=clock)
    assert progress.line(tally) == "0/2000  0%  0/s  left ?  "
    for _ in range(500):
        tally.add(outcome(ModerationResult(request_id="r", verdict=Verdict.ALLOW)))
    tally.add(outcome(flag("weapons")))
    tally.add(outcome(error=Overloaded("busy")))
    tally.add(outcome(error=FileNotFoundError()))
    clock.now = 2.0
    assert progress.line(tally) == (
        "503/2000  25%  252/s  left 0:06  "
        "ALLOW 500  REVIEW 1  ERROR 2  (OVERLOADED 1, FILE_UNREADABLE 1)"
    )
    clock.now = 20_000.0
    assert "left 16:32:03" in progress.line(tally)


def test_the_line_moves_ten_times_a_second_at_most() -> None:
    clock, err = Clock(), io.StringIO()
    progress = Progress(err, total=10, shown=True, clock=clock)
    for step in range(101):
        clock.now = step / 100
        progress.update(Tally())
    assert 9 <= err.getvalue().count("\r") <= 11


def test_nothing_is_written_where_nobody_looks() -> None:
    err = io.StringIO()
    progress = Progress(err, total=10, shown=False)
    progress.update(Tally())
    progress.clear()
    assert err.getvalue() == ""


def on_a_terminal(server: FakeServer, folder: Path, *words: str, columns: int) -> tuple[str, int]:
    """What a terminal of that width gets on both streams, and the exit code."""
    leader, follower = pty.openpty()
    environment = {**absolute_path(), "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [*COMMAND, "moderate", *words, "--server", server.target],
        stdout=follower,
        stderr=follower,
        cwd=folder,
        env=environment,
    )
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # how Linux says that the other end has closed
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    return b"".join(parts).decode(), process.wait(timeout=30)


@pytest.fixture
def named(tmp_path: Path) -> Path:
    (tmp_path / "day 1").mkdir()
    for number in range(3):
        name = f"upload-{number}-with-a-name-as-long-as-telephones-like-to-give-them.jpg"
        (tmp_path / "day 1" / name).write_text("x")
    return tmp_path


@pytest.mark.parametrize("columns", [80, 100, 132])
def test_a_table_fits_a_terminal(server: FakeServer, named: Path, columns: int) -> None:
    said, code = on_a_terminal(server, named, ".", columns=columns)
    assert code == 0
    table = said.replace("\r\n", "\n").splitlines()
    assert len(table) == 4
    assert all(len(line) <= columns for line in table)
    starts = {line.index("VERDICT") for line in table[:1]}
    assert {line.index("ALLOW") for line in table[1:]} == starts
    assert all("…" in line and ".jpg" in line for line in table[1:])


def test_a_progress_line_on_a_terminal(server: FakeServer, named: Path) -> None:
    said, code = on_a_terminal(server, named, ".", "--output", "out.jsonl", columns=80)
    assert code == 0
    assert "\r1/3  33%" in said
    assert said.count("\n") == 1  # only the summary stays
    assert re.search(r"imagesieve: 3 of 3 images .*  ALLOW 3\r\n$", said)


def test_a_pipe_gets_names_in_full_and_columns_that_hold(server: FakeServer, named: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "moderate", ".", "--server", server.target],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=named,
        env=absolute_path(),
    )
    heading, *table = done.stdout.splitlines()
    assert all(line.startswith("./day 1/upload-") and "…" not in line for line in table)
    assert {line.index("ALLOW") for line in table} == {heading.index("VERDICT")}
    assert done.stderr == ""


def test_columns_are_left_out_where_room_is_scarce() -> None:
    assert list(fitting(longest=60, width=None)) == [
        *("FILE", "VERDICT", "CATEGORY", "SCORE", "THRESHOLD", "MARGIN", "VIEW", "MS", "NOTE"),
    ]
    assert "VIEW" not in fitting(longest=60, width=100)
    narrow = fitting(longest=60, width=80)
    assert list(narrow) == ["FILE", "VERDICT", "CATEGORY", "SCORE", "NOTE"]
    assert fitting(longest=10, width=200)["FILE"] == 10


def test_shortening_keeps_both_ends() -> None:
    assert shortened("short.jpg", 9) == "short.jpg"
    assert shortened("a/very/long/path/to/picture.jpg", 16) == "a/ver…icture.jpg"
    assert width_of(shortened("写真" * 20, 16)) <= 16
    assert shortened("写真.jpg", 20) == "写真.jpg"


def test_wide_characters_keep_the_columns() -> None:
    out = io.StringIO()
    columns = Columns(out, {"FILE": 8, "VERDICT": 7}, shorten=True)
    columns.row("写真.jpg", "ALLOW")
    columns.row("a.jpg", "ALLOW")
    assert out.getvalue().splitlines() == [
        "FILE      VERDICT",
        "写真.jpg  ALLOW",
        "a.jpg     ALLOW",
    ]


def test_a_table_shows_an_error_in_full() -> None:
    out = io.StringIO()
    as_table(out, ["a.jpg"], width=80)("a.jpg", outcome(error=FileNotFoundError(2, "No such file")))
    assert out.getvalue().splitlines()[1].endswith("FILE_UNREADABLE: No such file")
