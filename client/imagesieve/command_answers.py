"""The file of ``--output`` and ``--resume``: one line of JSON for each image that was asked about.

A line is written by one call at the file's end, so a run that is killed leaves whole lines and
at most one torn one behind it, which the next run drops. The request_id says which image a
line is about: it is made from the run and from what was asked, so a resumed run asks with the
same id as the killed one and the server counts and queues nothing twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from imagesieve.command_output import plain
from imagesieve.command_uploads import STDIN, Entry
from imagesieve.results import Verdict

_OURS = re.compile(r"cli-([0-9a-f]{12})-[0-9a-f]{24}")
_ANSWERED = frozenset({Verdict.ALLOW, Verdict.REVIEW, Verdict.BLOCK})


class AnswerFileError(Exception):
    """The file cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Kept:
    lines: dict[str, tuple[int, int]]  # request_id: where its newest answer is, and its length
    run: str  # of the ids that this command made; "" where there are none


class AnswerFile:
    """An open file of answers. ``answered`` are the request_ids that need not be asked again;
    ``run`` goes into the ids of the others."""

    def __init__(self, path: str, *, descriptor: int, kept: _Kept) -> None:
        self.path = path
        self.answered = frozenset(kept.lines)
        self.run = kept.run or secrets.token_hex(6)
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: str) -> AnswerFile:
        """A new file. Raises AnswerFileError where there is one already."""
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o666)
        except FileExistsError:
            raise AnswerFileError(
                f"{path} exists: go on with --resume {path}, or name another file"
            ) from None
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(path, descriptor=descriptor, kept=_Kept({}, ""))

    @classmethod
    def resume(cls, path: str) -> AnswerFile:
        """The file as an earlier run left it, or a new one.

        What was UNDECIDED or failed is taken out, since it is asked again: in the end there is
        one line for each image. Raises AnswerFileError where another run is using the file or
        a line is not one of ours; the file is left as it is then.
        """
        with open(os.open(path, os.O_CREAT | os.O_RDWR, 0o666), "rb") as old:
            _lock(old.fileno(), path)
            kept = _read(old, path)
            descriptor = _rewritten(path, old, kept)
        return cls(path, descriptor=descriptor, kept=kept)

    def write(self, line: dict[str, Any]) -> None:
        """Append one line."""
        _write(self._descriptor, json.dumps(plain(line), allow_nan=False).encode() + b"\n")

    def close(self) -> None:
        """Bring everything to the disk, and let other runs use the file."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)


def with_ids(entries: Sequence[Entry], *, run: str, options: object) -> Iterator[Entry]:
    """The entries, each with a request_id.

    An id of the entry's own stays. Others are made from the run, the ``options`` that change
    an answer, everything known of the image, and how often that came before.
    """
    before: dict[str, int] = {}
    for entry in entries:
        if entry.upload.request_id is not None or entry.name == STDIN:
            yield entry
            continue
        upload = entry.upload
        known = (upload.content_ref, upload.uploader_ref, upload.surface)
        asked = repr((os.fsencode(entry.name), known, sorted(upload.labels.items()), options))
        before[asked] = before.get(asked, 0) + 1
        digest = hashlib.sha256(f"{asked} {before[asked]}".encode()).hexdigest()[:24]
        yield replace(entry, upload=replace(upload, request_id=f"cli-{run}-{digest}"))


def _lock(descriptor: int, path: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        replaced = not os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        replaced = True
    if replaced:  # or another run has just replaced the file that was opened
        raise AnswerFileError(f"{path} is in use by another run")


def _read(file: BinaryIO, path: str) -> _Kept:
    """What the whole lines say; what follows the last line end was torn by a kill."""
    newest: dict[str, tuple[int, int]] = {}
    run = ""
    offset = 0
    for number, line in enumerate(file, start=1):
        if not line.endswith(b"\n"):
            break
        request_id, verdict = _known(line, f"{path}:{number}")
        if found := _OURS.fullmatch(request_id):
            run = found[1]
        if verdict in _ANSWERED:
            newest[request_id] = (offset, len(line))
        offset += len(line)
    return _Kept(newest, run)


def _known(line: bytes, where: str) -> tuple[str, str]:
    """The line's request_id and verdict. Raises AnswerFileError for a line that is not ours."""
    try:
        values = json.loads(line)
        return str(values["request_id"]), str(values.get("verdict", ""))
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise AnswerFileError(f"{where}: is no answer of this command; nothing was sent") from None


def _rewritten(path: str, old: BinaryIO, kept: _Kept) -> int:
    """Replace the file by one with the kept lines, atomically; gives it open, at its end."""
    target = os.path.realpath(path)
    made = f"{target}.{secrets.token_hex(4)}.tmp"
    mode = os.fstat(old.fileno()).st_mode & 0o777
    descriptor = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for offset, length in kept.lines.values():
            old.seek(offset)
            _write(descriptor, old.read(length))
        os.fsync(descriptor)
        os.replace(made, target)
    except BaseException:
        os.unlink(made)
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, data: bytes) -> None:
    """All of it. A full disk raises OSError and may leave a torn line, which a resume drops."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
