"""``deploy/make-venv.sh`` makes an environment and destroys nothing that it did not make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deploy" / "make-venv.sh"


def make_venv(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(SCRIPT), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def as_environment(folder: Path, *, python: str) -> Path:
    """``folder`` looks like an environment; returns a file that somebody put there."""
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    (folder / "bin" / "python").chmod(0o755)
    own = folder / "installed"
    own.write_text("hours of downloads")
    return own


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    letter = tmp_path / "home" / "letter.txt"
    letter.parent.mkdir()
    letter.write_text("dear all")
    done = make_venv(letter.parent)
    assert done.returncode == 1
    assert "no virtual environment" in done.stderr
    assert letter.read_text() == "dear all"


def test_an_environment_that_works_is_kept(tmp_path: Path) -> None:
    own = as_environment(tmp_path / "venv", python=sys.executable)
    assert make_venv(tmp_path / "venv").returncode == 0
    assert own.exists()


def test_a_broken_environment_is_replaced(tmp_path: Path) -> None:
    own = as_environment(tmp_path / "venv", python="/nowhere/python")
    done = make_venv(tmp_path / "venv")
    assert done.returncode == 0, done.stderr
    assert not own.exists()
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "-V"], check=True, capture_output=True, timeout=60)
