"""``imagesieve-server policy diff``: what another policy would have said of kept uploads."""

from __future__ import annotations

import argparse
import json
import math
from datetime import date
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.offline.backtest import text
from imagesieve_server.offline.backtest.as_json import as_json
from imagesieve_server.offline.backtest.diff import Asked, back_test
from imagesieve_server.offline.backtest.report import report_of
from imagesieve_server.policy_files import compiled


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "diff",
        help="compare two policies on kept uploads",
        description="Judge every image whose embeddings a server kept (embeddings.folder) under "
        "two compiled policies: verdict by verdict, what changed per category and why, the "
        "reviews a day to expect, and the images that change most. Needs the extra embeddings.",
    )
    add = parser.add_argument
    add("a", type=Path, metavar="A", help="the .policy.npz file before")
    add("b", type=Path, metavar="B", help="the .policy.npz file after")
    add("--store", type=Path, required=True, metavar="DIR", help="folder of kept embeddings")
    add(
        "--tenant", action="append", default=[], metavar="TENANT",
        help="images of this tenant; may be given several times",
    )  # fmt: skip
    add("--all-tenants", action="store_true", help="images of every tenant")
    add("--since", type=_day, metavar="DAY", help="the first day, 2026-01-31 (UTC)")
    add("--until", type=_day, metavar="DAY", help="the last day (UTC)")
    add(
        "--judged-under", default="", metavar="NAME",
        help="images judged under the policy of this name (default: A's; * for all)",
    )  # fmt: skip
    add(
        "--uploads-per-day", type=_positive, metavar="M",
        help="uploads to forecast for (default: kept images a day)",
    )  # fmt: skip
    add(
        "--list", type=int, default=10, metavar="N", dest="examples",
        help="images to list of each direction (default: 10)",
    )  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="also write the report as JSON")
    add("--skip-damaged", action="store_true", help="go on without files that cannot be read")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    result = back_test(
        compiled.read(args.a).policy,
        compiled.read(args.b).policy,
        Asked(
            store=args.store,
            tenants=tuple(args.tenant),
            all_tenants=args.all_tenants,
            since=args.since,
            until=args.until,
            judged_under=args.judged_under,
            examples=max(0, args.examples),
            skip_damaged=args.skip_damaged,
        ),
    )
    report = report_of(result, uploads_per_day=args.uploads_per_day)
    for line in text.lines(report, examples=args.examples):
        print(line)
    if args.json:
        _write(args.json, json.dumps(as_json(report), indent=1, ensure_ascii=False) + "\n")
    return 0


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8", errors="replace")
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be written: {problem.strerror}") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day like 2026-01-31") from None


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number
