"""``imagesieve moderate``: asks about many images, shows the answers or keeps them in a file."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, TextIO

from imagesieve.backlog import BULK_TIMEOUT_S
from imagesieve.client import Client
from imagesieve.command_answers import AnswerFile, AnswerFileError, with_ids
from imagesieve.command_manifest import ManifestError
from imagesieve.command_parser import DONE, FLAGGED, INCOMPLETE, INTERRUPTED, USAGE
from imagesieve.command_progress import Progress, Tally, is_terminal
from imagesieve.command_thread import in_a_thread
from imagesieve.command_uploads import Entry, collect
from imagesieve.command_verdicts import Show, as_json, as_table, line_of
from imagesieve.errors import Unreachable
from imagesieve.results import Moderated, Verdict

_FAILS_ON: dict[str | None, tuple[Verdict, ...]] = {
    None: (),
    "review": (Verdict.REVIEW, Verdict.BLOCK),
    "block": (Verdict.BLOCK,),
}

_GIVE_UP_AFTER = 64  # images in a row for which no server could be reached


def moderate(
    args: argparse.Namespace, client: Client, *, stdin: BinaryIO, out: TextIO, err: TextIO
) -> int:
    """Run the command; gives the exit code."""
    try:
        found = collect(args.paths, paths_from=args.paths_from, stdin=stdin)
        if found.skipped:
            err.write(
                f"imagesieve: {found.skipped} files in folders are not named as images: not sent\n"
            )
        if not found.entries:
            err.write("imagesieve: no images found\n")
            return USAGE
        with contextlib.ExitStack() as stack:
            answers = _answers(args)
            if answers is None:
                return _Run(args, client, found.entries, out=out, err=err).show()
            stack.callback(answers.close)
            return _keep(args, client, answers, found.entries, out=out, err=err)
    except (ManifestError, AnswerFileError) as error:
        err.writelines(f"imagesieve: {line}\n" for line in str(error).splitlines())
        return USAGE


def _answers(args: argparse.Namespace) -> AnswerFile | None:
    if args.resume:
        return AnswerFile.resume(args.resume)
    return AnswerFile.create(args.output) if args.output else None


def _keep(
    args: argparse.Namespace,
    client: Client,
    answers: AnswerFile,
    entries: Sequence[Entry],
    *,
    out: TextIO,
    err: TextIO,
) -> int:
    """Ask about what the file does not answer yet."""
    options = (args.policy, sorted(set(args.categories)), args.dry_run)
    known = list(with_ids(entries, run=answers.run, options=options))
    left = [entry for entry in known if entry.upload.request_id not in answers.answered]
    if len(left) < len(known):
        done = len(known) - len(left)
        err.write(f"imagesieve: {done} of {len(known)} are answered in {answers.path}\n")
    return _Run(args, client, left, out=out, err=err).keep(answers)


class _Run:
    """One run over some entries."""

    def __init__(
        self,
        args: argparse.Namespace,
        client: Client,
        entries: Sequence[Entry],
        *,
        out: TextIO,
        err: TextIO,
    ) -> None:
        self._args = args
        self._client = client
        self._entries = entries
        self._out = out
        self._err = err
        self._tally = Tally()
        self._verdicts: set[Verdict] = set()
        self._lost = 0
        quiet = out.isatty() and not (args.output or args.resume)
        self._progress = Progress(
            err, total=len(entries), shown=is_terminal(err) and not quiet and len(entries) > 1
        )

    def show(self) -> int:
        """Answers to standard output, in the order of the entries."""
        show = self._shown()
        try:
            for outcome in in_order(self._outcomes()):
                show(self._entries[outcome.index].name, outcome)
        except KeyboardInterrupt:
            return self._interrupted(
                "answers were not kept; with --output FILE such a run can be resumed"
            )
        self._progress.clear()
        return self._exit_code()

    def keep(self, answers: AnswerFile) -> int:
        """Answers to the file, as they arrive."""
        again = f"go on with: {resuming(self._args.argv, answers.path)}"
        try:
            for outcome in self._outcomes():
                answers.write(line_of(self._entries[outcome.index].name, outcome))
                if self._lost_in_a_row(outcome) >= _GIVE_UP_AFTER:
                    return self._given_up(again)
        except KeyboardInterrupt:
            return self._interrupted(again)
        except OSError as error:
            self._progress.clear()
            self._err.write(f"imagesieve: {answers.path}: {error.strerror}; {again}\n")
            return INCOMPLETE
        self._progress.clear()
        self._err.write(f"imagesieve: {self._summary()}\n")
        code = self._exit_code()
        if code == INCOMPLETE:
            self._err.write(f"imagesieve: to ask again about what has no verdict: {again}\n")
        return code

    def _lost_in_a_row(self, outcome: Moderated) -> int:
        """How many images up to this one found no server."""
        reason = outcome.result.undecided_reason if outcome.result else ""
        self._lost = self._lost + 1 if reason == Unreachable.reason else 0
        return self._lost

    def _given_up(self, again: str) -> int:
        self._progress.clear()
        self._err.write(f"imagesieve: {self._summary()}\nimagesieve: no server answers; {again}\n")
        return INCOMPLETE

    def _asked(self) -> Iterator[Moderated]:
        args = self._args
        uploads = (entry.upload for entry in self._entries)
        if args.bulk:
            return self._client.moderate_bulk(
                uploads,
                policy=args.policy,
                categories=args.categories,
                dry_run=args.dry_run,
                timeout=max(args.timeout, BULK_TIMEOUT_S),
            )
        return self._client.moderate_many(
            uploads,
            policy=args.policy,
            categories=args.categories,
            dry_run=args.dry_run,
            timeout=args.timeout,
            max_in_flight=args.concurrency,
        )

    def _outcomes(self) -> Iterator[Moderated]:
        for outcome in in_a_thread(self._asked()):
            self._tally.add(outcome)
            self._verdicts.add(outcome.result.verdict if outcome.result else Verdict.UNDECIDED)
            yield outcome
            self._progress.update(self._tally)

    def _shown(self) -> Show:
        if self._args.format == "jsonl":
            return as_json(self._out)
        width = shutil.get_terminal_size().columns if self._out.isatty() else None
        return as_table(self._out, [entry.name for entry in self._entries], width=width)

    def _interrupted(self, advice: str) -> int:
        self._progress.clear()
        self._err.write(f"\nimagesieve: interrupted: {self._summary()}\nimagesieve: {advice}\n")
        return INTERRUPTED

    def _summary(self) -> str:
        done, seconds = self._tally.done, self._progress.elapsed_s
        rate = f" ({done / seconds:.0f}/s)" if seconds > 0 else ""
        return f"{done} of {len(self._entries)} images in {seconds:.1f} s{rate}  {self._tally}"

    def _exit_code(self) -> int:
        return exit_code(self._verdicts, fail_on=self._args.fail_on)


def resuming(argv: Sequence[str], file: str) -> str:
    """The command line that goes on with ``file``, as a shell takes it."""
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word in ("--output", "--resume"):
            next(rest, None)
        elif not word.startswith(("--output=", "--resume=")):
            words.append(word)
    return shlex.join(["imagesieve", *words, "--resume", file])


def in_order(outcomes: Iterable[Moderated]) -> Iterator[Moderated]:
    """The outcomes by index: output that does not depend on timing."""
    waiting: dict[int, Moderated] = {}
    following = 0
    for outcome in outcomes:
        waiting[outcome.index] = outcome
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def exit_code(verdicts: Iterable[Verdict], *, fail_on: str | None) -> int:
    """The exit code; an errored image counts as UNDECIDED."""
    seen = set(verdicts)
    if Verdict.UNDECIDED in seen:
        return INCOMPLETE
    return FLAGGED if seen & set(_FAILS_ON[fail_on]) else DONE
