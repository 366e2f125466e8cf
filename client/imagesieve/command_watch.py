"""``imagesieve review watch``: decisions as lines, and the cursor kept in a file."""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path
from typing import TextIO

from imagesieve.client import Client
from imagesieve.command_output import Columns, json_line
from imagesieve.command_parser import DONE

_COLUMNS = {"DECIDED": 20, "ITEM": 32, "OUTCOME": 8, "CAUSE": 14, "REVIEWER": 12, "CONTENT": 0}


def watch(args: argparse.Namespace, client: Client, *, out: TextIO) -> int:
    """Show each event, then keep its cursor: after a crash the last one may come again."""
    file = Path(args.cursor_file) if args.cursor_file else None
    cursor = file.read_text(encoding="ascii").strip() if file and file.exists() else ""

    def save(reached: str) -> None:
        if file is not None:
            _replace(file, reached)

    events = client.review.watch(
        cursor=cursor,
        from_oldest=args.from_oldest,
        save=save,
        timeout=args.timeout,
    )
    table = Columns(out, _COLUMNS) if args.format == "table" else None
    for event in itertools.islice(events, args.limit):
        if table is None:
            json_line(out, event)
        else:
            decision = event.decision
            when = f"{decision.decided_at:%Y-%m-%d %H:%M:%SZ}" if decision.decided_at else ""
            shown = (decision.item_id, decision.outcome, decision.cause, decision.reviewer)
            table.row(when, *shown, event.content_ref or event.request_id)
        save(event.cursor)
    return DONE


def _replace(file: Path, cursor: str) -> None:
    """Write the whole file or nothing of it."""
    scratch = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    scratch.write_text(cursor + "\n", encoding="ascii")
    scratch.replace(file)
