"""Between a SQL row and its value class, whose fields are named as the columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from imagesieve_server.core.groups import Fate, Progress
from imagesieve_server.core.review import Cause, Outcome, State
from imagesieve_server.core.verdict import ReasonCode, Verdict
from imagesieve_server.review_queue.golden_rows import GoldenRow
from imagesieve_server.review_queue.group_rows import GroupCloseRow
from imagesieve_server.review_queue.rows import DecisionRow

R = TypeVar("R")

_READ: Mapping[str, Callable[[Any], Any]] = {
    "state": State,
    "verdict": Verdict,
    "outcome": Outcome,
    "cause": Cause,
    "ended_by": Cause,
    "opened_by": Cause,
    "source": State,
    "target": State,
    "progress": Progress,
    "fate": Fate,
    "reasons": lambda codes: tuple(ReasonCode(code) for code in codes),
}
"""How a column's value becomes the row's; the others are as they are."""


def names_of(row_class: type[Any]) -> tuple[str, ...]:
    """The names of its columns."""
    return tuple(field.name for field in dataclasses.fields(row_class))


def value_of(row_class: type[R], row: sa.RowMapping) -> R:
    """The row's value."""
    return row_class(**{name: _value(row_class, name, row[name]) for name in names_of(row_class)})


def columns_of(row: Any) -> dict[str, Any]:
    """The value's columns. Enums are strings by themselves; JSON takes lists and dicts."""
    return {name: _plain(getattr(row, name)) for name in names_of(type(row))}


def changed_columns(before: Any, after: Any) -> dict[str, Any]:
    """The columns of ``after`` that are not as they were."""
    return {
        name: _plain(getattr(after, name))
        for name in names_of(type(after))
        if getattr(after, name) != getattr(before, name)
    }


def _value(row_class: type[Any], name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "labels" and row_class in (DecisionRow, GroupCloseRow, GoldenRow):
        return tuple(value)
    read = _READ.get(name)
    return value if read is None else read(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    return value
