"""``imagesieve moderate``: finds files, asks about them, shows the answers in their order."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

from imagesieve.client import Client
from imagesieve.command_output import Columns, json_line, plain
from imagesieve.command_parser import DONE, FLAGGED, INCOMPLETE, USAGE
from imagesieve.errors import ImagesieveError
from imagesieve.results import (
    ImageSource,
    Moderated,
    ModerationResult,
    Threshold,
    ThresholdScale,
    Verdict,
    View,
    ViewKind,
)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif")
_FAILS_ON: dict[str | None, tuple[Verdict, ...]] = {
    None: (),
    "review": (Verdict.REVIEW, Verdict.BLOCK),
    "block": (Verdict.BLOCK,),
}
_WIDEST_NAME = 48  # characters of the file column


def moderate(
    args: argparse.Namespace, client: Client, *, stdin: BinaryIO, out: TextIO, err: TextIO
) -> int:
    """Run the command; gives the exit code."""
    names, skipped = find(args.paths)
    if skipped:
        err.write(f"imagesieve: {skipped} files in folders are not named as images: not sent\n")
    if not names:
        err.write("imagesieve: no images found\n")
        return USAGE
    sources: Iterator[ImageSource] = (stdin if name == "-" else Path(name) for name in names)
    outcomes = client.moderate_many(
        sources,
        policy=args.policy,
        categories=args.categories,
        dry_run=args.dry_run,
        timeout=args.timeout,
        max_in_flight=args.concurrency,
    )
    show = _json(out) if args.format == "jsonl" else _table(out, names)
    verdicts: list[Verdict] = []
    for outcome in in_order(outcomes):
        show(names[outcome.index], outcome)
        verdicts.append(outcome.result.verdict if outcome.result else Verdict.UNDECIDED)
    return exit_code(verdicts, fail_on=args.fail_on)


def find(paths: Sequence[str]) -> tuple[list[str], int]:
    """The files to send, and how many files in folders were passed over.

    A named file is always sent; in folders the name's ending decides, and hidden files and
    folders are left alone. Raises OSError for a folder that cannot be listed.
    """
    names: list[str] = []
    skipped = 0
    for path in paths:
        if path == "-" or not os.path.isdir(path):
            names.append(path)
            continue
        for name in _files(path):
            if name.lower().endswith(SUFFIXES):
                names.append(name)
            else:
                skipped += 1
    return names, skipped


def _files(folder: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(parent, n) for n in sorted(files) if not n.startswith("."))


def in_order(outcomes: Iterable[Moderated]) -> Iterator[Moderated]:
    """The outcomes by index: output that does not depend on timing."""
    waiting: dict[int, Moderated] = {}
    following = 0
    for outcome in outcomes:
        waiting[outcome.index] = outcome
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def exit_code(verdicts: Sequence[Verdict], *, fail_on: str | None) -> int:
    """The exit code; an errored image counts as UNDECIDED."""
    if Verdict.UNDECIDED in verdicts:
        return INCOMPLETE
    return FLAGGED if any(verdict in _FAILS_ON[fail_on] for verdict in verdicts) else DONE


def _json(out: TextIO) -> Callable[[str, Moderated], None]:
    def show(name: str, outcome: Moderated) -> None:
        if outcome.result is not None:
            json_line(out, {"file": name, **plain(outcome.result)})
        else:
            reason, message = _error(outcome)
            json_line(out, {"file": name, "error": {"reason": reason, "message": message}})

    return show


def _table(out: TextIO, names: Sequence[str]) -> Callable[[str, Moderated], None]:
    columns = Columns(
        out,
        {
            "FILE": min(max(len(name) for name in names), _WIDEST_NAME),
            "VERDICT": 9,
            "CATEGORY": 16,
            "SCORE": 5,
            "THRESHOLD": 9,
            "MARGIN": 7,
            "VIEW": 8,
            "MS": 5,
            "NOTE": 0,
        },
    )

    def show(name: str, outcome: Moderated) -> None:
        if outcome.result is not None:
            columns.row(name, *_cells(outcome.result))
        else:
            reason, message = _error(outcome)
            columns.row(name, "ERROR", *("",) * 6, f"{reason}: {message}")

    return show


def _cells(result: ModerationResult) -> tuple[str, ...]:
    worst = result.worst
    milliseconds = f"{result.elapsed_s * 1000:.0f}"
    if worst is None:
        return (result.verdict, "", "", "", "", "", milliseconds, _note(result))
    view = result.views[worst.view] if worst.view < len(result.views) else None
    return (
        result.verdict,
        worst.category,
        f"{worst.score:.3f}",
        _threshold(worst.review_threshold or worst.block_threshold),
        "" if worst.margin is None else f"{worst.margin:+.2f}",
        "" if view is None else _view(worst.view, view),
        milliseconds,
        _note(result),
    )


def _threshold(threshold: Threshold | None) -> str:
    if threshold is None:
        return ""
    logit = threshold.scale is ThresholdScale.LOGIT
    return f"logit {threshold.value:g}" if logit else f"{threshold.value:.3f}"


def _view(index: int, view: View) -> str:
    if view.kind is ViewKind.STILL:
        return "still"
    return f"{view.kind.lower()} {view.frame if view.kind is ViewKind.FRAME else index}"


def _note(result: ModerationResult) -> str:
    """Why nobody decided, or the reasons that are no category's."""
    if result.undecided_reason:
        return result.undecided_reason
    others = (reason for reason in result.reasons if not reason.category)
    return " ".join(r.code + (f"({r.detail})" if r.detail else "") for r in others)


def _error(outcome: Moderated) -> tuple[str, str]:
    error = outcome.error
    if isinstance(error, ImagesieveError):
        return error.reason, error.message
    assert error is not None  # an outcome without a result has an error
    return "FILE_UNREADABLE", error.strerror or type(error).__name__
