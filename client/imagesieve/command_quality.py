"""``imagesieve review quality|goldens|mark-golden|unmark-golden``: how well people decide."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TextIO

from imagesieve.client import Client
from imagesieve.command_output import json_line, listing, record, rows
from imagesieve.command_parser import DONE
from imagesieve.quality_results import Estimate, Quality, QualityFigures

_GOLDEN_COLUMNS = {
    "ITEM": "item_id",
    "CATEGORY": "category",
    "OUTCOME": "outcome",
    "LABELS": "labels",
    "GIVEN": "given",
    "BY": "marked_by",
    "MARKED": "marked_at",
    "NOTE": "note",
}
_HEAD = (
    "OF", "NAME", "PAIRS", "AGREE", "KAPPA", "GOLDEN", "RIGHT", "DECISIONS", "OVERTURNED",
)  # fmt: skip
_NO_CATEGORY = "(none)"


def quality(args: argparse.Namespace, client: Client, *, out: TextIO) -> int:
    """The figures of whole days."""
    found = client.quality.figures(
        since=_midnight(args.since) if args.since else None,
        until=_midnight(args.until + timedelta(days=1)) if args.until else None,
        timeout=args.timeout,
    )
    if not args.reviewers:
        found = replace(found, reviewers=())
    if args.format == "jsonl":
        json_line(out, found)
        return DONE
    rows(out, _HEAD, list(_lines(found)))
    out.write("\n" + _legend(found))
    return DONE


def goldens(args: argparse.Namespace, client: Client, *, out: TextIO) -> int:
    """The golden items."""
    listing(out, client.quality.goldens(timeout=args.timeout), _GOLDEN_COLUMNS, form=args.format)
    return DONE


def mark_golden(args: argparse.Namespace, client: Client, *, user: str, out: TextIO) -> int:
    """Make an item golden; ``user`` is who asks where nobody is named."""
    golden = client.quality.mark_golden(
        args.item_id, note=args.note, marked_by=args.by or user, timeout=args.timeout
    )
    record(out, golden, form=args.format)
    return DONE


def unmark_golden(args: argparse.Namespace, client: Client, *, user: str) -> int:
    """End an item's being golden; ``user`` as with ``mark_golden``. Says nothing."""
    client.quality.unmark_golden(args.item_id, unmarked_by=args.by or user, timeout=args.timeout)
    return DONE


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _lines(found: Quality) -> Iterator[tuple[str, ...]]:
    yield ("all", "", *_cells(found.total))
    for figures in found.categories:
        yield ("category", figures.name or _NO_CATEGORY, *_cells(figures))
    for figures in found.reviewers:
        yield ("reviewer", figures.name, *_cells(figures))


def _cells(figures: QualityFigures) -> tuple[str, ...]:
    return (
        str(figures.pairs),
        _percent(figures.agreement, of=figures.pairs),
        _kappa(figures),
        str(figures.golden),
        _percent(figures.golden_accuracy, of=figures.golden),
        str(figures.decisions),
        _percent(figures.overturn_rate, of=figures.decisions),
    )


def _percent(found: Estimate | None, *, of: int) -> str:
    if found is None:
        return "too few" if of else "-"
    return f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _kappa(figures: QualityFigures) -> str:
    found = figures.kappa
    if found is not None:
        return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    if figures.agreement is not None:
        return "all alike"  # enough pairs, and nothing that chance could explain
    return "too few" if figures.pairs else "-"


def _legend(found: Quality) -> str:
    span = " to ".join(
        at.strftime("%Y-%m-%d %H:%M:%SZ") for at in (found.since, found.until) if at is not None
    )
    text = f"What people said from {span}. In brackets intervals of 95 %.\n"
    if found.partial:
        text += "There was more than could be looked at; these are the first words of the span.\n"
    return text
