"""``imagesieve-server queue dead-letters``: what webhooks did not tell in time, tried again or
given up for good."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from imagesieve_server.config import QueueSettings
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.webhook_port import DeadLetter, Endpoint
from imagesieve_server.queue_store import open_inspection, open_store, queue_settings
from imagesieve_server.review_queue import webhook_letters
from imagesieve_server.review_queue.webhook_rows import WebhookReads

SOME = 50
"""Items, or letters, of one transaction: deliveries come in between."""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "dead-letters",
        help="decisions that webhook endpoints were not told in time; beside running servers",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML)")
    parser.add_argument("--tenant", default="", help="only this tenant's")
    parser.add_argument("--endpoint", default="", metavar="NAME", help="only this endpoint's")
    parser.add_argument(
        "--event", action="append", default=[], metavar="ID", help="only this event; repeatable"
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--replay",
        action="store_true",
        help="try them again, with all dead letters of their items, in order; "
        "with SQLite only while no server runs",
    )
    action.add_argument(
        "--discard",
        action="store_true",
        help="never tell them, and print which; needs --endpoint or --event; with SQLite only "
        "while no server runs",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.discard and not (args.endpoint or args.event):
        raise ConfigError("--discard: name an --endpoint or an --event; what goes is never told")
    queue = queue_settings(args.config)
    found = list(_chosen(_letters(queue, args.tenant, args.endpoint), args.event))
    if args.replay:
        return _replay(queue, found)
    for letter in found:
        print(_line(letter))
    if args.discard:
        return _discard(queue, found)
    print(f"{len(found)} dead letters")
    return 0


def _letters(queue: QueueSettings, tenant: str, endpoint: str) -> Iterator[DeadLetter]:
    inspection = open_inspection(queue)

    def endpoints(tx: WebhookReads) -> list[Endpoint]:
        rows = tx.webhook_endpoints(tenant or None)
        return [Endpoint(tenant=row.tenant, name=row.endpoint) for row in rows]

    try:
        for each in inspection.read(endpoints):
            if endpoint in ("", each.name):
                yield from webhook_letters.all_letters(inspection.read, each)
    finally:
        inspection.close()


def _chosen(letters: Iterable[DeadLetter], events: Sequence[str]) -> Iterator[DeadLetter]:
    """Those asked for. Raises ConfigError where one of them is no dead letter."""
    missing = set(events)
    for letter in letters:
        if not events or letter.event_id in events:
            missing.discard(letter.event_id)
            yield letter
    if missing:
        raise ConfigError(f"no dead letter has the event id {min(missing)}")


def _replay(queue: QueueSettings, letters: Sequence[DeadLetter]) -> int:
    items: dict[Endpoint, dict[str, None]] = {}
    for letter in letters:
        endpoint = Endpoint(tenant=letter.tenant, name=letter.endpoint)
        items.setdefault(endpoint, {})[letter.item_id] = None
    store = open_store(queue)
    count = 0
    try:
        for endpoint, chosen in items.items():
            ids = list(chosen)
            for begin in range(0, len(ids), SOME):
                some = ids[begin : begin + SOME]
                count += store.transact(
                    partial(webhook_letters.replay, endpoint=endpoint, item_ids=some)
                )
    finally:
        store.close()
    print(f"{count} dead letters of {sum(map(len, items.values()))} items are tried again")
    return 0


def _discard(queue: QueueSettings, letters: Sequence[DeadLetter]) -> int:
    """One that was replayed since it was listed is no dead letter any more, and stays."""
    positions: dict[Endpoint, list[int]] = {}
    for letter in letters:
        endpoint = Endpoint(tenant=letter.tenant, name=letter.endpoint)
        positions.setdefault(endpoint, []).append(letter.position)
    store = open_store(queue)
    count = 0
    try:
        for endpoint, chosen in positions.items():
            for begin in range(0, len(chosen), SOME):
                some = chosen[begin : begin + SOME]
                count += store.transact(
                    partial(webhook_letters.discard, endpoint=endpoint, positions=some)
                )
    finally:
        store.close()
    print(f"{count} dead letters are discarded and will never be told")
    return 0


def _line(letter: DeadLetter) -> str:
    made, died = (
        datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for at in (letter.created_at, letter.dead_at)
    )
    return (
        f"{letter.tenant}  {letter.endpoint}  {letter.event_id}  item {letter.item_id}  "
        f"request {letter.request_id!r}  made {made}  given up {died}  "
        f"{letter.attempts} attempts, last: {letter.result}"
    )
