"""The endpoints file: who is told of decisions, where, and with which secrets.

Strict, as the callers file: an unknown key or an impossible value is an error that names file
and field. Secrets never appear in errors or logs.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.webhook_port import Endpoint
from imagesieve_server.core.webhooks import signing_key
from imagesieve_server.kept_files import Kept, KeptMetrics, read_contents
from imagesieve_server.toml_entries import toml_entries
from imagesieve_server.webhooks.where import Where, where_of

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_KEYS = frozenset(
    {
        "name", "tenant", "url", "secrets", "secret_files", "allow_http", "timeout_seconds",
        "concurrency", "give_up_hours", "from_oldest", "replay_dead_before",
    }
)  # fmt: skip
SECRETS_MAX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One endpoint of the file."""

    endpoint: Endpoint
    where: Where
    keys: tuple[bytes, ...] = field(repr=False)  # each signs, so that one can replace another
    timeout_s: float = 10.0
    concurrency: int = 8  # attempts at once
    give_up_s: float = 72 * 3600.0
    from_oldest: bool = False
    replay_before: float | None = None  # dead letters that died before then are tried again
    mark: str = ""  # of the file's content: an endpoint that is gone is asked again when it changes


Receivers = Mapping[str, Receiver]
"""By name."""


def kept_receivers(file: Path, *, metrics: KeptMetrics) -> Kept[Receivers]:
    """The file's endpoints, not yet loaded. The files of secrets that it names are watched, too."""
    return Kept(
        name="webhooks",
        paths=[file],
        further=lambda contents: secret_files(contents[0], file=file),
        read=lambda contents: parse_receivers(contents[0], file=file, secrets=contents[1:]),
        metrics=metrics,
    )


def read_receivers(file: Path) -> Receivers:
    """The file's endpoints, read once. Raises ConfigError."""
    (content,) = read_contents([file])
    secrets = read_contents(secret_files(content, file=file))
    return parse_receivers(content, file=file, secrets=secrets)


def secret_files(content: bytes, *, file: Path) -> list[Path]:
    """Those that a file's content names, relative to its folder, in their order; what is wrong
    with the content is said when it is parsed."""
    try:
        entries = tomllib.loads(content.decode()).get("endpoint", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return []
    found = []
    for entry in entries if isinstance(entries, list) else []:
        named = entry.get("secret_files", []) if isinstance(entry, dict) else []
        found += [n for n in named if isinstance(n, str)] if isinstance(named, list) else []
    return [file.parent / name for name in found]


def parse_receivers(content: bytes, *, file: Path, secrets: Sequence[bytes]) -> Receivers:
    """The endpoints of a file's content; ``secrets``: the contents of ``secret_files``, in their
    order. Raises ConfigError."""
    entries = toml_entries(content, "endpoint", file=file)
    mark = hashlib.sha256(content).hexdigest()[:16]
    rest = iter(secrets)
    found: dict[str, Receiver] = {}
    for index, entry in enumerate(entries):
        receiver = _Entry(entry, where=f"{file}: endpoint[{index}]").receiver(
            mark=mark, next_secret=lambda: next(rest)
        )
        if receiver.endpoint.name in found:
            raise ConfigError(
                f"{file}: endpoint[{index}]: name: {receiver.endpoint.name!r} stands twice"
            )
        found[receiver.endpoint.name] = receiver
    return found


class _Entry:
    """Reads one entry."""

    def __init__(self, entry: Any, *, where: str) -> None:
        self._where = where
        if not isinstance(entry, dict):
            raise self._error("", "must be a table, [[endpoint]]")
        self._entry: dict[str, Any] = entry
        if isinstance(entry.get("name"), str):
            self._where += f" ({entry['name'][:64]!r})"
        if unknown := sorted(entry.keys() - _KEYS):
            raise self._error(unknown[0], f"unknown key; known: {', '.join(sorted(_KEYS))}")

    def receiver(self, *, mark: str, next_secret: Callable[[], bytes]) -> Receiver:
        return Receiver(
            endpoint=Endpoint(
                tenant=self._matching("tenant", _TENANT, "1 to 64 letters, digits and . _ -"),
                name=self._matching("name", _NAME, "1 to 64 small letters, digits and _ -"),
            ),
            where=self._address(),
            keys=self._signing_keys(next_secret),
            timeout_s=self._number("timeout_seconds", 10.0, low=1, high=60),
            concurrency=int(self._number("concurrency", 8, low=1, high=64)),
            give_up_s=self._number("give_up_hours", 72.0, low=1, high=24 * 365) * 3600,
            from_oldest=self._flag("from_oldest"),
            replay_before=self._moment("replay_dead_before"),
            mark=mark,
        )

    def _error(self, key: str, problem: str) -> ConfigError:
        return ConfigError(": ".join(part for part in (self._where, key, problem) if part))

    def _matching(self, key: str, pattern: re.Pattern[str], words: str) -> str:
        value = self._entry.get(key)
        if not isinstance(value, str) or not pattern.match(value):
            raise self._error(key, f"must be {words}")
        return value

    def _address(self) -> Where:
        try:
            return where_of(self._entry.get("url"), allow_http=self._flag("allow_http"))
        except ValueError as problem:
            raise self._error("url", str(problem)) from None

    def _signing_keys(self, next_secret: Callable[[], bytes]) -> tuple[bytes, ...]:
        secrets = self._texts("secrets")
        for _ in self._texts("secret_files"):
            secrets.append(next_secret().decode("ascii", "replace").strip())
        if not 0 < len(secrets) <= SECRETS_MAX:
            raise self._error(
                "secrets", f"give 1 to {SECRETS_MAX}, here or in files named in secret_files"
            )
        try:
            return tuple(signing_key(secret) for secret in secrets)
        except ValueError as problem:
            raise self._error("secrets", f"one of them {problem}") from None

    def _texts(self, key: str) -> list[str]:
        values = self._entry.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._error(key, "must be a list of texts")
        return list(values)

    def _flag(self, key: str) -> bool:
        value = self._entry.get(key, False)
        if not isinstance(value, bool):
            raise self._error(key, "must be true or false")
        return value

    def _moment(self, key: str) -> float | None:
        value = self._entry.get(key)
        if value is None:
            return None
        if not isinstance(value, datetime.datetime) or value.tzinfo is None:
            raise self._error(key, "must be a time with a zone, for example 2027-01-31T12:00:00Z")
        return value.timestamp()

    def _number(self, key: str, default: float, *, low: float, high: float) -> float:
        value = self._entry.get(key, default)
        whole = isinstance(default, int)
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise self._error(key, f"must be a {'whole ' if whole else ''}number, {low} to {high}")
        return float(value)
