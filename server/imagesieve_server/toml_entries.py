"""Files that are one TOML list of tables, ``[[caller]]`` for example, and nothing beside it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import ConfigError


def toml_entries(content: bytes, name: str, *, file: Path) -> list[Any]:
    """The entries of a file's content, at least one; ``file`` is for messages.

    Raises ConfigError.
    """
    try:
        raw = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    entries = raw.pop(name, [])
    if raw:
        raise ConfigError(f"{file}: {min(raw)}: unknown key; known: [[{name}]]")
    if not isinstance(entries, list) or not entries:
        # Also what a file looks like that is just being written.
        raise ConfigError(f"{file}: holds no [[{name}]]")
    return entries
