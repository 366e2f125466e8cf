"""Passwords and what the accounts file keeps of them (argon2id).

Knows how costly a check is: it runs in a thread, few at a time, and costs the same whether
the name exists or not.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

import argon2

MIN_LENGTH: Final = 12
_MAX_LENGTH: Final = 512
_AT_ONCE: Final = 2  # each check holds 64 MiB
_WAITING: Final = 32  # more are refused, or a flood of sign-ins would fill the memory


class TooManyChecks(Exception):
    """So many passwords wait to be checked that one more would only wait longer."""


class Passwords:
    """Checks passwords for one event loop."""

    def __init__(self, *, hasher: argon2.PasswordHasher | None = None) -> None:
        """``hasher`` sets the cost; by default RFC 9106's second choice, 64 MiB."""
        self._hasher = hasher or argon2.PasswordHasher()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        # Checked where there is no account, so that both take as long.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))

    async def matches(self, encoded: str, password: str) -> bool:
        """Whether ``password`` is the one that ``encoded`` keeps; "" is nobody's.

        Raises TooManyChecks.
        """
        if self._waiting >= _WAITING:
            raise TooManyChecks
        self._waiting += 1
        try:
            async with self._slots:
                right = await asyncio.to_thread(
                    self._check, encoded or self._nobody, password[:_MAX_LENGTH]
                )
        finally:
            self._waiting -= 1
        return right and bool(encoded) and len(password) <= _MAX_LENGTH

    def _check(self, encoded: str, password: str) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False


def encode_password(password: str) -> str:
    """What the accounts file keeps of a password. Raises ValueError where it is too short."""
    if not MIN_LENGTH <= len(password) <= _MAX_LENGTH:
        raise ValueError(f"a password has {MIN_LENGTH} to {_MAX_LENGTH} characters")
    return argon2.PasswordHasher().hash(password)
