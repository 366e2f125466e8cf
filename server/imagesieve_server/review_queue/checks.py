"""Refusing values that a store could not keep, by name, before a transaction sees them.

A value that only the database refuses would fail everything in its group. Knows what every
supported database takes; limits of length are the caller's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from imagesieve_server.core.errors import InvalidRequest

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
MAX_INT = 2**63 - 1


def text(field: str, value: str, *, required: bool = False) -> None:
    """Refuse what is not UTF-8 or holds U+0000 (PostgreSQL cannot keep it)."""
    if required and not value:
        raise InvalidRequest(field, "must not be empty")
    if "\x00" in value:
        raise InvalidRequest(field, "must not contain U+0000")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(field, "is not valid Unicode text") from None


def texts(field: str, values: Iterable[str]) -> None:
    for value in values:
        text(field, value)


def is_sha256(value: str) -> bool:
    return _SHA256.match(value) is not None


def sha256(field: str, value: str) -> None:
    if not is_sha256(value):
        raise InvalidRequest(field, "must be 64 lower-case hexadecimal digits")


def within(field: str, value: float, *, low: float, high: float) -> None:
    """Refuse a number outside [low, high]; NaN is outside."""
    if not low <= value <= high:
        raise InvalidRequest(field, f"must be between {low:g} and {high:g}")
