"""The callers file: who may call, for which tenant, in which roles, and what proves it.

Strict: an unknown key or an impossible value is an error that names file and field, for a
misspelt role must not silently be none. It reads text; ``caller_authenticator.py`` believes.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.grpc_api.identity import Identity, Role
from imagesieve_server.kept_files import Kept, KeptMetrics, read_contents
from imagesieve_server.toml_entries import toml_entries

TOKEN_PREFIX = "ims_"

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_CERTIFICATE = re.compile(r"(URI|DNS|CN):(\S(?:.*\S)?)\Z")
_MAX_NAME = 128
_NOTHING = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerRecord:
    """One caller of the file."""

    identity: Identity
    token_sha256: tuple[str, ...] = ()  # of its tokens; several while one replaces another
    certificates: tuple[str, ...] = ()  # names such as DNS:uploads.example.com
    expires_at: float | None = None  # Unix time from which on it is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """All callers, by what proves them."""

    records: tuple[CallerRecord, ...]
    by_token: Mapping[str, CallerRecord] = field(init=False)  # by the token's sha256
    by_certificate: Mapping[str, CallerRecord] = field(init=False)

    def __post_init__(self) -> None:
        tokens = {digest: r for r in self.records for digest in r.token_sha256}
        names = {name: r for r in self.records for name in r.certificates}
        object.__setattr__(self, "by_token", tokens)
        object.__setattr__(self, "by_certificate", names)


def token_digest(token: str) -> str:
    """What the file keeps of a token. Tokens are 256 random bits, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """A token of 256 random bits; the prefix lets scanners find one where it must not be."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def certificate_name(kind: str, value: str) -> str:
    """A certificate's name as the file has it; ``kind`` is URI, DNS or CN."""
    return f"{kind}:{value.lower() if kind == 'DNS' else value}"


def kept_callers(file: Path, *, client_ca: bool, metrics: KeptMetrics) -> Kept[Callers]:
    """The file's callers, not yet loaded. ``client_ca``: callers can show certificates."""

    def read(contents: tuple[bytes, ...]) -> Callers:
        return _checked(parse_callers(contents[0], file=file), file=file, client_ca=client_ca)

    return Kept(name="callers", paths=[file], read=read, metrics=metrics)


def read_callers(file: Path, *, client_ca: bool) -> Callers:
    """The file's callers, read once. Raises ConfigError."""
    (content,) = read_contents([file])
    return _checked(parse_callers(content, file=file), file=file, client_ca=client_ca)


def _checked(callers: Callers, *, file: Path, client_ca: bool) -> Callers:
    if callers.by_certificate and not client_ca:
        raise ConfigError(
            f"{file}: has certificates, but without server.tls_client_ca nobody shows one"
        )
    return callers


def parse_callers(content: bytes, *, file: Path) -> Callers:
    """The callers of a file's content. Raises ConfigError."""
    entries = toml_entries(content, "caller", file=file)
    reader = _Reader(file)
    return Callers(records=tuple(reader.record(i, entry) for i, entry in enumerate(entries)))


class _Reader:
    """Reads entries; remembers what may stand in one place only."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._where = ""
        self._taken: set[tuple[str, str]] = set()

    def record(self, index: int, entry: Any) -> CallerRecord:
        self._where = f"{self._file}: caller[{index}]"
        if not isinstance(entry, dict):
            raise self._error("", "must be a table, [[caller]]")
        if isinstance(entry.get("name"), str):
            self._where += f" ({entry['name'][:_MAX_NAME]!r})"
        if unknown := sorted(entry.keys() - _KEYS):
            raise self._error(unknown[0], f"unknown key; known: {', '.join(sorted(_KEYS))}")
        record = CallerRecord(
            identity=Identity(
                tenant=self._tenant(entry), name=self._name(entry), roles=self._roles(entry)
            ),
            token_sha256=self._once("token_sha256", self._tokens(entry)),
            certificates=self._once("certificates", self._certificates(entry)),
            expires_at=self._expires(entry.get("expires")),
        )
        if not record.token_sha256 and not record.certificates:
            raise self._error("", "has neither token_sha256 nor certificates, so nothing proves it")
        return record

    def _error(self, key: str, problem: str) -> ConfigError:
        return ConfigError(": ".join(part for part in (self._where, key, problem) if part))

    def _name(self, entry: Mapping[str, Any]) -> str:
        name = entry.get("name")
        if not isinstance(name, str) or not 0 < len(name.strip()) == len(name) <= _MAX_NAME:
            raise self._error("name", f"must be text of 1 to {_MAX_NAME} characters")
        if not name.isprintable():
            raise self._error("name", "has a character that cannot be printed")
        self._once("name", (name,))
        return name

    def _tenant(self, entry: Mapping[str, Any]) -> str:
        tenant = entry.get("tenant")
        if not isinstance(tenant, str) or not _TENANT.match(tenant):
            raise self._error("tenant", "must be 1 to 64 letters, digits and . _ -")
        return tenant

    def _roles(self, entry: Mapping[str, Any]) -> frozenset[Role]:
        roles = self._texts(entry, "roles")
        known = {role.value for role in Role}
        for role in roles:
            if role not in known:
                raise self._error("roles", f"unknown role {role!r}; known: {', '.join(Role)}")
        if not roles:
            raise self._error("roles", f"must name at least one of {', '.join(Role)}")
        return frozenset(Role(role) for role in roles)

    def _tokens(self, entry: Mapping[str, Any]) -> tuple[str, ...]:
        digests = self._texts(entry, "token_sha256")
        for digest in digests:
            if not _SHA256.match(digest) or digest == _NOTHING:
                raise self._error(
                    "token_sha256",
                    "each must be 64 lower-case hexadecimal digits, as "
                    "`imagesieve-server caller new-token` prints them",
                )
        return digests

    def _certificates(self, entry: Mapping[str, Any]) -> tuple[str, ...]:
        names = []
        for text in self._texts(entry, "certificates"):
            found = _CERTIFICATE.match(text)
            if not found or "*" in text:
                raise self._error(
                    "certificates", f"{text!r} must be URI:…, DNS:… or CN:… without a wildcard"
                )
            names.append(certificate_name(found[1], found[2]))
        return tuple(names)

    def _texts(self, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
        values = entry.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._error(key, "must be a list of texts")
        return tuple(values)

    def _once(self, key: str, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if (key, value) in self._taken:
                raise self._error(key, f"{value!r} stands in the file twice")
            self._taken.add((key, value))
        return values

    def _expires(self, value: Any) -> float | None:
        """A date is good until its end in UTC."""
        if value is None:
            return None
        if isinstance(value, datetime.datetime):
            if value.tzinfo is None:
                raise self._error(
                    "expires", "a time needs a zone, for example 2027-01-31T12:00:00Z"
                )
            return value.timestamp()
        if isinstance(value, datetime.date):
            end = datetime.datetime.combine(value, datetime.time.max, datetime.UTC)
            return end.timestamp()
        raise self._error("expires", "must be a date or a time, without quotes")


_KEYS = frozenset({"name", "tenant", "roles", "token_sha256", "certificates", "expires"})
