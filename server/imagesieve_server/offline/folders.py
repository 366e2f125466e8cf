"""Folders that a command writes to: made before its work, or refused by name."""

from __future__ import annotations

from pathlib import Path

from imagesieve_server.core.errors import ConfigError


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Make a folder, and those above it, where it is not there yet. Raises ConfigError."""
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from None
