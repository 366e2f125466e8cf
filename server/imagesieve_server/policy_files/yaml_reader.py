"""Typed reading of a YAML mapping whose every error names file, line and field.

Knows YAML positions; knows nothing about policies.
"""

from __future__ import annotations

import difflib
import enum
import io
import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from imagesieve_server.core.errors import PolicyError

MAX_TEXT = 1 << 20
"""A policy file may have this many characters."""

E = TypeVar("E", bound=enum.StrEnum)
_REQUIRED: Any = object()


def read_mapping(text: str, *, file: str) -> Node:
    """Parse one YAML document whose top is a mapping. Raises PolicyError."""
    if len(text) > MAX_TEXT:
        raise PolicyError(f"the file has more than {MAX_TEXT} characters", file=file)
    yaml = YAML(typ="rt", pure=True)
    yaml.allow_duplicate_keys = False
    try:
        top = yaml.load(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark is not None else None
        raise PolicyError(f"not valid YAML: {error.problem}", file=file, line=line) from None
    except (YAMLError, ValueError, RecursionError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise PolicyError(f"not valid YAML: {first_line}", file=file) from None
    if not isinstance(top, CommentedMap):
        raise PolicyError("the file must be a mapping of settings", file=file, line=1)
    return Node(top, file=file, path="", line=1)


class Node:
    """A YAML mapping with its place in the file. Each reader raises PolicyError."""

    def __init__(self, data: CommentedMap, *, file: str, path: str, line: int) -> None:
        self._data = data
        self._file = file
        self._path = path
        self._line = line

    def error(self, field: str, problem: str) -> PolicyError:
        """An error at ``field`` ("" for the mapping itself)."""
        return PolicyError(
            problem, file=self._file, line=self._line_of(field), field=self._name(field)
        )

    def only(self, known: Iterable[str]) -> None:
        """Refuse keys that are not in ``known``."""
        allowed = sorted(known)
        for key in self._data:
            if key not in allowed:
                alike = difflib.get_close_matches(str(key), allowed, n=1)
                meant = f"; did you mean {alike[0]!r}?" if alike else ""
                raise self.error(str(key), f"unknown key{meant} (known here: {', '.join(allowed)})")

    def has(self, key: str) -> bool:
        """Whether the key is present and not null."""
        return self._data.get(key) is not None

    def text(self, key: str, default: str = _REQUIRED) -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"must be text, not {_kind(value)}")
        return str(value)

    def whole(self, key: str, *, low: int, high: int, default: int = _REQUIRED) -> int:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(key, f"must be a whole number from {low} to {high}, not {value!r}")
        return int(value)

    def number(self, key: str) -> float:
        value = self._get(key, _REQUIRED)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, not {_kind(value)}")
        if not math.isfinite(value):
            raise self.error(key, "must be a finite number")
        return float(value)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        value = self._get(key, _REQUIRED)
        if not isinstance(value, CommentedSeq):
            raise self.error(key, f"must be a list, not {_kind(value)}")
        for position, entry in enumerate(value):
            if isinstance(entry, bool) or not isinstance(entry, int | float):
                raise self.error(f"{key}[{position}]", f"must be a number, not {_kind(entry)}")
            if not math.isfinite(entry):
                raise self.error(f"{key}[{position}]", "must be a finite number")
        return tuple(float(entry) for entry in value)

    def truth(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {_kind(value)}")
        return value

    def choice(self, key: str, kind: type[E], default: E = _REQUIRED) -> E:
        value = self._get(key, default)
        try:
            return kind(value)
        except ValueError:
            choices = ", ".join(member.value for member in kind)
            raise self.error(key, f"must be one of {choices}, not {value!r}") from None

    def texts(self, key: str, *, required: bool = True) -> tuple[str, ...]:
        """A list of non-empty, distinct texts."""
        value = self._get(key, _REQUIRED if required else ())
        if not isinstance(value, CommentedSeq | tuple):
            raise self.error(key, f"must be a list, not {_kind(value)}")
        if required and not value:
            raise self.error(key, "must not be empty")
        seen: set[str] = set()
        for position, entry in enumerate(value):
            line = value.lc.item(position)[0] + 1 if isinstance(value, CommentedSeq) else None
            field = self._name(f"{key}[{position}]")
            if not isinstance(entry, str) or not entry.strip():
                raise PolicyError(
                    f"must be text, not {_kind(entry)}", file=self._file, line=line, field=field
                )
            if entry in seen:
                raise PolicyError(f"{entry!r} twice", file=self._file, line=line, field=field)
            seen.add(str(entry))
        return tuple(str(entry) for entry in value)

    def child(self, key: str) -> Node:
        """The mapping under ``key``."""
        value = self._get(key, _REQUIRED)
        if not isinstance(value, CommentedMap):
            raise self.error(key, f"must be a mapping, not {_kind(value)}")
        return Node(value, file=self._file, path=self._name(key), line=self._line_of(key) or 0)

    def children(self, key: str) -> Iterator[Node]:
        """The mappings of the list under ``key``; at least one."""
        value = self._get(key, _REQUIRED)
        if not isinstance(value, CommentedSeq) or not value:
            raise self.error(key, "must be a list with at least one entry")
        for position, entry in enumerate(value):
            path = self._name(f"{key}[{position}]")
            line = value.lc.item(position)[0] + 1
            if not isinstance(entry, CommentedMap):
                raise PolicyError(
                    f"must be a mapping, not {_kind(entry)}",
                    file=self._file, line=line, field=path,
                )  # fmt: skip
            yield Node(entry, file=self._file, path=path, line=line)

    def names(self) -> tuple[str, ...]:
        return tuple(str(key) for key in self._data)

    def is_mapping(self, key: str) -> bool:
        return isinstance(self._data.get(key), CommentedMap)

    def _get(self, key: str, default: Any) -> Any:
        value = self._data.get(key)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise self.error(key, "is missing")
        return default

    def _name(self, field: str) -> str:
        return f"{self._path}.{field}" if self._path and field else self._path or field

    def _line_of(self, field: str) -> int | None:
        try:
            return int(self._data.lc.key(field)[0]) + 1
        except (KeyError, AttributeError, TypeError):
            return self._line


def _kind(value: Any) -> str:
    """What a policy person would call this value."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true/false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "empty text" if not value.strip() else "text"
    if isinstance(value, CommentedMap):
        return "a mapping"
    return "a list"
