"""The words of ``imagesieve review`` for groups of look-alikes. Runs nothing."""

from __future__ import annotations

import argparse

from imagesieve.command_values import positive_int, repeated

_USAGE = "imagesieve review {} [OPTION ...]".format
_MAX_GROUPS = 100

GROUPS: dict[str, dict[str, str]] = {
    "groups": {
        "help": "list groups of look-alikes",
        "description": "List groups of look-alikes of which two or more items wait, the largest "
        "first.",
        "usage": _USAGE("groups"),
    },
    "group": {
        "help": "show one group of look-alikes",
        "description": "Show one group as it is now: how many items a decision would close, which "
        "stay open, the snapshot to close it by, and earlier closes.",
        "usage": _USAGE("group GROUP"),
    },
    "close-group": {
        "help": "decide a group of look-alikes at once",
        "description": "Decide on the open items of a group as review group has shown it, and on "
        "no others: what arrived later stays open.",
        "usage": _USAGE("close-group GROUP OUTCOME --snapshot TEXT --count N"),
    },
    "undo-close": {
        "help": "take the decision on a group back",
        "description": "Reopen what a close has closed and nobody has decided since.",
        "usage": _USAGE("undo-close CLOSE"),
    },
}
"""The commands and their texts."""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of one of ``GROUPS``."""
    {"groups": _groups, "group": _group, "close-group": _close, "undo-close": _undo}[name](parser)


def _groups(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", metavar="N", type=positive_int, default=50,
        help=f"at most (default: 50, the most are {_MAX_GROUPS})",
    )  # fmt: skip


def _group(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("group_id", metavar="GROUP", help="the group's id")
    add("--members", action="store_true", help="list the group's items instead, in any state")
    add(
        "--limit", metavar="N", type=positive_int, default=100,
        help="items of --members at most (default: 100)",
    )  # fmt: skip


def _close(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("group_id", metavar="GROUP", help="the group's id")
    add("outcome", metavar="OUTCOME", choices=["approve", "reject"], help="approve or reject")
    add("--snapshot", metavar="TEXT", required=True, help="what review group printed")
    add(
        "--count", metavar="N", type=positive_int, required=True,
        help="the items to be closed, as closable was printed with the snapshot",
    )  # fmt: skip
    repeated(parser, "--label", "labels", "LABEL", "what it is; may be repeated")
    add("--note", metavar="TEXT", default="", help="why, for the record")
    _by(parser, "who decides")


def _undo(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("close_id", metavar="CLOSE", help="the close's id, as close-group and group print it")
    add("--note", metavar="TEXT", default="", help="for the next reviewer and for the record")
    _by(parser, "who takes it back")


def _by(parser: argparse.ArgumentParser, who: str) -> None:
    text = f"{who} (default: your user name on this machine)"
    parser.add_argument("--by", metavar="NAME", default="", help=text)
