"""Reading what was kept: days of the tenants asked for, block by block.

One file is in memory at a time. A server may write, and remove what is too old, meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from imagesieve_server.core.errors import ConfigError, EmbeddingsDamaged
from imagesieve_server.core.kept import KeptBlock
from imagesieve_server.embedding_store import layout, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is asked for."""

    tenants: tuple[str, ...]  # () is every tenant
    since: date | None = None  # the first UTC day
    until: date | None = None  # the last UTC day, itself included

    def has(self, day: date) -> bool:
        """Whether the day is asked for."""
        return (self.since is None or self.since <= day) and (
            self.until is None or day <= self.until
        )


@dataclass(slots=True, kw_only=True)
class Damage:
    """Files that were passed over, and why."""

    problems: list[str] = field(default_factory=list)


class StoreReader:
    """Reads one store."""

    def __init__(self, *, root: Path) -> None:
        """Raises ConfigError where there is no such folder."""
        if not root.is_dir():
            raise ConfigError(f"{root}: there is no such folder")
        self._root = root

    def folders(self, part: Part) -> Sequence[layout.DayFolder]:
        """The days that are asked for, of every model."""
        found: list[layout.DayFolder] = []
        for tenant in part.tenants or (None,):
            found += layout.day_folders(self._root, tenant=tenant)
        return [folder for folder in found if part.has(folder.day)]

    def blocks(
        self, folders: Sequence[layout.DayFolder], *, damage: Damage | None = None
    ) -> Iterator[tuple[layout.DayFolder, KeptBlock]]:
        """Every block of these days. Files that went meanwhile are no error.

        A damaged file is passed over and told to ``damage``; without it, raises
        EmbeddingsDamaged.
        """
        for folder in folders:
            for path in folder.files():
                try:
                    for block in rows.blocks(
                        path, tenant_folder=folder.tenant_folder, model=folder.model
                    ):
                        yield folder, block
                except FileNotFoundError:
                    continue
                except EmbeddingsDamaged as problem:
                    if damage is None:
                        raise
                    damage.problems.append(problem.message)
