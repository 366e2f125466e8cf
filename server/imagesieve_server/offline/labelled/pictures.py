"""The pictures that a label file names: regular files inside one folder, read and hashed.

A label file is not trusted: it can name no file outside the folder, be it by ``..``, by an
absolute path or through a link, and nothing that blocks when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesieve_server.core.errors import LabelsError
from imagesieve_server.images.limits import Limits
from imagesieve_server.offline.labelled.label_file import FILE, LabelFile

_SHOWN = 200
"""Letters of a name in a message; a longer one is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture file."""

    name: str  # as the label file writes it
    path: Path
    sha256: str  # hex, of the bytes; "" where the file is too large to be looked at
    size: int  # bytes

    def read(self) -> bytes:
        """The bytes. Raises LabelsError where they changed since they were hashed."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise LabelsError(f"cannot be read: {error.strerror}", file=str(self.path)) from None
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise LabelsError("changed while it was being read", file=str(self.path))
        return data


def find_pictures(
    labels: LabelFile, folder: Path, *, limits: Limits | None = None
) -> tuple[Picture, ...]:
    """The files of a label file in its order.

    Raises LabelsError for the first that leaves ``folder``, does not exist or is no file.
    """
    if not folder.is_dir():
        raise LabelsError(
            "is no folder; --images names the one with the pictures", file=str(folder)
        )
    root = folder.resolve()
    most = (limits or Limits()).bytes
    paths = _paths(labels, folder, root)
    return tuple(_picture(name, path, most) for name, path in zip(labels.files, paths, strict=True))


def _paths(labels: LabelFile, folder: Path, root: Path) -> Sequence[Path]:
    """Checks every name before the first byte is read."""
    found: list[Path] = []
    missing: list[tuple[str, int]] = []
    for name, line in zip(labels.files, labels.lines, strict=True):
        path = _inside(root, name)
        if path is None:
            raise LabelsError(
                f"{_shown(name)} leads out of {folder}; write paths below that folder",
                file=labels.path,
                line=line,
                column=FILE,
            )
        if not _is_file(path):
            missing.append((name, line))
        found.append(path)
    if missing:
        name, line = missing[0]
        more = f" ({len(missing) - 1} more are missing too)" if len(missing) > 1 else ""
        hint = "; write / between folders" if "\\" in name else ""
        raise LabelsError(
            f"there is no picture {_shown(name)} in {folder}{hint}{more}",
            file=labels.path,
            line=line,
            column=FILE,
        )
    return found


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")


def _inside(root: Path, name: str) -> Path | None:
    """The file a name means, None where it lies outside the (resolved) root."""
    try:
        path = (root / name).resolve()
    except (ValueError, OSError, RuntimeError):  # a NUL, a name too long, links in a circle
        return None
    return path if path.is_relative_to(root) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no file can have so long a name, or nobody may look for it there
        return False


def _picture(name: str, path: Path, most: int) -> Picture:
    try:
        size = path.stat().st_size
        # What is over the server's cap is not decoded, and so not read either.
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if size <= most else ""
    except OSError as error:
        raise LabelsError(f"cannot be read: {error.strerror}", file=str(path)) from None
    return Picture(name=name, path=path, sha256=digest, size=size)
