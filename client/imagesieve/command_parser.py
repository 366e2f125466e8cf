"""The words of the ``imagesieve`` command: options, help texts, exit codes. Runs nothing.

Help is the same on every Python that is supported: usages are written out, no colour, and no
short options (releases of argparse lay all of these out differently).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from imagesieve import (
    command_completion,
    command_parser_afterwards,
    command_parser_groups,
    command_parser_quality,
)
from imagesieve.command_moderate_options import USAGE_LINE, add_options
from imagesieve.command_values import age_s, positive_float, positive_int, repeated
from imagesieve.connection import DEFAULT_TARGET, DEFAULT_TIMEOUT_S
from imagesieve.review_results import ItemState, Outcome

DONE = 0
USAGE = 2
FLAGGED = 3
INCOMPLETE = 4
NOTHING_READY = 5
INTERRUPTED = 130

EXIT_CODES = """\
exit codes:
  0    everything asked for was answered, whatever the verdicts
  2    wrong usage, or nothing to send
  3    --fail-on was given and an image reached it
  4    something is undecided, was refused or failed (also where 3 would apply)
  5    review claim: nothing is ready
  130  interrupted
"""

_YOU = "default: your user name on this machine"
_SERVER_VARIABLE = "IMAGESIEVE_SERVER"


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        if sys.version_info >= (3, 14):
            settings.setdefault("color", False)
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)


def build_parser(*, server: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command; ``server`` replaces the built-in default target."""
    connection = _connection_options(server or DEFAULT_TARGET)
    parser = _Parser(
        prog="imagesieve",
        usage="imagesieve COMMAND ...",
        description="Ask an imagesieve server about images, and work its review queue.",
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        "--version", action="version", version=f"imagesieve {metadata.version('imagesieve')}"
    )
    commands = _commands(parser, "imagesieve", dest="command")
    _add_moderate(commands, connection)
    _add_review(commands, connection)
    _add_policy(commands, connection)
    health = _add(
        commands,
        "health",
        connection,
        help="whether the server serves",
        usage="imagesieve health [--service NAME] [OPTION ...]",
    )
    health.add_argument(
        "--service", metavar="NAME", default="", help="ask about one service of the server only"
    )
    completion = commands.add_parser(
        "completion",
        help="print a shell's completion script",
        description="Print a shell's completion script.",
        usage="imagesieve completion SHELL",
        epilog=command_completion.HOW_TO,
    )
    command_completion.add_options(completion)
    return parser


def _commands(parser: argparse.ArgumentParser, prog: str, *, dest: str) -> Any:
    return parser.add_subparsers(
        title="commands", dest=dest, metavar="COMMAND", required=True, prog=prog
    )


def _add(commands: Any, name: str, *parents: argparse.ArgumentParser, **texts: str) -> Any:
    texts.setdefault("description", texts["help"][0].upper() + texts["help"][1:] + ".")
    return commands.add_parser(name, parents=parents, epilog=EXIT_CODES, **texts)


def _connection_options(server: str) -> argparse.ArgumentParser:
    options = _Parser(add_help=False)
    group = options.add_argument_group("connection")
    group.add_argument(
        "--server",
        metavar="TARGET",
        default=server,
        help=f"where the server is (default: ${_SERVER_VARIABLE}, else {DEFAULT_TARGET})",
    )
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=positive_float,
        default=DEFAULT_TIMEOUT_S,
        help=f"for each call, retries included (default: {DEFAULT_TIMEOUT_S:g})",
    )
    group.add_argument("--tls", action="store_true", help="encrypt, trusting the system's roots")
    group.add_argument(
        "--ca-file", metavar="FILE", help="encrypt, trusting the roots in this PEM file"
    )
    group.add_argument(
        "--cert-file", metavar="FILE", help="show the server the certificate in this PEM file"
    )
    group.add_argument(
        "--key-file", metavar="FILE", help="the PEM private key of --cert-file, not encrypted"
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="send the bearer token in this file (default: the one in $IMAGESIEVE_TOKEN)",
    )
    options.add_argument(
        "--format",
        metavar="FORMAT",
        choices=("table", "jsonl"),
        default="table",
        help="table, or jsonl: one JSON object a line (default: table)",
    )
    return options


def _add_moderate(commands: Any, connection: argparse.ArgumentParser) -> None:
    moderate = _add(
        commands,
        "moderate",
        connection,
        help="ask whether images may be published",
        usage=USAGE_LINE,
    )
    add_options(moderate)


def _add_review(commands: Any, connection: argparse.ArgumentParser) -> None:
    review = commands.add_parser(
        "review",
        help="work the review queue",
        description="Work the review queue.",
        usage="imagesieve review COMMAND ...",
        epilog=EXIT_CODES,
    )
    verbs = _commands(review, "imagesieve review", dest="verb")
    held = _held_item()
    item = _Parser(add_help=False)
    item.add_argument("item_id", metavar="ITEM", help="the item's id")
    usage = "imagesieve review {} [OPTION ...]".format
    _add_claim(verbs, connection)
    texts = {"help": "decide a claimed item", "usage": usage("decide ITEM TOKEN OUTCOME")}
    _add_decide(_add(verbs, "decide", held, connection, **texts))
    texts = {"help": "give a claimed item back", "usage": usage("release ITEM TOKEN")}
    _add(verbs, "release", held, connection, **texts)
    texts = {"help": "prolong a lease", "usage": usage("extend ITEM TOKEN")}
    _lease_option(_add(verbs, "extend", held, connection, **texts))
    _add_list(verbs, connection, usage("list"))
    texts = {"help": "count the queue", "usage": usage("stats")}
    _add(verbs, "stats", connection, **texts)
    texts = {"help": "show one item", "usage": usage("show ITEM")}
    _image_option(_add(verbs, "show", item, connection, **texts))
    texts = {"help": "put a parked item back", "usage": usage("requeue ITEM")}
    _add(verbs, "requeue", item, connection, **texts)
    for name, texts in command_parser_afterwards.AFTERWARDS.items():
        command_parser_afterwards.add_arguments(name, _add(verbs, name, connection, **texts))
    for name, texts in command_parser_groups.GROUPS.items():
        command_parser_groups.add_arguments(name, _add(verbs, name, connection, **texts))
    for name, texts in command_parser_quality.QUALITY.items():
        command_parser_quality.add_arguments(name, _add(verbs, name, connection, **texts))


