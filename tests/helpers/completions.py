"""Makes the completion scripts that the client carries, with shtab, from the command's parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import shtab

from imagesieve.command_parser import build_parser

_FILES = ("FILE", "PATH")


def make(shell: str) -> str:
    """The script for that shell."""
    parser = build_parser()
    for one in _all(parser):
        for action in one._actions:
            if action.metavar in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own protocol
    text: str = shtab.complete(parser, shell)
    return text.rstrip("\n") + "\n"


def _all(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _all(child)
