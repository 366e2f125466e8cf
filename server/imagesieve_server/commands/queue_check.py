"""``imagesieve-server queue check`` and ``verify-audit``: is what is kept whole?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import ItemNotFound, StoreUnavailable
from imagesieve_server.core.review import State
from imagesieve_server.evidence_place import evidence_to_read
from imagesieve_server.queue_store import open_inspection, place_of, queue_settings
from imagesieve_server.review_queue import chain
from imagesieve_server.review_queue.evidence import EvidenceStore
from imagesieve_server.review_queue.inspection import Inspection, Whole

SHOWN = 50
"""Problems that are printed; all are counted."""


def add_parsers(commands: Any) -> None:
    check = commands.add_parser(
        "check",
        help="schema, pictures and chains of decisions; beside running servers, changes nothing",
    )
    check.add_argument(
        "--hashes", action="store_true", help="read every picture and compare its hash (slow)"
    )
    verify = commands.add_parser(
        "verify-audit",
        help="the hash chain of every item's decisions; beside running servers, changes nothing",
    )
    for parser, run in ((check, _check), (verify, _verify)):
        parser.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML)")
        parser.add_argument("--tenant", default="", help="only this tenant's")
        parser.set_defaults(run=run)


def _check(args: argparse.Namespace) -> int:
    queue = queue_settings(args.config)
    inspection = open_inspection(queue, tenant=args.tenant)
    print(f"{place_of(queue)}: the schema is fit for this release")
    evidence = evidence_to_read(queue)

    def problems(whole: Whole) -> Iterator[str]:
        yield from chain.problems(whole.item, whole.decisions)
        yield from _picture(whole, evidence, hashes=args.hashes)

    return _report(inspection, problems)


def _verify(args: argparse.Namespace) -> int:
    inspection = open_inspection(queue_settings(args.config), tenant=args.tenant)
    return _report(inspection, lambda whole: chain.problems(whole.item, whole.decisions))


def _report(inspection: Inspection, problems: Any) -> int:
    items = decisions = broken = 0
    try:
        for whole in inspection.items():
            items += 1
            decisions += len(whole.decisions)
            for problem in problems(whole):
                broken += 1
                if broken <= SHOWN:
                    print(f"PROBLEM  tenant {whole.item.tenant}: {problem}")
    finally:
        inspection.close()
    if broken > SHOWN:
        print(f"and {broken - SHOWN} more")
    print(f"{items} items, {decisions} decisions, {broken} problems")
    return 1 if broken else 0


def _picture(whole: Whole, evidence: EvidenceStore, *, hashes: bool) -> Iterator[str]:
    """What is wrong with an item's picture, unless it was removed on purpose."""
    item, row = whole.item, whole.evidence
    if item.state is State.EXPIRED or (row is not None and row.removed_at is not None):
        return
    where = {"tenant": item.tenant, "sha256": item.sha256}
    try:
        if hashes:
            evidence.get(**where)
        elif not evidence.has(**where):
            raise ItemNotFound("no file")
    except ItemNotFound:
        yield f"item {item.item_id}, {item.state}: its picture {item.sha256} is missing"
    except StoreUnavailable as problem:
        yield f"item {item.item_id}, {item.state}: its picture {item.sha256}: {problem.message}"
