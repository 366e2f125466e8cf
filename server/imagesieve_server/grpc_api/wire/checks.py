"""Limits on what callers write, and the one wording of each refusal.

Lengths are in characters. NUL is refused everywhere: some stores cannot keep it in a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagesieve_server.core.errors import InvalidRequest

MAX_ID = 128
MAX_REF = 512
MAX_TOKEN = 512
MAX_PAGE_TOKEN = 1024
MAX_NOTE = 4096
MAX_LIST = 64
MAX_LABELS = 16
MAX_LABEL_KEY = 64
MAX_LABEL_VALUE = 256


def text(field: str, value: str, *, limit: int, required: bool = False) -> str:
    """The value, checked. Raises InvalidRequest."""
    if required and not value:
        raise InvalidRequest(field, "is required")
    if len(value) > limit:
        raise InvalidRequest(field, f"has {len(value)} characters; at most {limit} are allowed")
    if "\0" in value:
        raise InvalidRequest(field, "contains a NUL character")
    return value


def texts(
    field: str, values: Sequence[str], *, limit: int = MAX_ID, required: bool = True
) -> tuple[str, ...]:
    """A list of at most 64 values, none of them empty where ``required``. Raises
    InvalidRequest."""
    if not values:
        return ()
    if len(values) > MAX_LIST:
        raise InvalidRequest(field, f"has {len(values)} entries; at most {MAX_LIST} are allowed")
    return tuple(
        text(f"{field}[{index}]", value, limit=limit, required=required)
        for index, value in enumerate(values)
    )


def labels(field: str, values: Mapping[str, str]) -> dict[str, str]:
    """At most 16 labels, keys 1 to 64 and values up to 256 characters. Raises InvalidRequest."""
    if not values:
        return {}
    if len(values) > MAX_LABELS:
        raise InvalidRequest(field, f"has {len(values)} entries; at most {MAX_LABELS} are allowed")
    for key, value in values.items():
        text(f"{field} key", key, limit=MAX_LABEL_KEY, required=True)
        text(f"{field} value", value, limit=MAX_LABEL_VALUE)
    return dict(values)


def within(field: str, value: int, *, low: int, high: int) -> int:
    """An integer in a closed range. Raises InvalidRequest."""
    if not low <= value <= high:
        raise InvalidRequest(field, f"is {value}; must be {low} to {high}")
    return value
