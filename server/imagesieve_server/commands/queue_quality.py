"""``imagesieve-server queue quality``: how well people decide, from what they decided."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from imagesieve_server.commands.quality_text import as_json, as_text
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.quality_report import QualityReport
from imagesieve_server.queue_store import open_inspection, queue_settings
from imagesieve_server.review_queue.quality import Scan

DAYS = 30
"""Length of the span where none is given."""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "quality",
        help="how well reviewers decide: agreement, golden items, overturned decisions; beside "
        "running servers, changes nothing",
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="settings (TOML)")
    add("--tenant", default="default", metavar="NAME", help="whose queue (default: %(default)s)")
    add(
        "--since", type=_day, metavar="DATE",
        help=f"from this day on, UTC, as 2026-11-21 (default: {DAYS} days before --until)",
    )  # fmt: skip
    add("--until", type=_day, metavar="DATE", help="to the end of this day, UTC (default: today)")
    add(
        "--reviewers", action="store_true",
        help="also one line for each reviewer; not for everybody's eyes",
    )  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="also write every figure as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    last = args.until or datetime.now(UTC).date()
    first = args.since or last - timedelta(days=DAYS - 1)
    if first > last:
        raise ConfigError("--since lies behind --until")
    report = _report(args, since=_midnight(first), until=_midnight(last + timedelta(days=1)))
    for line in _lines(report, first, last, reviewers=args.reviewers):
        print(line)
    if args.json:
        text = json.dumps(as_json(report, reviewers=args.reviewers), indent=1, allow_nan=False)
        try:
            args.json.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--json: {args.json}: {error.strerror}") from None
    return 0


def _report(args: argparse.Namespace, *, since: float, until: float) -> QualityReport:
    inspection = open_inspection(queue_settings(args.config), tenant=args.tenant)
    scan = Scan(tenant=args.tenant, since=since, until=until)
    try:
        while not scan.done:
            scan.take(inspection.read(scan.page))
    finally:
        inspection.close()
    return scan.report()


def _lines(report: QualityReport, first: date, last: date, *, reviewers: bool) -> Iterator[str]:
    yield f"What people said from {first.isoformat()} to {last.isoformat()} (UTC)"
    yield from as_text(report, reviewers=reviewers)


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-11-21") from None
