"""The results for people and for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from imagesieve_server.offline.from_decisions.measure import CategoryResult, VersionResult
from imagesieve_server.offline.measures.figures import Figure
from imagesieve_server.offline.report import numbers

METHOD = (
    "Uploads, with 95 % intervals. Precision: of the decided pictures that a category flagged, the "
    "share rejected for it. Missed: Horvitz-Thompson over the audit samples, interval of Fay and "
    "Feuer. Recall: caught / (caught + missed)."
)
FORMAT = 1


def as_text(results: Sequence[VersionResult]) -> str:
    """A page per version."""
    if not results:
        return "No flag, sample or count of such a policy is in the queue.\n"
    return METHOD + "\n\n" + "\n".join(_version(result) for result in results)


def as_json(results: Sequence[VersionResult]) -> str:
    """One object; what is not known is null."""
    plain = {
        "format": FORMAT,
        "method": METHOD,
        "versions": [_plain(dataclasses.asdict(result)) for result in results],
    }
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _version(result: VersionResult) -> str:
    allowed = "an unknown number" if result.allowed is None else numbers.count(result.allowed)
    lines = [
        f"policy {result.policy}, version {result.version[:12]}, since {result.since}",
        f"  uploads: {allowed} allowed, {numbers.count(result.flagged)} flagged "
        f"({numbers.percent(result.flags_waiting)} of the flagged pictures not decided)",
    ]
    rows: list[tuple[str, ...]] = [
        ("samples", "rate", "uploads", "decided", "waiting", "lost", "violating")
    ]
    rows += [
        (band.name or "?", f"{band.probability:g}", numbers.count(band.allowed), str(band.decided),
         str(band.waiting), str(band.dropped), str(band.violating))
        for band in result.bands
    ]  # fmt: skip
    lines += _table(rows) if result.bands else []
    rows = [("category", "precision", "caught", "missed", "recall", "needed for ± .05")]
    rows += [_row(row) for row in result.categories]
    lines += ["", *_table(rows)]
    lines += [f"  ! {warning}" for warning in result.warnings]
    return "\n".join(lines) + "\n"


def _row(row: CategoryResult) -> tuple[str, ...]:
    found = row.estimate
    precision = numbers.with_interval(row.precision, share=True) if row.precision else ""
    recall = numbers.with_interval(found.recall, share=True) if found.recall else "not known"
    needed = "enough" if found.needed == 0 else f"{numbers.count(found.needed or 0)} more"
    return (
        row.category,
        f"{precision} of {row.decided}" if precision else "-",
        _number(found.caught),
        _number(found.missed),
        recall,
        "-" if found.needed is None else needed,
    )


def _number(figure: Figure) -> str:
    if figure.low == figure.high:
        return f"{figure.value:,.0f}"
    if math.isinf(figure.high) and not figure.value:
        return "not known"
    high = "?" if math.isinf(figure.high) else f"{figure.high:,.0f}"
    if math.isnan(figure.value):
        return f"not known ({figure.low:,.0f} to {high})"
    return f"{figure.value:,.0f} ({figure.low:,.0f} to {high})"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
