"""The words of ``imagesieve review`` for how well people decide. Runs nothing."""

from __future__ import annotations

import argparse

from imagesieve.command_values import day

_USAGE = "imagesieve review {} [OPTION ...]".format
_FOR_LEADS = "For callers with the role lead or admin."

QUALITY: dict[str, dict[str, str]] = {
    "quality": {
        "help": "show how well people decide",
        "description": "Show how well people decide: agreement of second reviews, answers to "
        f"golden items, overturned decisions. {_FOR_LEADS}",
        "usage": _USAGE("quality"),
    },
    "goldens": {
        "help": "list golden items",
        "description": "List the items whose right answer is known and copies of which reviewers "
        f"get. {_FOR_LEADS}",
        "usage": _USAGE("goldens"),
    },
    "mark-golden": {
        "help": "make a decided item golden",
        "description": "Make a decided item golden: the decision in effect is the right answer, "
        f"and reviewers get copies of it. {_FOR_LEADS}",
        "usage": _USAGE("mark-golden ITEM"),
    },
    "unmark-golden": {
        "help": "give no more copies of a golden item",
        "description": "Give no more copies of a golden item; what was answered still counts. "
        f"{_FOR_LEADS}",
        "usage": _USAGE("unmark-golden ITEM"),
    },
}
"""The commands and their texts."""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of one of ``QUALITY``."""
    {"quality": _quality, "goldens": _goldens, "mark-golden": _mark, "unmark-golden": _unmark}[
        name
    ](parser)


def _quality(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--since", metavar="DATE", type=day,
        help="from this day on, UTC, as 2026-11-21 (default: 30 days before the end)",
    )  # fmt: skip
    add("--until", metavar="DATE", type=day, help="to the end of this day, UTC (default: now)")
    add(
        "--reviewers", action="store_true",
        help="also one line for each reviewer; not for everybody's eyes",
    )  # fmt: skip


def _goldens(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def _mark(parser: argparse.ArgumentParser) -> None:
    _item(parser)
    parser.add_argument("--note", metavar="TEXT", default="", help="for other leads")
    _by(parser)


def _unmark(parser: argparse.ArgumentParser) -> None:
    _item(parser)
    _by(parser)


def _item(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("item_id", metavar="ITEM", help="the item's id")


def _by(parser: argparse.ArgumentParser) -> None:
    text = "who asks (default: your user name on this machine)"
    parser.add_argument("--by", metavar="NAME", default="", help=text)
