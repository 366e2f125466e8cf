"""``imagesieve-server evaluate``: what a policy person reads, also where something is wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from helpers.tiny_bundle import write_tiny_bundle
from imagesieve_server.commands import main
from imagesieve_server.commands.progress import Progress
from imagesieve_server.demo_data import DEMO_IMAGES, DEMO_POLICY_SOURCE

Printed = pytest.CaptureFixture[str]
LABELS = DEMO_IMAGES / "labels.csv"


def run(*arguments: str, cache: Path | None = None) -> int:
    kept = ["--cache", str(cache)] if cache else ["--no-cache"]
    given = ["--labels", str(LABELS), "--images", str(DEMO_IMAGES), *kept, "--bootstrap", "100"]
    return main(["evaluate", *given, *arguments])


def test_the_demo_pictures_are_evaluated(tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "e.json"
    assert run("--json", str(out), cache=tmp_path / "c") == 0
    told = capsys.readouterr().out
    assert "40 pictures seen in 67 views" in told
    assert "Of 100 pictures that show something this policy enforces, it flags about 100" in told
    assert "needed: label 4 more that show it" in told
    data = json.loads(out.read_text())
    assert data["verdicts"]["flagged_clean"]["value"] == 0.0
    assert {c["positives"] for c in data["categories"]} == {2, 3, 4, 6}
    # The same from the policy's YAML and from the cache.
    assert run("--policy", str(DEMO_POLICY_SOURCE), "--compare", cache=tmp_path / "c") == 0
    again = capsys.readouterr().out
    assert again.startswith(told.partition("\n\nTold apart")[0][:40])
    assert "Is tiles worth its views against centre?" in again


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_mistakes_are_named_for_a_policy_person(tmp_path: Path, capsys: Printed) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    wrong = write(tmp_path / "wrong.csv", "file,category\nphoto_cat.jpg,cats\n")
    absent = write(tmp_path / "absent.csv", "file,category\nno_such.jpg,\n")
    cases = {
        "wrong.csv:2: column 'category': 'cats' is no category": ["--labels", wrong],
        "absent.csv:2: column 'file': there is no picture 'no_such.jpg'": ["--labels", absent],
        "was compiled for another model": ["--model", str(tmp_path / "tiny")],
        "has no column 'hour' beside its labels": ["--slices", "expected,hour"],
        "--json: there is no folder": ["--json", str(tmp_path / "no" / "e.json")],
        "--html: a page is written of": ["--from-decisions", "--html", str(tmp_path / "e.html")],
        "is no folder; --images": ["--images", str(tmp_path / "nowhere")],
        "x.policy.npz: cannot be read": ["--policy", str(tmp_path / "x.policy.npz")],
        "no readable bundle.json": ["--model", str(tmp_path)],
    }
    for message, arguments in cases.items():
        assert run(*arguments) == 1, message
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("--bootstrap", "7")
    assert "must lie between 100" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_rewrites_its_line_on_a_terminal_and_cleans_up() -> None:
    now = [0.0]
    err = Terminal()
    progress = Progress(err, what="looking", clock=lambda: now[0])
    for done in (0, 10, 100):
        progress(done, 100)
        now[0] += 1.0
    progress.end()
    first, second, last, gone, end = err.getvalue().split("\r")[1:]
    assert first.startswith("looking ░░░")
    assert "10/100  10/s, 9 s left" in second
    assert "100/100" in last
    assert gone.strip() == end == ""
    progress.end()


def test_progress_in_a_log_says_little() -> None:
    now = [0.0]
    err = io.StringIO()
    progress = Progress(err, what="looking", clock=lambda: now[0])
    for done in range(100):
        progress(done, 100)
        progress.say("something")
        now[0] += 1.0
    progress.end()
    lines = err.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("30/100  1/s, 1 min 10 s left")
