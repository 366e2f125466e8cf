"""One part of a report, in all three forms. A report is a list of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from imagesieve_server.offline.report.numbers import THIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part with a heading of its own."""

    id: str  # key in the JSON, anchor in the page: a-z and _
    title: str  # plain text
    text: str  # for a terminal, several lines; "" where it has nothing to add
    data: Any  # plain values for JSON, no NaN
    html: Callable[[], str] = str  # the body, escaped; called only where a page is written
    entries: Sequence[tuple[str, str]] = ()  # (anchor, plain text): its parts in the contents


def as_text(sections: Sequence[Section]) -> str:
    """All sections for a terminal: plain spaces, and nothing that could steer it."""
    text = "\n\n".join(one.text for one in sections if one.text)
    return "".join(_printable(character) for character in text)


def _printable(character: str) -> str:
    if character == THIN:
        return " "
    return character if character.isprintable() or character == "\n" else "\ufffd"


def as_json(head: dict[str, Any], sections: Sequence[Section]) -> dict[str, Any]:
    """``head``, then each section by its id."""
    return {**head, **{one.id: one.data for one in sections}}
