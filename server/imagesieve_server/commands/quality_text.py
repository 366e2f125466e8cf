"""Figures of the quality of decisions as a table for people and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from imagesieve_server.core.agreement import Kappa
from imagesieve_server.core.binomial import Share
from imagesieve_server.core.quality_report import MIN_COUNT, MIN_PAIRS, Counts, QualityReport

NO_CATEGORY = "(none)"
_HEAD = ("", "pairs", "agree", "kappa", "golden", "right", "decisions", "overturned")
_LEFT = frozenset({0})


def as_text(report: QualityReport, *, reviewers: bool) -> Iterator[str]:
    """A table with a line for all, each category and, where asked for, each reviewer."""
    groups: list[tuple[str, Mapping[str, Counts]]] = [
        ("", {"all": report.total}),
        ("by category", {name or NO_CATEGORY: c for name, c in report.categories.items()}),
    ]
    if reviewers:
        groups.append(("by reviewer", report.reviewers))
    rows: list[tuple[str, ...]] = [_HEAD]
    titles: dict[int, str] = {}
    for title, group in groups:
        titles[len(rows)] = title
        rows += [_row(name, counts) for name, counts in group.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for place, row in enumerate(rows):
        if titles.get(place):
            yield ""
            yield f"{titles[place]}:"
        cells = [
            cell.ljust(width) if column in _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
    yield ""
    yield (
        "In brackets intervals of 95 %. Kappa is agreement beyond chance, 1 at best. "
        f"Below {MIN_PAIRS} pairs, {MIN_COUNT} answers or {MIN_COUNT} decisions: too few."
    )
    if report.partial:
        yield "There was more than could be looked at; these are the first words of the span."


def as_json(report: QualityReport, *, reviewers: bool) -> dict[str, Any]:
    """Every count and figure; a figure that there is too little for is null."""
    found: dict[str, Any] = {
        "since": report.since,
        "until": report.until,
        "partial": report.partial,
        "total": _figures(report.total),
        "categories": {name: _figures(counts) for name, counts in report.categories.items()},
    }
    if reviewers:
        found["reviewers"] = {name: _figures(c) for name, c in report.reviewers.items()}
    return found


def _row(name: str, counts: Counts) -> tuple[str, ...]:
    return (
        name,
        str(counts.table.pairs),
        _percent(counts.agreement, of=counts.table.pairs),
        _kappa(counts),
        str(counts.golden),
        _percent(counts.golden_accuracy, of=counts.golden),
        str(counts.decisions),
        _percent(counts.overturn_rate, of=counts.decisions),
    )


def _percent(share: Share | None, *, of: int) -> str:
    if share is None:
        return "too few" if of else "-"
    return f"{100 * share.value:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _kappa(counts: Counts) -> str:
    found = counts.kappa
    if found is not None:
        return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    if not counts.table.pairs:
        return "-"
    return "too few" if counts.table.pairs < MIN_PAIRS else "all alike"


def _figures(counts: Counts) -> dict[str, Any]:
    table = counts.table
    return {
        "pairs": {
            "both_reject": table.both_reject,
            "only_first_rejects": table.only_first,
            "only_second_rejects": table.only_second,
            "neither_rejects": table.neither,
        },
        "agreement": _share(counts.agreement),
        "kappa": _value(counts.kappa),
        "golden": {
            "answered": counts.golden,
            "right": counts.golden_right,
            "passed_on": counts.golden_passed,
        },
        "golden_accuracy": _share(counts.golden_accuracy),
        "decisions": counts.decisions,
        "contested": counts.contested,
        "overturned": counts.overturned,
        "overturn_rate": _share(counts.overturn_rate),
    }


def _share(share: Share | None) -> dict[str, float] | None:
    return None if share is None else {"value": share.value, "low": share.low, "high": share.high}


def _value(found: Kappa | None) -> dict[str, float] | None:
    return None if found is None else {"value": found.value, "low": found.low, "high": found.high}
