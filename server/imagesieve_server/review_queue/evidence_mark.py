"""Whether the evidence is that which a database's other servers use.

Servers that share a database and not the evidence would each have some of the pictures, and
show none of the others'. So the evidence carries a mark that the database knows. Knows a mark and
a row, not what is kept.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Protocol

from imagesieve_server import durable_files as files
from imagesieve_server.core.errors import StoreNotUsable
from imagesieve_server.review_queue.rows import Transaction

FILE = ".database"
"""In the root of the evidence. No tenant's folder begins with a dot."""
MARK = "evidence"


class EvidenceMark(Protocol):
    """The mark that lies with the evidence."""

    @property
    def shown(self) -> str:
        """The place as an operator knows it."""
        ...

    def mark(self) -> str | None:
        """The mark, None where there is none. Raises StoreNotUsable."""
        ...

    def made_mark(self) -> str:
        """The mark, made where it is missing. Raises StoreNotUsable."""
        ...


class FolderMark:
    """A file in the root of an evidence folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.shown = f"folder {root}"

    def mark(self) -> str | None:
        try:
            return (self._root / FILE).read_text().strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as problem:
            raise self._unusable(problem) from problem

    def made_mark(self) -> str:
        try:
            _make(self._root / FILE)
        except OSError as problem:
            raise self._unusable(problem) from problem
        return self.mark() or ""

    def _unusable(self, problem: Exception) -> StoreNotUsable:
        return StoreNotUsable(f"the evidence {self.shown} cannot be used: {problem}")


def require_same_evidence(tx: Transaction, evidence: EvidenceMark) -> None:
    """Compare the marks, and make them where there are none yet. Raises StoreNotUsable.

    The database lets one server make them: some object stores look for an object and then write
    it, and so let two writers through that both ask for there to be none.
    """
    known = tx.mark(MARK)
    if known is None:
        tx.hold("", [MARK])
        known = tx.mark(MARK)
    if known is None:
        tx.add_mark(MARK, evidence.made_mark())
    elif evidence.mark() != known:
        raise StoreNotUsable(
            f"the evidence {evidence.shown} is not the one that other servers of this database "
            f"use; if it is a restored copy, write {known} into its {FILE}"
        )


def _make(path: Path) -> None:
    """Write a mark unless there is one."""
    scratch = path.with_name(f"{FILE}-{secrets.token_hex(8)}")
    files.write_file(scratch, secrets.token_hex(16).encode(), scratch=Path(f"{scratch}-new"))
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass  # another server was first
    finally:
        files.remove_file(scratch)