def _held_item() -> argparse.ArgumentParser:
    held = _Parser(add_help=False)
    held.add_argument("item_id", metavar="ITEM", help="the item's id")
    held.add_argument("token", metavar="TOKEN", help="the token that claim printed")
    return held


def _add_claim(verbs: Any, connection: argparse.ArgumentParser) -> None:
    claim = _add(
        verbs,
        "claim",
        connection,
        help="lease the most urgent item",
        usage="imagesieve review claim [OPTION ...]",
    )
    claim.add_argument("--reviewer", metavar="NAME", default="", help=f"who claims ({_YOU})")
    text = "only items of this category; may be repeated"
    repeated(claim, "--category", "categories", "ID", text)
    claim.add_argument(
        "--uncategorized", action="store_true",
        help="only items without a category: no picture, or not scored; beside --category",
    )  # fmt: skip
    claim.add_argument(
        "--item", metavar="ID", default="", help="this item, out of its turn; for leads"
    )
    claim.add_argument(
        "--tier", metavar="N", type=positive_int, default=1, help="of review (default: 1)"
    )
    _lease_option(claim)
    _image_option(claim)


def _add_decide(decide: Any) -> None:
    outcomes = [outcome.lower() for outcome in Outcome if outcome is not Outcome.UNKNOWN]
    decide.add_argument(
        "outcome", metavar="OUTCOME", choices=outcomes, help="approve, reject or escalate"
    )
    repeated(decide, "--label", "labels", "LABEL", "what it is; may be repeated")
    decide.add_argument("--note", metavar="TEXT", default="", help="why, for the record")
    decide.add_argument("--reviewer", metavar="NAME", default="", help=f"who decides ({_YOU})")


def _add_list(verbs: Any, connection: argparse.ArgumentParser, usage: str) -> None:
    listing = _add(verbs, "list", connection, help="list items", usage=usage)
    states = [state.lower() for state in ItemState if state is not ItemState.UNKNOWN]
    listing.add_argument(
        "--state",
        metavar="STATE",
        dest="states",
        action="append",
        choices=states,
        default=[],
        help="ready, leased, parked, decided or expired; may be repeated (default: open items)",
    )
    listing.add_argument("--category", metavar="ID", default="", help="only items of this category")
    listing.add_argument(
        "--reason",
        metavar="CODE",
        default="",
        help="only with this reason, for example undecodable",
    )
    listing.add_argument(
        "--older-than", metavar="TIME", type=age_s, default=0.0,
        help="only items that arrived longer ago, for example 90s, 30m, 8h or 2d",
    )  # fmt: skip
    listing.add_argument(
        "--newer-than", metavar="TIME", type=age_s, default=0.0,
        help="only items that arrived since then",
    )  # fmt: skip
    listing.add_argument(
        "--limit", metavar="N", type=positive_int, default=100, help="at most (default: 100)"
    )


def _add_policy(commands: Any, connection: argparse.ArgumentParser) -> None:
    policy = commands.add_parser(
        "policy",
        help="see and reload the server's policies",
        description="See and reload the server's policies.",
        usage="imagesieve policy COMMAND ...",
        epilog=EXIT_CODES,
    )
    verbs = _commands(policy, "imagesieve policy", dest="verb")
    usage = "imagesieve policy {} [OPTION ...]".format
    _add(verbs, "list", connection, help="list the policies in force", usage=usage("list"))
    show = _add(verbs, "show", connection, help="show one policy", usage=usage("show [NAME]"))
    show.add_argument(
        "name", metavar="NAME", nargs="?", default="", help="default: the default policy"
    )
    reload_texts = {"help": "read the policies again on the replica that answers"}
    _add(verbs, "reload", connection, usage=usage("reload"), **reload_texts)


def _lease_option(parser: Any) -> None:
    parser.add_argument(
        "--lease",
        metavar="SECONDS",
        type=positive_int,
        default=0,
        help="length of the lease (default: the server's, ten minutes)",
    )


def _image_option(parser: Any) -> None:
    parser.add_argument("--image-to", metavar="FILE", help="write the original image to this file")


def parse(argv: Sequence[str] | None, *, server: str | None) -> argparse.Namespace:
    """The parsed command line, with its words as ``argv``; leaves with exit code 2 where it
    is wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(server=server)
    args = parser.parse_args(words, argparse.Namespace(argv=words))
    if args.command == "moderate" and not args.paths and args.paths_from is None:
        parser.error("moderate: name an image, a folder or a manifest, or use --paths-from")
    return args
