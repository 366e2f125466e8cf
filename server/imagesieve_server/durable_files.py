"""Files that survive a power cut: how to create folders and files durably.

A new file is durable when its data are synced *and* the folder that names it is; a new
folder likewise in its parent. Knows nothing of what is kept.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, each durable in its own parent.

    One that exists may have been made by a process that died before it synced: its entry is
    synced too, unless this user could not have made it. Raises OSError.
    """
    if not folder.is_dir():
        if folder.parent != folder:
            make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)  # uploads are nobody else's to read
    if os.access(folder.parent, os.W_OK):
        sync_folder(folder.parent)


def remove_file(path: Path) -> None:
    """Remove the file, durably; one that is not there is no error. Raises OSError."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)


def write_file(target: Path, data: bytes, *, scratch: Path) -> None:
    """Create ``target`` with ``data``, whole or not at all, durable on return.

    ``scratch`` is the name of a temporary file on the same file system, not yet in use.
    Raises OSError and leaves no temporary file behind.
    """
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(scratch, target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
