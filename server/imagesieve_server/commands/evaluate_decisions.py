"""``imagesieve-server evaluate --from-decisions``: measure by what reviewers decided."""

from __future__ import annotations

import argparse
import contextlib
import os
from datetime import date
from pathlib import Path
from typing import Any

from imagesieve_server import config
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.offline.from_decisions.measure import from_decisions
from imagesieve_server.offline.from_decisions.report import as_json, as_text
from imagesieve_server.queue_store import open_reader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this way of measuring; ``--policy`` and ``--json`` are the command's."""
    group = parser.add_argument_group(
        "by reviewers' decisions",
        "Reads the queue's database, also while a server runs; needs neither pictures nor a "
        "model. --policy is then a policy's name (default: all).",
    )
    add: Any = group.add_argument
    add("--from-decisions", action="store_true", help="measure flags and audit samples")
    add("--config", type=Path, metavar="FILE", help="the server's settings (TOML)")
    add("--tenant", default="", metavar="NAME", help="only this tenant's (default: all)")
    add("--since", type=_day, metavar="DATE", help="from this day on, UTC, as 2026-11-21")
    add(
        "--label", action="append", default=[], type=_alias, metavar="LABEL=CATEGORY",
        help="what a reviewers' label means that is no category's id (repeatable)",
    )  # fmt: skip


def run(*, policy: str, json_to: Path | None, args: argparse.Namespace) -> int:
    """Measure and print. Raises ConfigError, StoreNotUsable."""
    settings = config.load(args.config, os.environ).queue
    with contextlib.closing(open_reader(settings, tenant=args.tenant)) as reader:
        results = from_decisions(reader, policy=policy, since=args.since, aliases=dict(args.label))
    print(as_text(results), end="")
    if json_to:
        try:
            json_to.write_text(as_json(results), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--json: {json_to}: {error.strerror}") from None
    return 0


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-11-21") from None


def _alias(text: str) -> tuple[str, str]:
    label, sign, category = text.rpartition("=")
    if not (label and sign and category):
        raise argparse.ArgumentTypeError(f"{text!r} is not LABEL=CATEGORY")
    return label, category
