"""``imagesieve-server queue``: look after the review queue's database."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from imagesieve_server.commands import queue_check, queue_dead_letters, queue_export, queue_quality
from imagesieve_server.queue_store import migrate_store, open_store, place_of, queue_settings


def add_parser(subparsers: Any) -> None:
    queue = subparsers.add_parser("queue", help="look after the review queue's database")
    commands = queue.add_subparsers(title="commands", metavar="COMMAND", required=True)
    migrate = commands.add_parser(
        "migrate", help="bring the database to this release's schema (serve does so by itself)"
    )
    stats = commands.add_parser("stats", help="open items by state, while no server runs")
    queue_check.add_parsers(commands)
    queue_export.add_parser(commands)
    queue_dead_letters.add_parser(commands)
    queue_quality.add_parser(commands)
    for parser, run in ((migrate, _migrate), (stats, _stats)):
        parser.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML)")
        parser.set_defaults(run=run)


def _migrate(args: argparse.Namespace) -> int:
    queue = queue_settings(args.config)
    migrate_store(queue)
    print(f"{place_of(queue)}: up to date")
    return 0


def _stats(args: argparse.Namespace) -> int:
    store = open_store(queue_settings(args.config))
    try:
        stats = store.stats(tenant=None)
    finally:
        store.close()
    for state, count in stats.by_state.items():
        print(f"{state.value.lower():8} {count}")
    if stats.oldest_ready_at is not None:
        print(f"oldest ready item: {stats.now - stats.oldest_ready_at:.0f} s")
    return 0
