"""Whether an evidence folder is the one that a database's other servers use.

Servers that share a database and not the folder would each have some of the pictures, and
show none of the others'. So the folder carries a mark that the database knows. Knows a file and
a row, not what is kept.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from imagesieve_server import durable_files as files
from imagesieve_server.core.errors import StoreNotUsable
from imagesieve_server.review_queue.rows import Transaction

FILE = ".database"
"""In the root of the folder. No tenant's folder begins with a dot."""
MARK = "evidence"


def require_same_folder(tx: Transaction, root: Path) -> None:
    """Compare the marks, and make them where there are none yet. Raises StoreNotUsable."""
    known = tx.mark(MARK)
    try:
        found = _made(root / FILE) if known is None else (root / FILE).read_text().strip()
    except FileNotFoundError:
        found = ""
    except (OSError, UnicodeDecodeError) as problem:
        raise StoreNotUsable(f"the evidence folder {root} cannot be used: {problem}") from problem
    if known is None:
        tx.add_mark(MARK, found)
    elif found != known:
        raise StoreNotUsable(
            f"the evidence folder {root} is not the one that other servers of this database use; "
            f"if it is a restored copy, write {known} into its file {FILE}"
        )


def _made(path: Path) -> str:
    """The mark in the file, which is made where it is missing, by one server of all."""
    scratch = path.with_name(f"{FILE}-{secrets.token_hex(8)}")
    files.write_file(scratch, secrets.token_hex(16).encode(), scratch=Path(f"{scratch}-new"))
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass  # another server was first
    finally:
        files.remove_file(scratch)
    return path.read_text().strip()
