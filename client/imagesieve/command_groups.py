"""``imagesieve review groups|group|close-group|undo-close``: look-alikes decided at once."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from typing import TextIO

from imagesieve.client import Client
from imagesieve.command_output import listing, record
from imagesieve.command_parser import DONE
from imagesieve.group_results import Group, GroupSummary
from imagesieve.review_results import Outcome

_GROUP_COLUMNS = {
    "GROUP": "group_id",
    "READY": "ready",
    "LEASED": "leased",
    "PARKED": "parked",
    "DECIDED": "decided",
    "FIRST": "first_at",
    "LAST": "last_at",
}
_ITEM_COLUMNS = {
    "ITEM": "item_id",
    "STATE": "state",
    "CATEGORY": "category",
    "SCORE": "score",
    "UPLOADS": "submissions",
    "ENQUEUED": "enqueued_at",
}
_CLOSE_COLUMNS = {
    "CLOSE": "close_id",
    "OUTCOME": "outcome",
    "PROGRESS": "progress",
    "PENDING": "pending",
    "CLOSED": "closed",
    "SKIPPED": "skipped",
    "REOPENED": "reopened",
    "BY": "closed_by",
    "ORDERED": "ordered_at",
}
_ITEMS_PAGE = 100


def groups(args: argparse.Namespace, client: Client, *, out: TextIO) -> int:
    """The groups that wait."""
    found = client.groups.list(limit=args.limit, timeout=args.timeout)
    listing(out, found, _GROUP_COLUMNS, form=args.format)
    return DONE


def group(args: argparse.Namespace, client: Client, *, out: TextIO) -> int:
    """One group, or its items."""
    if args.members:
        items = client.groups.items(
            args.group_id, page_size=min(args.limit, _ITEMS_PAGE), timeout=args.timeout
        )
        shown = list(itertools.islice(items, args.limit))
        listing(out, shown, _ITEM_COLUMNS, form=args.format)
        return DONE
    found = client.groups.get(args.group_id, timeout=args.timeout)
    if args.format == "jsonl":
        record(out, found, form=args.format)
        return DONE
    record(out, _flat(found), form=args.format)
    if found.closes:
        out.write("\n")
        listing(out, found.closes, _CLOSE_COLUMNS, form=args.format)
    return DONE


def close_group(args: argparse.Namespace, client: Client, *, user: str, out: TextIO) -> int:
    """Order a close of what the snapshot shows; ``user`` is who decides where nobody is named."""
    shown = Group(
        summary=GroupSummary(group_id=args.group_id), closable=args.count, snapshot=args.snapshot
    )
    close = client.groups.close(
        shown,
        Outcome(args.outcome.upper()),
        labels=args.labels,
        note=args.note,
        closed_by=args.by or user,
        timeout=args.timeout,
    )
    record(out, close, form=args.format)
    return DONE


def undo_close(args: argparse.Namespace, client: Client, *, user: str, out: TextIO) -> int:
    """Take a close back; ``user`` as with ``close_group``."""
    close = client.groups.undo(
        args.close_id, note=args.note, undone_by=args.by or user, timeout=args.timeout
    )
    record(out, close, form=args.format)
    return DONE


def _flat(found: Group) -> dict[str, object]:
    """The group's own fields beside its summary's, for people."""
    names = [field.name for field in dataclasses.fields(found)]
    own = {name: getattr(found, name) for name in names if name not in ("summary", "closes")}
    summary = {f.name: getattr(found.summary, f.name) for f in dataclasses.fields(found.summary)}
    return summary | own
