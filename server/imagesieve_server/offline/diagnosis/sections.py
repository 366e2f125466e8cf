"""Diagnoses as sections of the report that ``evaluate`` writes."""

from __future__ import annotations

import dataclasses
import functools
import math
import textwrap
from collections.abc import Mapping
from html import escape
from typing import Any

from imagesieve_server.offline.diagnosis.diagnose import Diagnosis
from imagesieve_server.offline.diagnosis.telling import Table, Told, tell
from imagesieve_server.offline.report.page import paragraph
from imagesieve_server.offline.report.page import table as page_table
from imagesieve_server.offline.report.section import Section
from imagesieve_server.offline.report.table import table

WIDTH = 100


def sections(diagnosis: Diagnosis) -> list[Section]:
    """One section each."""
    data = {
        "diagnosis_composition": diagnosis.composition,
        "diagnosis_printed_words": diagnosis.printed,
        "diagnosis_attributes": diagnosis.attributes,
        "diagnosis_domain": {"neutral": diagnosis.neutral, "reference": diagnosis.gap},
    }
    return [
        Section(
            id=one.id,
            title=one.title,
            text=_as_text(one),
            data=_plain(data[one.id]),
            html=functools.partial(_as_html, one),
        )
        for one in tell(diagnosis)
    ]


def _as_text(told: Told) -> str:
    lines = [told.title, *(_wrapped(sentence, "- ") for sentence in told.sentences)]
    if told.table and told.table.rows:
        lines += ["", table(told.table.head, told.table.rows, left=told.table.left), ""]
    return "\n".join([*lines, _wrapped(told.limits, "  ")])


def _wrapped(text: str, first: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent="  ")


def _as_html(told: Told) -> str:
    """Every text escaped: prompts and file names come from outside."""
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in told.sentences)
    rows = _html_table(told.table) if told.table and told.table.rows else ""
    limits = paragraph(told.limits, style="soft small")
    return f'<ul class="findings">{sentences}</ul>{rows}{limits}'


def _html_table(rows: Table) -> str:
    cells = [[_html_cell(cell, at < rows.left) for at, cell in enumerate(row)] for row in rows.rows]
    head = [_html_cell(cell, at < rows.left, "th") for at, cell in enumerate(rows.head)]
    return f'<div class="card told">{page_table(head, cells)}</div>'


def _html_cell(text: str, flush_left: bool, tag: str = "td") -> str:
    style = ' class="text"' if flush_left else ""
    return f"<{tag}{style}>{escape(text)}</{tag}>"


def _plain(value: Any) -> Any:
    """JSON values; what is not finite becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        told = {
            name: getattr(value, name)
            for name in ("is_not_read", "steers", "beyond_nonsense", "stands_out", "unused")
            if isinstance(getattr(type(value), name, None), property)
        }
        return _plain({**fields, **told})
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
