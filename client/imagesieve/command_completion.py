"""``imagesieve completion``: prints a shell's completion script.

The scripts are made from the command's own parser by shtab when the parser changes, and come
with the package: completing a word starts no Python and needs nothing installed.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, TextIO

SHELLS = ("bash", "zsh", "fish")

HOW_TO = """\
to have it in every new shell:
  bash   imagesieve completion bash > ~/.local/share/bash-completion/completions/imagesieve
  zsh    imagesieve completion zsh > DIR/_imagesieve, with DIR in $fpath before compinit
  fish   imagesieve completion fish > ~/.config/fish/completions/imagesieve.fish
to try it in this shell:  eval "$(imagesieve completion bash)"
"""


def add_options(completion: Any) -> None:
    """Declare them on the subcommand's parser."""
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")


def script(shell: str) -> str:
    """The script for that shell."""
    folder = resources.files("imagesieve") / "completions"
    return (folder / f"imagesieve.{shell}").read_text(encoding="utf-8")


def completion(shell: str, *, out: TextIO) -> None:
    """Run the command."""
    out.write(script(shell))
