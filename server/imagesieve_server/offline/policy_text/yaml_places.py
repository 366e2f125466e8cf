"""Where the parts of a YAML text stand, as a tree of places, so that a value can be replaced with
every other character left as it is. Knows YAML's events; knows nothing about policies.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamStartEvent,
)

Splice = tuple[int, int, str]
"""Characters from, to (outside), and what comes in their place."""


@dataclass(slots=True, kw_only=True)
class Place:
    """One node of the text: characters ``start`` to ``end``, the end outside.

    A block mapping or list ends with its last part, before any comment behind it. A value that
    is absent stands behind its key's colon.
    """

    start: int  # without an anchor or a tag before it
    end: int
    line: int  # 1-based
    column: int  # of ``start``, 0-based
    scalar: str | None = None  # a scalar's value
    alias: bool = False
    flow: bool = False  # a mapping or list written with brackets
    pairs: list[tuple[Place, Place]] = field(default_factory=list)  # of a mapping
    items: list[Place] = field(default_factory=list)  # of a list

    def pair(self, key: str) -> tuple[Place, Place] | None:
        """The key's and the value's place, where this mapping itself has the key."""
        return next((pair for pair in self.pairs if pair[0].scalar == key), None)

    def value(self, key: str) -> Place | None:
        """The value under ``key``."""
        found = self.pair(key)
        return found[1] if found else None


def places(text: str) -> Place:
    """The tree of a text that is known to be one valid YAML document."""
    events = iter(YAML(typ="safe", pure=True).parse(io.StringIO(text)))
    event = next(events)
    while isinstance(event, StreamStartEvent | DocumentStartEvent):
        event = next(events)
    return _place(event, events, text)


def _place(event: Any, events: Iterator[Any], text: str) -> Place:
    start = _behind_properties(event, text)
    mark = event.start_mark
    place = Place(
        start=start,
        end=event.end_mark.index,
        line=mark.line + 1,
        column=start - (text.rfind("\n", 0, start) + 1),
    )
    if isinstance(event, ScalarEvent):
        place.scalar = event.value
    elif isinstance(event, AliasEvent):
        place.alias = True
    elif isinstance(event, MappingStartEvent | SequenceStartEvent):
        place.flow = bool(event.flow_style)
        end = _children(place, event, events, text)
        place.end = end.end_mark.index if place.flow else max(place.end, _last(place))
    return place


def _children(place: Place, opening: Any, events: Iterator[Any], text: str) -> Any:
    """Fill a collection; returns the event that closes it."""
    while True:
        event = next(events)
        if type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent"):
            return event
        first = _place(event, events, text)
        if isinstance(opening, SequenceStartEvent):
            place.items.append(first)
        else:
            value = _place(next(events), events, text)
            _move_behind_colon(first, value, text)
            place.pairs.append((first, value))


def _move_behind_colon(key: Place, value: Place, text: str) -> None:
    """Put an absent value where it would stand; YAML reports it where the next thing begins."""
    if value.start != value.end:
        return
    colon = text.find(":", key.end)
    if colon >= 0 and not text[key.end : colon].strip():
        value.start = value.end = colon + 1


def _last(place: Place) -> int:
    ends = [part.end for pair in place.pairs for part in pair]
    return max([*ends, *(item.end for item in place.items)], default=0)


def _behind_properties(event: Any, text: str) -> int:
    """Where the node's own text begins, behind ``&anchor`` and ``!tag``."""
    at: int = event.start_mark.index
    if isinstance(event, AliasEvent):
        return at
    while at < event.end_mark.index and text[at] in "&!":
        while at < len(text) and not text[at].isspace():
            at += 1
        while at < len(text) and text[at].isspace():
            at += 1
    return at


def item_with(top: Place, lists: str, *, key: str, value: str) -> Place | None:
    """The first item of the list at ``lists`` that has ``value`` at ``key``."""
    found = top.value(lists)
    for item in found.items if found else ():
        place = item.value(key)
        if place is not None and place.scalar == value:
            return item
    return None


def spliced(text: str, splices: Iterable[Splice]) -> str:
    """The text with replacements and insertions; those at one place stand in the order given."""
    new, at = "", 0
    for start, end, inserted in sorted(splices, key=lambda splice: splice[:2]):
        new += text[at:start] + inserted
        at = end
    return new + text[at:]
