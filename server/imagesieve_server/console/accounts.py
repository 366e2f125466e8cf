"""The accounts file: who may use the console, in which role, for which tenants.

Strict, as the callers file: an unknown key or an impossible value is an error that names file
and field. It reads text; ``passwords.py`` believes.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.kept_files import Kept, KeptMetrics, read_contents
from imagesieve_server.toml_entries import toml_entries

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_MAX_NAME = 128
_KEYS = frozenset({"name", "role", "tenants", "password_argon2"})


class ConsoleRole(enum.StrEnum):
    """What a person is there for; each may do what those before it may."""

    REVIEWER = "reviewer"  # claims, looks, decides
    LEAD = "lead"  # decides what was escalated, sees every item, puts parked ones back
    ADMIN = "admin"  # decides what leads escalated

    @property
    def tiers(self) -> tuple[int, ...]:
        """The tiers of the queue that this role decides, the highest first."""
        return {self.REVIEWER: (1,), self.LEAD: (2, 1), self.ADMIN: (3, 2, 1)}[self]

    @property
    def leads(self) -> bool:
        """Whether it sees more than the item in hand."""
        return self is not ConsoleRole.REVIEWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One person of the file."""

    name: str
    role: ConsoleRole
    tenants: tuple[str, ...]  # the first is the one to begin with
    password: str = ""  # as argon2 encodes it; "" where only a trusted proxy may name the person

    @property
    def fingerprint(self) -> str:
        """Of everything above: a session belongs to the account as it was when it began."""
        parts = [self.name, self.role.value, *sorted(self.tenants), self.password]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


Accounts = Mapping[str, Account]
"""By name."""


def kept_accounts(file: Path, *, metrics: KeptMetrics) -> Kept[Accounts]:
    """The file's accounts, not yet loaded."""

    def read(contents: tuple[bytes, ...]) -> Accounts:
        return parse_accounts(contents[0], file=file)

    return Kept(name="accounts", paths=[file], read=read, metrics=metrics)


def read_accounts(file: Path) -> Accounts:
    """The file's accounts, read once. Raises ConfigError."""
    (content,) = read_contents([file])
    return parse_accounts(content, file=file)


def parse_accounts(content: bytes, *, file: Path) -> Accounts:
    """Read the file's text; ``file`` is for messages. Raises ConfigError."""
    entries = toml_entries(content, "account", file=file)
    accounts: dict[str, Account] = {}
    for index, entry in enumerate(entries):
        account = _account(entry, where=f"{file}: account[{index}]")
        if account.name in accounts:
            raise ConfigError(f"{file}: account[{index}]: name: {account.name!r} stands twice")
        accounts[account.name] = account
    return accounts


def check_name(name: object, *, where: str) -> str:
    """An account's name. Raises ConfigError."""
    if not isinstance(name, str) or not 0 < len(name.strip()) == len(name) <= _MAX_NAME:
        raise ConfigError(f"{where}: name: must be text of 1 to {_MAX_NAME} characters")
    if not name.isprintable():
        raise ConfigError(f"{where}: name: has a character that cannot be printed")
    return name


def check_tenants(tenants: object, *, where: str) -> tuple[str, ...]:
    """The tenants of an account. Raises ConfigError."""
    if not isinstance(tenants, list | tuple) or not tenants:
        raise ConfigError(f"{where}: tenants: must be a list of one tenant or more")
    for tenant in tenants:
        if not isinstance(tenant, str) or not _TENANT.match(tenant):
            raise ConfigError(f"{where}: tenants: each must be 1 to 64 letters, digits and . _ -")
    return tuple(dict.fromkeys(tenants))


def _account(entry: Any, *, where: str) -> Account:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: must be a table, [[account]]")
    if unknown := sorted(entry.keys() - _KEYS):
        known = ", ".join(sorted(_KEYS))
        raise ConfigError(f"{where}: {unknown[0]}: unknown key; known: {known}")
    name = check_name(entry.get("name"), where=where)
    where += f" ({name!r})"
    role = entry.get("role")
    if role not in [known.value for known in ConsoleRole]:
        raise ConfigError(f"{where}: role: must be one of {', '.join(ConsoleRole)}")
    password = entry.get("password_argon2", "")
    if not isinstance(password, str) or (password and not password.startswith("$argon2id$")):
        raise ConfigError(
            f"{where}: password_argon2: must be what `imagesieve-server console new-account` prints"
        )
    return Account(
        name=name,
        role=ConsoleRole(role),
        tenants=check_tenants(entry.get("tenants"), where=where),
        password=password,
    )
