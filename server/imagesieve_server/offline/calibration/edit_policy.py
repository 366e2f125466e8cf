"""Thresholds and calibrations put into a policy's YAML, with every other character left alone.

Values are replaced where they stand and missing keys get a line of their own, so comments, order,
quotes and indentation survive. The result is read again and must be the old policy with exactly
the changes asked for; what cannot be edited so (an anchor that other lines share) is refused.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imagesieve_server.core.calibration import Calibration
from imagesieve_server.core.errors import PolicyError
from imagesieve_server.core.policy import Scale, Threshold, Thresholds
from imagesieve_server.core.views import ViewKind
from imagesieve_server.offline.policy_text.written import (
    calibration_text,
    number_text,
    threshold_text,
)
from imagesieve_server.offline.policy_text.yaml_places import (
    Place,
    Splice,
    item_with,
    places,
    spliced,
)
from imagesieve_server.policy_files.calibration_key import KEY, CalibrationSource
from imagesieve_server.policy_files.source import CategorySource, PolicySource, parse_policy

_WIDTH = 100
_BESIDE = ("review_at", "block_at")
_SIMPLE = ("method", "mode", "severity", "title", "id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to write for one category; None leaves what is there."""

    category: str
    review_at: Threshold | None = None
    views: Mapping[ViewKind, Threshold] = field(default_factory=dict)  # their review_at
    calibration: Calibration | None = None
    fitted_on: str = ""  # of the calibration


def edited(text: str, changes: Sequence[Change], *, file: str) -> str:
    """The policy's text with the changes. Raises PolicyError where that is not possible."""
    old = parse_policy(text, file=file)
    editor = _Editor(text)
    for change in changes:
        place = item_with(places(text), "categories", key="id", value=change.category)
        source = next((c for c in old.categories if c.id == change.category), None)
        if place is None or source is None:
            raise _by_hand(change.category, "its id is not written in the category", file)
        _edit(editor, place, source, change)
    new_text = editor.result()
    _check(old, new_text, changes, file)
    return new_text


class _Editor:
    """Collects replacements and insertions in a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._splices: list[Splice] = []

    def set(self, mapping: Place, key: str, value: str) -> None:
        """Replace the value of ``key``, or insert the key."""
        found = mapping.pair(key)
        if found is None:
            self._insert(mapping, f"{key}: {value}")
            return
        _, old = found
        if not self.text[old.start : old.end].strip():  # a key without a value
            self._splices.append((old.start, old.start, f" {value}"))
            return
        lines = self._wrapped(value, old.column)
        self._splices.append((old.start, old.end, lines))

    def replace(self, place: Place, value: str) -> None:
        self._splices.append((place.start, place.end, value))

    def _insert(self, mapping: Place, entry: str) -> None:
        name, value = self._beside(mapping)
        if mapping.flow:
            self._splices.append((value.end, value.end, f", {entry}"))
            return
        end = self.text.find("\n", value.end)
        end = len(self.text) if end < 0 else end
        if end and self.text[end - 1] == "\r":
            end -= 1
        indent = " " * name.column
        lines = self._wrapped(entry, name.column)
        self._splices.append((end, end, f"{self._newline}{indent}{lines}"))

    def _wrapped(self, entry: str, column: int) -> str:
        lines = textwrap.wrap(
            entry,
            _WIDTH - column,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        return f"{self._newline}{' ' * column}".join(lines)

    def _beside(self, mapping: Place) -> tuple[Place, Place]:
        """The pair behind which a new one goes; none whose value is a block of text, where
        nobody can say which of the empty lines and comments behind it are its own."""
        ends = [
            p for p in mapping.pairs if self.text[p[1].start : p[1].start + 1] not in ("|", ">")
        ]
        for keys in (_BESIDE, _SIMPLE):
            found = [pair for pair in ends if pair[0].scalar in keys]
            if found:
                return found[-1]
        return (ends or mapping.pairs)[-1]

    def result(self) -> str:
        """The edited text."""
        return spliced(self.text, self._splices)


def _edit(editor: _Editor, place: Place, source: CategorySource, change: Change) -> None:
    if change.review_at is not None:
        _set_threshold(editor, place, change.review_at)
    if change.views:
        _set_views(editor, place, source, change.views)
    if change.calibration is not None:
        text = calibration_text(
            change.calibration, method=source.method, fitted_on=change.fitted_on
        )
        editor.set(place, KEY, text)


def _set_threshold(editor: _Editor, mapping: Place, threshold: Threshold) -> None:
    old = mapping.value("review_at")
    inner = old.value("logit") if old else None
    if inner is not None and threshold.scale is Scale.LOGIT:
        editor.replace(inner, number_text(threshold))
    else:
        editor.set(mapping, "review_at", threshold_text(threshold))


def _set_views(
    editor: _Editor, place: Place, source: CategorySource, views: Mapping[ViewKind, Threshold]
) -> None:
    """A kind that is new takes over the category's block_at, or its views would never block."""
    block = source.thresholds.block_at
    rest = f", block_at: {threshold_text(block)}" if block else ""
    new = {k: f"{{review_at: {threshold_text(limit)}{rest}}}" for k, limit in views.items()}
    written = place.value("views")
    if written is None or not written.pairs:
        entries = ", ".join(f"{kind.value}: {text}" for kind, text in new.items())
        editor.set(place, "views", f"{{{entries}}}")
        return
    for kind, limit in views.items():
        inner = written.value(kind.value)
        if inner is None or not inner.pairs:
            editor.set(written, kind.value, new[kind])
        else:
            _set_threshold(editor, inner, limit)


def _check(old: PolicySource, text: str, changes: Sequence[Change], file: str) -> None:
    """Whether ``text`` is the old policy with these changes and no other. Raises PolicyError."""
    try:
        new = parse_policy(text, file=file)
    except PolicyError as error:
        if error.field.endswith(_BESIDE):  # the thresholds do not go together
            raise
        raise _by_hand(changes[0].category, "the result would be no policy", file) from None
    wanted = {change.category: change for change in changes}
    for before, after in zip(old.categories, new.categories, strict=True):
        expected = _changed(before, wanted[before.id]) if before.id in wanted else before
        if after != expected:
            raise _by_hand(before.id, "perhaps another place shares its anchor", file)
    same = {"text": "", "warnings": (), "categories": ()}
    if dataclasses.replace(old, **same) != dataclasses.replace(new, **same):  # type: ignore[arg-type]
        raise _by_hand(changes[0].category, "something outside the category would change", file)


def _changed(source: CategorySource, change: Change) -> CategorySource:
    if change.review_at is not None:
        limits = dataclasses.replace(source.thresholds, review_at=change.review_at)
        source = dataclasses.replace(source, thresholds=limits)
    kinds = dict(source.per_view_kind)
    for kind, limit in change.views.items():
        own = kinds.get(kind, Thresholds(review_at=None, block_at=source.thresholds.block_at))
        kinds[kind] = dataclasses.replace(own, review_at=limit)
    source = dataclasses.replace(source, per_view_kind=tuple(kinds.items()))
    if change.calibration is not None:
        calibration = CalibrationSource(calibration=change.calibration, fitted_on=change.fitted_on)
        source = dataclasses.replace(source, calibration=calibration)
    return source


def _by_hand(category: str, why: str, file: str) -> PolicyError:
    return PolicyError(
        f"cannot be edited without changing something else ({why}); write the new values by hand",
        file=file,
        field=f"category {category!r}",
    )
