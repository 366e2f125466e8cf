"""A probe put into a policy's YAML, with every other character left alone.

What has no effect beside a probe (prompts) or was measured on other scores (block_at, thresholds
per kind of view, calibration) is not deleted but turned into comments, so that a person can go
back. The result is read again and must be the old policy with exactly this change.
"""

from __future__ import annotations

import dataclasses

from imagesieve_server.core.errors import PolicyError
from imagesieve_server.core.policy import Method, Threshold, Thresholds
from imagesieve_server.offline.policy_text.written import threshold_text
from imagesieve_server.offline.policy_text.yaml_places import (
    Place,
    Splice,
    item_with,
    places,
    spliced,
)
from imagesieve_server.policy_files.source import CategorySource, PolicySource, parse_policy

_COMMENTED = ("prompts", "counter_prompts", "calibration", "views", "block_at")
_SET = ("method", "probe", "review_at")


def with_probe(text: str, *, category: str, probe: str, review_at: Threshold, file: str) -> str:
    """The policy's text where ``category`` has the head in the file ``probe``.

    Raises PolicyError where that is not possible without changing something else.
    """
    old = parse_policy(text, file=file)
    place = item_with(places(text), "categories", key="id", value=category)
    if place is None or place.flow:
        raise _by_hand(category, "it is not written as a block with its id", file)
    values = {"method": "probe", "probe": probe, "review_at": threshold_text(review_at)}
    splices = [
        splice
        for key in _COMMENTED
        if (pair := place.pair(key)) is not None
        for splice in _comment(text, *pair, category=category, file=file)
    ]
    splices += _written(text, place, values)
    new = spliced(text, splices)
    _check(old, new, category, probe, review_at, file)
    return new


def _comment(text: str, name: Place, value: Place, *, category: str, file: str) -> list[Splice]:
    """A mark at the start of each line of the pair."""
    start = text.rfind("\n", 0, name.start) + 1
    if text[start : name.start].strip():
        raise _by_hand(category, f"{name.scalar} shares a line with something else", file)
    marks: list[Splice] = []
    at = start
    while at < max(value.end, name.end):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end]
        if line.strip():
            mark = at + min(name.column, len(line) - len(line.lstrip()))
            marks.append((mark, mark, "# "))
        at = end + 1
    return marks


def _written(text: str, place: Place, values: dict[str, str]) -> list[Splice]:
    """Values replaced where they stand; what is missing gets a line behind ``id``."""
    newline = "\r\n" if "\r\n" in text else "\n"
    name, identifier = place.pair("id") or place.pairs[0]
    end = text.find("\n", identifier.end)
    end = len(text) if end < 0 else end - (text[end - 1] == "\r")
    splices: list[Splice] = []
    for key in _SET:
        found = place.pair(key)
        if found is not None:
            splices.append((found[1].start, found[1].end, values[key]))
        else:
            line = f"{newline}{' ' * name.column}{key}: {values[key]}"
            splices.append((end, end, line))
    return splices


def _check(
    old: PolicySource, text: str, category: str, probe: str, review_at: Threshold, file: str
) -> None:
    try:
        new = parse_policy(text, file=file)
    except PolicyError as error:
        raise _by_hand(category, error.problem, file) from None
    before = [_changed(c, probe, review_at) if c.id == category else c for c in old.categories]
    same = {"text": "", "warnings": (), "categories": ()}
    others = dataclasses.replace(old, **same) == dataclasses.replace(new, **same)  # type: ignore[arg-type]
    if list(new.categories) != before or not others:
        raise _by_hand(category, "it shares an anchor with another place", file)


def _changed(source: CategorySource, probe: str, review_at: Threshold) -> CategorySource:
    return dataclasses.replace(
        source,
        method=Method.PROBE,
        probe=probe,
        prompts=(),
        counter_prompts=(),
        thresholds=Thresholds(review_at=review_at),
        per_view_kind=(),
        calibration=None,
    )


def _by_hand(category: str, why: str, file: str) -> PolicyError:
    return PolicyError(
        f"cannot be edited without changing something else ({why}); write method: probe and "
        "probe: FILE by hand",
        file=file,
        field=f"category {category!r}",
    )
