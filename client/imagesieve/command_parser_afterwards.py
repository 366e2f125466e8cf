"""The words of ``imagesieve review`` for what comes after a decision. Runs nothing."""

from __future__ import annotations

import argparse

from imagesieve.command_values import positive_int
from imagesieve.review_results import ReopenCause

_USAGE = "imagesieve review {} [OPTION ...]".format

AFTERWARDS: dict[str, dict[str, str]] = {
    "reopen": {"help": "review a decided item again", "usage": _USAGE("reopen ITEM")},
    "erase": {
        "help": "delete a picture by law",
        "description": "Delete a picture and what came with its uploads, by law. Every item of "
        "its bytes is rejected, in any state; the record of the decisions stays.",
        "usage": _USAGE("erase ITEM|SHA256 --reason TEXT"),
    },
    "watch": {
        "help": "show decisions as they are made",
        "description": "Show decisions as they are made, one line for each upload, until "
        "interrupted. A lost connection is taken up again where it broke.",
        "usage": _USAGE("watch"),
    },
}
"""The commands and their texts."""


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """The arguments of one of ``AFTERWARDS``."""
    {"reopen": _reopen, "erase": _erase, "watch": _watch}[name](parser)


def _reopen(parser: argparse.ArgumentParser) -> None:
    causes = [cause.lower() for cause in ReopenCause if cause is not ReopenCause.UNKNOWN]
    add = parser.add_argument
    add("item_id", metavar="ITEM", help="the item's id")
    add(
        "--cause",
        metavar="CAUSE",
        choices=causes,
        required=True,
        help="appeal: the uploader contests it; undo: the reviewer takes it back; overturn: "
        "somebody else finds it wrong",
    )
    add(
        "--decision",
        metavar="ID",
        default="",
        help="the contested decision; where it is not in effect any more nothing changes",
    )
    add("--note", metavar="TEXT", default="", help="for the next reviewer and for the record")
    add("--by", metavar="NAME", default="", help="who asks")


def _erase(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("what", metavar="ITEM|SHA256", help="an item's id, or the hash of the picture's bytes")
    add(
        "--reason",
        metavar="TEXT",
        required=True,
        help="for the record; it outlives the picture",
    )
    add("--by", metavar="NAME", default="", help="who asks")


def _watch(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--cursor-file",
        metavar="FILE",
        help="go on from the cursor in this file, and keep the present one in it",
    )
    add(
        "--from-oldest",
        action="store_true",
        help="without a cursor: from the oldest decision kept, instead of from now on",
    )
    add("--limit", metavar="N", type=positive_int, help="end after so many lines")
