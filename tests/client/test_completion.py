"""Completion scripts: fresh, printed by the command, and right in real shells."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import imagesieve
from helpers import completions
from helpers.command_line import COMMAND, absolute_path
from imagesieve.command_completion import SHELLS, script

FOLDER = Path(imagesieve.__file__).parent / "completions"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_what_the_parser_says(shell: str, request: pytest.FixtureRequest) -> None:
    wanted = completions.make(shell)
    if request.config.getoption("--update-golden"):
        (FOLDER / f"imagesieve.{shell}").write_text(wanted, encoding="utf-8")
    assert script(shell) == wanted, "out of date: make golden"


def test_there_is_no_other_script() -> None:
    assert {path.suffix[1:] for path in FOLDER.iterdir()} == set(SHELLS)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_it_without_a_server(shell: str) -> None:
    done = subprocess.run(
        [*COMMAND, "completion", shell],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=absolute_path() | {"IMAGESIEVE_SERVER": "nowhere.invalid:1"},
    )
    assert done.stdout == script(shell)
    assert done.stderr == ""


def in_bash(folder: Path, *words: str) -> set[str]:
    """What bash offers for the last of these words."""
    asking = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _shtab_imagesieve; printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", asking, "bash", str(FOLDER / "imagesieve.bash"), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=folder,
    )
    return {line.rstrip("/ ") for line in done.stdout.splitlines() if line.strip()}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["mod"], {"moderate"}),
        (["review", "re"], {"release", "requeue", "reopen"}),
        (["policy", ""], {"list", "show", "reload"}),
        (["moderate", "--fail-on", ""], {"review", "block"}),
        (["moderate", "a.jpg", "--res"], {"--resume"}),
        (["moderate", "--resume", "ou"], {"out.jsonl"}),
        (["moderate", "pic"], {"pictures"}),
        (["review", "list", "--state", "p"], {"parked"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",  # a set has no order
)
def test_bash(tmp_path: Path, words: list[str], offered: set[str]) -> None:
    (tmp_path / "out.jsonl").touch()
    (tmp_path / "pictures").mkdir()
    assert in_bash(tmp_path, "imagesieve", *words) == offered


@pytest.mark.zsh_and_fish
def test_zsh_reads_its_script() -> None:
    reading = "autoload -Uz compinit && compinit -u -D && source $1 && whence -w _shtab_imagesieve"
    done = subprocess.run(
        ["zsh", "-f", "-c", reading, "zsh", str(FOLDER / "imagesieve.zsh")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "_shtab_imagesieve: function\n", done.stderr


@pytest.mark.zsh_and_fish
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("imagesieve rev", {"review"}),
        ("imagesieve review re", {"release", "requeue", "reopen"}),
        ("imagesieve moderate --fail-on ", {"review", "block"}),
        ("imagesieve completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_fish(tmp_path: Path, line: str, offered: set[str]) -> None:
    asking = 'source $argv[1]; complete -C "$argv[2]"'
    done = subprocess.run(
        ["fish", "--no-config", "-c", asking, str(FOLDER / "imagesieve.fish"), line],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert {found.partition("\t")[0] for found in done.stdout.splitlines()} == offered
