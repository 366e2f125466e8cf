"""Small helpers for declaring command-line options: value checks and repeated options."""

from __future__ import annotations

import argparse
from typing import Any


def repeated(parser: Any, option: str, dest: str, metavar: str, help: str) -> None:
    """An option that may be given several times and collects a list."""
    parser.add_argument(option, metavar=metavar, dest=dest, action="append", default=[], help=help)


def positive_int(text: str) -> int:
    """A whole number above 0."""
    return int(_positive(text, int(text)))


def positive_float(text: str) -> float:
    """A finite number above 0."""
    return _positive(text, float(text))


def _positive(text: str, number: float) -> float:
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number
