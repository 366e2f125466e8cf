"""``deploy/make-venv.sh`` makes an environment, ``deploy/remove-venv.sh`` and ``make clean`` remove
it, and none of them destroys what it did not make."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*words: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def make_venv(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "deploy" / "make-venv.sh"
    return run("sh", script, folder, folder=folder.parent, **environment)


def clean(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``make clean`` of a checkout in ``folder``."""
    for name in ("Makefile", "deploy"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return run("make", "clean", folder=folder, **environment)


def program(path: Path, lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


def as_environment(folder: Path, *, python: str) -> Path:
    """``folder`` looks like an environment; returns a file that somebody put there."""
    program(folder / "bin" / "python", f'exec {shlex.quote(python)} "$@"')
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\n")
    own = folder / "installed"
    own.write_text("hours of downloads")
    return own


def has_pip(folder: Path) -> bool:
    python = folder / "bin" / "python"
    return run(python, "-m", "pip", "-V", folder=folder).returncode == 0


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    letter = tmp_path / ".venv" / "letter.txt"
    letter.parent.mkdir()
    letter.write_text("dear all")
    for done in (make_venv(letter.parent), clean(tmp_path)):
        assert done.returncode != 0
        assert "no virtual environment" in done.stderr
        assert letter.read_text() == "dear all"


def test_an_environment_that_works_is_kept_until_it_is_cleaned_away(tmp_path: Path) -> None:
    own = as_environment(tmp_path / ".venv", python=sys.executable)
    assert make_venv(tmp_path / ".venv").returncode == 0
    assert own.exists()
    done = clean(tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_broken_environment_is_replaced(tmp_path: Path) -> None:
    own = as_environment(tmp_path / "venv", python="/nowhere/python")
    done = make_venv(tmp_path / "venv")
    assert done.returncode == 0, done.stderr
    assert not own.exists()
    assert has_pip(tmp_path / "venv")


@pytest.mark.parametrize("by", ["make clean", "a replacement"])
def test_an_environment_whose_removal_was_interrupted_is_still_known(
    tmp_path: Path, by: str
) -> None:
    """``rm`` may have come to any file of a folder first."""
    programs = program(
        tmp_path / "programs" / "rm",
        'for word do\n[ ! -d "$word" ] || { /bin/rm -f "$word/pyvenv.cfg"; kill -9 $PPID; }\ndone',
    ).parent
    interrupted = f"{programs}:{os.environ['PATH']}"
    as_environment(tmp_path / ".venv", python="/nowhere/python")
    if by == "make clean":
        assert clean(tmp_path, PATH=interrupted).returncode != 0
    else:
        assert make_venv(tmp_path / ".venv", PATH=interrupted).returncode != 0
    done = make_venv(tmp_path / ".venv")
    assert done.returncode == 0, done.stderr
    assert has_pip(tmp_path / ".venv")


def test_a_link_goes_and_the_environment_behind_it_stays(tmp_path: Path) -> None:
    own = as_environment(tmp_path / "elsewhere", python=sys.executable)
    (tmp_path / ".venv").symlink_to(own.parent)
    (tmp_path / ".venv-gpu").symlink_to(tmp_path / "nowhere")
    done = clean(tmp_path)
    assert done.returncode == 0, done.stderr
    assert own.exists()
    assert (own.parent / "pyvenv.cfg").read_text()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".venv")]


@pytest.mark.parametrize("maker", ["virtualenv", "uv"])
def test_a_python_without_ensurepip_may_lie_below_a_folder_with_a_space(
    tmp_path: Path, maker: str
) -> None:
    """Then virtualenv and uv are asked; here they are asked for by name only."""
    real = shlex.quote(sys.executable)
    makes = f'exec {real} -m venv "$4"' if maker == "virtualenv" else "exit 1"
    python = program(
        tmp_path / "my programs" / "python",
        f'case "$2" in venv|pip) exit 1;; virtualenv) {makes};; *) exec {real} "$@";; esac',
    )
    programs = program(
        tmp_path / "programs" / "uv",
        f'[ {maker} = uv ] && [ "$5" = {shlex.quote(str(python))} ] && exec {real} -m venv "$6"',
    ).parent
    path = f"{programs}:{os.environ['PATH']}"
    done = make_venv(tmp_path / "venv", PYTHON=str(python), PATH=path)
    assert done.returncode == 0, done.stderr
    assert has_pip(tmp_path / "venv")
