"""Reads the settings: one TOML file, overridden by environment variables.

A variable is ``IMAGESIEVE__SECTION__KEY``. The environment is handed in as an argument and read
here only. An unknown key is an error: a misspelt limit must not silently be the default.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from imagesieve_server.config.checks import check
from imagesieve_server.config.settings import Settings
from imagesieve_server.core.errors import ConfigError

ENV_PREFIX = "IMAGESIEVE__"


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the file (None: defaults only) and the environment. Raises ConfigError."""
    raw = _read_file(path) if path is not None else {}
    settings = Settings(**{name: _section(name, raw.pop(name, {})) for name in _sections()})
    if raw:
        raise ConfigError(f"unknown section {sorted(raw)[0]!r}; known: {', '.join(_sections())}")
    for variable in sorted(environ):
        if variable.startswith(ENV_PREFIX):
            settings = _override(settings, variable, environ[variable])
    check(settings)
    return settings


def _sections() -> dict[str, type[Any]]:
    return get_type_hints(Settings)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _section(name: str, raw: Any) -> Any:
    kind = _sections()[name]
    if not isinstance(raw, dict):
        raise ConfigError(f"{name}: must be a table")
    hints = get_type_hints(kind)
    for key, value in raw.items():
        if key not in hints:
            raise ConfigError(f"{name}.{key}: unknown setting; known: {', '.join(hints)}")
        raw[key] = _typed(f"{name}.{key}", value, hints[key])
    return kind(**raw)


def _typed(where: str, value: Any, kind: type[Any]) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: must be {_NAMES[kind]}, not {value!r}")
    return value


_NAMES: dict[type[Any], str] = {
    str: "text", int: "a whole number", float: "a number", bool: "true or false",
}  # fmt: skip


def _override(settings: Settings, variable: str, text: str) -> Settings:
    section, _, key = variable.removeprefix(ENV_PREFIX).lower().partition("__")
    kind = _sections().get(section)
    hints = get_type_hints(kind) if kind else {}
    if key not in hints:
        raise ConfigError(f"environment variable {variable}: no such setting")
    try:
        value = text if hints[key] is str else tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise ConfigError(
            f"environment variable {variable}: must be {_NAMES[hints[key]]}, not {text!r}"
        ) from None
    value = _typed(f"environment variable {variable}", value, hints[key])
    changed = dataclasses.replace(getattr(settings, section), **{key: value})
    return dataclasses.replace(settings, **{section: changed})
