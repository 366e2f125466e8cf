"""What ``imagesieve moderate`` is to ask about: files, folders, lists of paths, manifests.

Everything is looked for and checked before the first image is sent, so a mistake in the last
line of a manifest costs nothing. Images are not opened here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imagesieve.command_manifest import MANIFESTS, ManifestError, read_manifest
from imagesieve.results import Upload

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif")
STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image to ask about."""

    name: str  # its path as given, or - for standard input
    upload: Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything to ask about, in order."""

    entries: tuple[Entry, ...]
    skipped: int = 0  # files in folders that are not named as images


def collect(paths: Sequence[str], *, paths_from: str | None, stdin: BinaryIO) -> Found:
    """What the arguments of ``moderate`` stand for.

    A named file is always sent; in folders the name's ending decides, and hidden files and
    folders are left alone. Raises OSError for what cannot be read or listed, ManifestError for
    a manifest that breaks a rule.
    """
    if paths_from == STDIN and STDIN in paths:
        raise ManifestError(["standard input holds either an image or the list of paths"])
    entries: list[Entry] = []
    skipped = 0
    for path in paths:
        if path == STDIN:
            entries.append(Entry(name=path, upload=Upload(image=stdin)))
        elif os.path.isdir(path):
            files = list(_files(path))
            images = [name for name in files if name.lower().endswith(SUFFIXES)]
            skipped += len(files) - len(images)
            entries += map(_file, images)
        elif path.lower().endswith(MANIFESTS):
            entries += (Entry(name=row.path, upload=row.upload) for row in read_manifest(path))
        else:
            entries.append(_file(path))
    if paths_from is not None:
        listed = stdin.read() if paths_from == STDIN else Path(paths_from).read_bytes()
        entries += map(_file, split_paths(listed))
    return Found(entries=tuple(entries), skipped=skipped)


def split_paths(listed: bytes) -> list[str]:
    """One path a line, or each ended by a NUL as ``find -print0`` writes them."""
    separator = b"\0" if b"\0" in listed else b"\n"
    lines = (line if separator == b"\0" else line.rstrip(b"\r") for line in listed.split(separator))
    return [os.fsdecode(line) for line in lines if line]


def _file(name: str) -> Entry:
    return Entry(name=name, upload=Upload(image=Path(name)))


def _files(folder: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(parent, n) for n in sorted(files) if not n.startswith("."))
