"""Turns messages into frozen values and back, by a table of fields.

Knows the kinds of fields that protobuf has and nothing about any message of ours: those tables
are in ``wire.py`` and ``review_wire.py``. A field has one name on both sides; a test holds
that every table covers its message.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

E = TypeVar("E", bound=enum.StrEnum)
R = TypeVar("R")


class Field(Protocol):
    """How one field travels."""

    def read(self, message: Message, name: str) -> Any:
        """The value of the field ``name``."""

    def write(self, message: Message, name: str, value: Any) -> None:
        """Set the field ``name``."""


class Table(Generic[R]):
    """One message and the value that stands for it."""

    def __init__(
        self, result: Callable[..., R], message: Callable[[], Message], fields: Mapping[str, Field]
    ) -> None:
        self.result = result
        self.message = message
        self.fields = dict(fields)

    def read(self, message: Message, **own: Any) -> R:
        """The value; ``own`` are its fields that do not travel, or that replace one that does."""
        values = {name: field.read(message, name) for name, field in self.fields.items()}
        return self.result(**(values | own))

    def write(self, value: R) -> Any:
        """The message; fields of the value that the table does not list are left out."""
        message = self.message()
        for name, field in self.fields.items():
            field.write(message, name, getattr(value, name))
        return message


class _Plain:
    """A scalar that is always there."""

    def read(self, message: Message, name: str) -> Any:
        return getattr(message, name)

    def write(self, message: Message, name: str, value: Any) -> None:
        setattr(message, name, value)


class _Maybe:
    """A scalar that may be absent: None."""

    def read(self, message: Message, name: str) -> Any:
        return getattr(message, name) if message.HasField(name) else None

    def write(self, message: Message, name: str, value: Any) -> None:
        if value is not None:
            setattr(message, name, value)


class _Texts:
    """Repeated scalars: a tuple."""

    def read(self, message: Message, name: str) -> tuple[Any, ...]:
        return tuple(getattr(message, name))

    def write(self, message: Message, name: str, value: Any) -> None:
        getattr(message, name).extend(value)


class _Pairs:
    """A map of strings: a dict."""

    def read(self, message: Message, name: str) -> dict[str, str]:
        return dict(getattr(message, name))

    def write(self, message: Message, name: str, value: Any) -> None:
        getattr(message, name).update(value)


class _Time:
    """A timestamp that may be absent: an aware datetime in UTC, or None."""

    def read(self, message: Message, name: str) -> datetime | None:
        if not message.HasField(name):
            return None
        time: datetime = getattr(message, name).ToDatetime(tzinfo=UTC)
        return time

    def write(self, message: Message, name: str, value: datetime | None) -> None:
        if value is not None:
            getattr(message, name).FromDatetime(value)


class EnumField(Generic[E]):
    """A wire enum, with a fallback for the numbers that this client cannot name."""

    def __init__(self, members: Mapping[int, E], *, fallback: E) -> None:
        self._members = dict(members)
        self._numbers = {member: int(number) for number, member in members.items()}
        self._fallback = fallback

    def of(self, number: int) -> E:
        return self._members.get(number, self._fallback)

    def number(self, member: E) -> Any:
        """The wire's number; 0, every enum's UNSPECIFIED, for the fallback."""
        return self._numbers.get(member, 0)

    def read(self, message: Message, name: str) -> E:
        return self.of(getattr(message, name))

    def write(self, message: Message, name: str, value: E) -> None:
        setattr(message, name, self.number(value))


class One(Generic[R]):
    """A message inside the message, None where absent."""

    def __init__(self, table: Table[R]) -> None:
        self._table = table

    def read(self, message: Message, name: str) -> R | None:
        return self._table.read(getattr(message, name)) if message.HasField(name) else None

    def write(self, message: Message, name: str, value: R | None) -> None:
        if value is not None:
            getattr(message, name).CopyFrom(self._table.write(value))


class Many(Generic[R]):
    """Repeated messages: a tuple."""

    def __init__(self, table: Table[R]) -> None:
        self._table = table

    def read(self, message: Message, name: str) -> tuple[R, ...]:
        return tuple(self._table.read(inner) for inner in getattr(message, name))

    def write(self, message: Message, name: str, value: tuple[R, ...]) -> None:
        getattr(message, name).extend(self._table.write(inner) for inner in value)


PLAIN = _Plain()
MAYBE = _Maybe()
TEXTS = _Texts()
PAIRS = _Pairs()
TIME = _Time()


def plain(*names: str) -> dict[str, Field]:
    """These names as plain fields."""
    return dict.fromkeys(names, PLAIN)
