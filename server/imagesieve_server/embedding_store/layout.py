"""Where kept embeddings lie: ``<root>/model=<fingerprint>/tenant=<name>/day=<date>/*.parquet``.

Knows names of folders and files, and nothing of what is in them. A query names its tenants and
opens no other's folder; what is too old goes by whole folders. The form ``key=value`` is what
Parquet readers understand as columns.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from imagesieve_server.core.tenant_folders import folder_name, tenant_of

SUFFIX = ".parquet"
SCRATCH = ".scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFolder:
    """One day of one tenant's images under one model."""

    path: Path
    model: str  # fingerprint
    tenant_folder: str  # as ``folder_name`` writes it
    day: date  # UTC

    @property
    def tenant(self) -> str:
        """The tenant for people to read; a very long one is named by its hash."""
        return tenant_of(self.tenant_folder) or self.tenant_folder

    def files(self) -> Sequence[Path]:
        """The store's files, in the order of their writing; none where it went meanwhile."""
        try:
            return sorted(p for p in self.path.iterdir() if p.name.endswith(SUFFIX))
        except FileNotFoundError:
            return ()


def new_file(root: Path, *, model: str, tenant: str, at: float) -> Path:
    """A file name that nobody has, in the folder of that time (seconds since the epoch)."""
    when = datetime.fromtimestamp(at, UTC)
    folder = root / f"model={model}" / f"tenant={folder_name(tenant)}" / f"day={when.date()}"
    return folder / f"{when:%H%M%S}-{secrets.token_hex(8)}{SUFFIX}"


def day_of(at: float) -> date:
    """The UTC day of a time in seconds since the epoch."""
    return datetime.fromtimestamp(at, UTC).date()


def day_folders(root: Path, *, tenant: str | None = None) -> Iterator[DayFolder]:
    """Every day of the store, or of one tenant, by model, tenant and day. What has another name
    is somebody else's and left alone. Raises OSError where ``root`` cannot be read."""
    wanted = None if tenant is None else folder_name(tenant)
    for model, model_path in _values(root, "model"):
        for name, tenant_path in _values(model_path, "tenant"):
            if wanted in (None, name):
                for text, path in _values(tenant_path, "day"):
                    day = _date(text)
                    if day is not None:
                        yield DayFolder(path=path, model=model, tenant_folder=name, day=day)


def remove_before(root: Path, day: date, *, removed: Callable[[Path], None]) -> None:
    """Remove whole days before that one, and the folders that are empty then.

    ``removed`` hears of each day's folder. Raises OSError.
    """
    for folder in list(day_folders(root)):
        if folder.day < day:
            shutil.rmtree(folder.path)
            removed(folder.path)
            for parent in (folder.path.parent, folder.path.parent.parent):
                if not any(parent.iterdir()):
                    parent.rmdir()


def size_bytes(root: Path) -> int:
    """What the store's files take. Raises OSError."""
    total = 0
    for folder in day_folders(root):
        for path in folder.files():
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
    return total


def _values(folder: Path, key: str) -> Sequence[tuple[str, Path]]:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    prefix = f"{key}="
    return [(n.removeprefix(prefix), folder / n) for n in names if n.startswith(prefix)]


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
