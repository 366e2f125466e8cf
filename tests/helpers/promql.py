"""What a PromQL expression names: series, labels, and the values it matches.

It reads the tokens it needs and no more; whether an expression is valid is promtool's to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_STRING = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(
    rf"""(?:{_STRING})                                   # a string that is an argument
    | \[[^\]]*\]                                        # a range
    | [0-9][0-9a-zA-Z_.]*                                # a number or a duration
    | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*
      (?:(?P<call>\() | \{{(?P<inside>(?:[^{{}}"]|{_STRING})*)\}})?""",
    re.VERBOSE,
)
_MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_STRING})")
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORDS = frozenset(
    ["and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring", "group_left",
     "group_right"]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selector:
    """One series with its matchers: (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]

    def matches(self, name: str, labels: Mapping[str, str], *, target: frozenset[str]) -> bool:
        """Whether a sample is selected. ``target`` are labels that the scrape adds."""
        return name == self.name and all(
            label in target or _compare(labels.get(label, ""), operator, value)
            for label, operator, value in self.matchers
        )


def selectors(expression: str) -> tuple[Selector, ...]:
    """Every series selector, in order."""
    text = _GROUPING.sub(" ", re.sub(r"#.*", "", expression))
    found, at = [], 0
    while token := _TOKEN.search(text, at):
        at = token.end()
        name, inside = token["name"], token["inside"] or ""
        if name and not token["call"] and name not in _WORDS:
            matchers = tuple((a, b, c[1:-1]) for a, b, c in _MATCHER.findall(inside))
            found.append(Selector(name, matchers))
    return tuple(found)


def labels(expression: str) -> frozenset[str]:
    """Every label that is matched or grouped by."""
    grouped = {
        name.strip() for _, names in _GROUPING.findall(expression) for name in names.split(",")
    }
    matched = {label for each in selectors(expression) for label, _, _ in each.matchers}
    return frozenset((grouped | matched) - {""})


def _compare(have: str, operator: str, wanted: str) -> bool:
    same = have == wanted if operator in ("=", "!=") else re.fullmatch(wanted, have) is not None
    return same == (operator in ("=", "=~"))
