"""The file of a report: known to be writable before minutes are measured, replaced when the new
report is whole. What lies there stays until then, however a bench ends.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagesieve_server.core.errors import ConfigError

_ONLY_IN_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY}
"""A folder that takes no other file; a file that is mounted by itself."""


def check(path: Path) -> None:
    """Nothing is changed. Raises ConfigError where a report could not be written."""
    with _told(path):
        place = _behind_links(path)
        there = place.exists()
        place.open("ab").close()
        if not there:
            place.unlink()


def write(path: Path, text: str) -> None:
    """The new report instead of the old one, or the old one untouched. Raises ConfigError."""
    with _told(path):
        place = _behind_links(path)
        if place.exists() and not place.is_file():  # a device or a pipe
            place.write_text(text, encoding="utf-8")
            return
        try:
            _replace(place, text)
        except OSError as problem:
            if problem.errno not in _ONLY_IN_PLACE:
                raise
            place.write_text(text, encoding="utf-8")


def _behind_links(path: Path) -> Path:
    """A link to a file stays one; what /dev/stdout links to has no path of its own."""
    return path if path.exists() and not path.is_file() else Path(os.path.realpath(path))


def _replace(place: Path, text: str) -> None:
    scratch = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, place)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be written: {problem.strerror}") from None
