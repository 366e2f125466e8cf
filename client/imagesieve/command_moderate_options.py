"""The options of ``imagesieve moderate``. Declares them, runs nothing."""

from __future__ import annotations

from typing import Any

from imagesieve.command_values import positive_int, repeated
from imagesieve.many import MAX_IN_FLIGHT

USAGE_LINE = "imagesieve moderate PATH ... [OPTION ...]"


def add_options(moderate: Any) -> None:
    """Declare them on the subcommand's parser."""
    moderate.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="an image, a folder (searched for .jpg .jpeg .png .webp .gif .avif), a manifest "
        "(.csv .jsonl .ndjson) or - for one image on standard input",
    )
    moderate.add_argument(
        "--paths-from",
        metavar="FILE",
        help="also the images listed in this file, one path a line or ended by NUL "
        "(- for standard input)",
    )
    _add_what(moderate)
    answers = moderate.add_mutually_exclusive_group()
    answers.add_argument(
        "--output",
        metavar="FILE",
        help="write the answers to this new file as they arrive, one JSON object a line",
    )
    answers.add_argument(
        "--resume",
        metavar="FILE",
        help="as --output, but go on with a file: what it answers is not asked again, what was "
        "undecided or failed is",
    )
    moderate.add_argument(
        "--fail-on",
        metavar="VERDICT",
        choices=("review", "block"),
        help="exit with 3 where an image is at least this: review or block",
    )


def _add_what(moderate: Any) -> None:
    moderate.add_argument(
        "--policy", metavar="NAME", default="", help="instead of the server's default policy"
    )
    repeated(moderate, "--category", "categories", "ID", "only this category; may be repeated")
    moderate.add_argument(
        "--dry-run", action="store_true", help="answer in full, but store and queue nothing"
    )
    moderate.add_argument(
        "--concurrency",
        metavar="N",
        type=positive_int,
        default=MAX_IN_FLIGHT,
        help=f"images in flight at once (default: {MAX_IN_FLIGHT})",
    )
    moderate.add_argument(
        "--bulk",
        action="store_true",
        help="send batches, and ask about each image for two minutes or --timeout, whichever is "
        "longer: for backfills",
    )
