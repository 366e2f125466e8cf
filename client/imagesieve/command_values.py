"""Small helpers for declaring command-line options: value checks and repeated options."""

from __future__ import annotations

import argparse
from datetime import date
from typing import Any

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def repeated(parser: Any, option: str, dest: str, metavar: str, help: str) -> None:
    """An option that may be given several times and collects a list."""
    parser.add_argument(option, metavar=metavar, dest=dest, action="append", default=[], help=help)


def positive_int(text: str) -> int:
    """A whole number above 0."""
    return int(_positive(text, int(text)))


def positive_float(text: str) -> float:
    """A finite number above 0."""
    return _positive(text, float(text))


def age_s(text: str) -> float:
    """A length of time such as 90s, 30m, 8h or 2d, in seconds."""
    unit = _UNITS.get(text[-1:].lower())
    if unit is None:
        raise argparse.ArgumentTypeError(f"{text} does not end in s, m, h or d")
    return _positive(text, float(text[:-1])) * unit


def day(text: str) -> date:
    """A day such as 2026-11-21."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-11-21") from None


def _positive(text: str, number: float) -> float:
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number
