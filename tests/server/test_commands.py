"""The ``imagesieve-server`` command: what people read, and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesieve_server.commands import main
from imagesieve_server.commands.demo import Picture, as_expected, read_pictures
from imagesieve_server.demo_data import DEMO_IMAGES, DEMO_POLICY_SOURCE

Printed = pytest.CaptureFixture[str]


def test_a_policy_is_checked(tmp_path: Path, capsys: Printed) -> None:
    assert main(["policy", "check", str(DEMO_POLICY_SOURCE)]) == 0
    assert "no mistakes found" in capsys.readouterr().out
    bad = tmp_path / "bad.yaml"
    bad.write_text(DEMO_POLICY_SOURCE.read_text().replace("severity: 4", "severity: 5", 1))
    assert main(["policy", "check", str(bad)]) == 1
    told = capsys.readouterr().err
    assert "bad.yaml:" in told
    assert "categories[0].severity" in told


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_an_unreadable_policy_is_named(
    tmp_path: Path, capsys: Printed, content: bytes | None
) -> None:
    path = tmp_path / "p.yaml"
    if content is not None:
        path.write_bytes(content)
    assert main(["policy", "check", str(path)]) == 1
    assert "p.yaml" in capsys.readouterr().err


def test_an_artefact_is_compiled_and_shown(tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "demo.policy.npz"
    assert main(["policy", "compile", str(DEMO_POLICY_SOURCE), "--out", str(out)]) == 0
    assert " 0 reused" in capsys.readouterr().out
    assert main(["policy", "compile", str(DEMO_POLICY_SOURCE), "--out", str(out)]) == 0
    assert " 0 prompts encoded" in capsys.readouterr().out
    assert main(["policy", "show", str(out)]) == 0
    assert "weapons" in capsys.readouterr().out
    assert main(["policy", "show", "--source", str(out)]) == 0
    assert capsys.readouterr().out == DEMO_POLICY_SOURCE.read_text()


def test_the_queue_is_migrated_and_counted(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGESIEVE__QUEUE__DATABASE", str(tmp_path / "queue.sqlite3"))
    assert main(["queue", "migrate"]) == 0
    assert main(["queue", "stats"]) == 0
    assert "ready    0" in capsys.readouterr().out


def test_the_doctor_says_what_is_wrong(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.count("ok ") == 6
    monkeypatch.setenv("IMAGESIEVE__MODEL__BUNDLE", str(tmp_path))
    assert main(["doctor"]) == 1
    assert "FAIL  model" in capsys.readouterr().out
    monkeypatch.setenv("IMAGESIEVE__MODEL__BUNDEL", "x")
    assert main(["doctor"]) == 1
    assert "FAIL  settings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("IMAGESIEVE__SERVER__ADDRESS", "0.0.0.0:0", "reached from other machines"),
        ("IMAGESIEVE__MODEL__BUNDLE", "/nowhere", "bundle.json"),
        ("IMAGESIEVE__MODEL__PROVIDER", "cuda", "CUDA provider"),
        ("IMAGESIEVE__POLICIES__FOLDER", "/nowhere", "policy compile"),
        ("IMAGESIEVE__QUEUE__DATABASE", "/proc/none/queue.sqlite3", "/proc/none"),
    ],
)
def test_a_server_that_cannot_serve_says_why(
    tmp_path: Path,
    capsys: Printed,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGESIEVE__SERVER__ADDRESS", "127.0.0.1:0")
    monkeypatch.setenv("IMAGESIEVE__METRICS__ADDRESS", "127.0.0.1:0")
    monkeypatch.setenv(variable, value)
    assert main(["serve"]) == 1
    assert told in capsys.readouterr().err


def test_every_demo_picture_is_there_and_says_what_it_is() -> None:
    pictures = read_pictures(DEMO_IMAGES)
    assert all((DEMO_IMAGES / picture.file).is_file() for picture in pictures)
    assert {p.kind.partition(":")[0] for p in pictures} == {"ordinary", "flagged", "evasion"}


def test_a_surprise_is_a_surprise_in_both_directions() -> None:
    from imagesieve import Verdict

    ordinary = Picture(file="", kind="ordinary", category="")
    hidden = Picture(file="", kind="evasion:cmyk", category="weapons")
    assert as_expected(ordinary, Verdict.ALLOW)
    assert not as_expected(ordinary, Verdict.REVIEW)
    assert not as_expected(ordinary, Verdict.UNDECIDED)
    assert as_expected(hidden, Verdict.BLOCK)
    assert not as_expected(hidden, Verdict.ALLOW)
