"""``imagesieve-server queue export``: items and decisions, or labels for the measuring tools."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imagesieve_server.commands.progress import Progress
from imagesieve_server.config import QueueSettings
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.evidence_place import evidence_to_read
from imagesieve_server.offline.from_decisions.labels import (
    Labelled,
    Left,
    labelled,
    write_labels,
    write_pictures,
)
from imagesieve_server.queue_store import open_inspection, queue_settings
from imagesieve_server.review_queue.inspection import Inspection, Whole

SECRET = ("token",)
"""Columns that never leave: with a living lease's token anybody could decide."""


def add_parser(commands: Any) -> None:
    export = commands.add_parser(
        "export",
        help="items with their decisions as JSON Lines, or decisions as a label file; beside "
        "running servers, changes nothing",
    )
    add = export.add_argument
    add("--config", type=Path, metavar="FILE", help="settings (TOML)")
    add("--tenant", default="", help="only this tenant's")
    add("--out", type=Path, metavar="FILE", help="write the JSON Lines here (default: print)")
    add(
        "--labels", type=Path, metavar="FILE",
        help="instead: what reviewers decided, as a label file (CSV) for evaluate, calibrate and "
        "policy probe",
    )  # fmt: skip
    add("--images", type=Path, metavar="DIR", help="with --labels: write the pictures here")
    add("--policy", default="", help="with --labels: only what this policy judged")
    add(
        "--label", action="append", default=[], metavar="LABEL=CATEGORY",
        help="with --labels: a label of your reviewers and the category it means",
    )  # fmt: skip
    export.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.labels is None and (args.images or args.policy or args.label):
        raise ConfigError("--images, --policy and --label go with --labels")
    if args.labels is not None and args.out is not None:
        raise ConfigError("give either --out or --labels")
    aliases = _aliases(args.label)
    queue = queue_settings(args.config)
    inspection = open_inspection(queue, tenant=args.tenant)
    try:
        if args.labels is not None:
            _export_labels(args, queue, inspection, aliases)
        else:
            _export_lines(args.out, inspection)
    except OSError as problem:
        raise ConfigError(f"{problem.filename}: {problem.strerror}") from problem
    finally:
        inspection.close()
    return 0


def _export_lines(out: Path | None, inspection: Inspection) -> None:
    if out is None:
        for whole in inspection.items():
            print(_line(whole))
        return
    with out.open("w", encoding="utf-8") as file:
        for whole in inspection.items():
            file.write(_line(whole) + "\n")


def _line(whole: Whole) -> str:
    return json.dumps(
        {
            **_public(whole.item),
            "request_ids": [upload.submission.request_id for upload in whole.uploads],
            "decisions": [_public(decision) for decision in whole.decisions],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def _public(row: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name not in SECRET}


def _export_labels(
    args: argparse.Namespace, queue: QueueSettings, inspection: Inspection, aliases: dict[str, str]
) -> None:
    left = Left()
    pictures = labelled(inspection.items(), policy=args.policy, aliases=aliases, left=left)
    if args.images is not None:
        evidence = evidence_to_read(queue)
        write_pictures(
            args.images,
            pictures,
            lambda tenant, sha256: evidence.get(tenant=tenant, sha256=sha256),
            Progress(sys.stderr, what="pictures"),
        )
    write_labels(args.labels, pictures)
    _tell(args.labels, pictures, left)


def _tell(path: Path, pictures: list[Labelled], left: Left) -> None:
    print(f"{path}: {len(pictures)} pictures")
    for category in sorted({name for picture in pictures for name in picture.said}):
        said = [picture.said[category] for picture in pictures if category in picture.said]
        print(f"  {category}: {sum(said)} yes, {len(said) - sum(said)} no")
    for reason, count in sorted(left.counts.items()):
        print(f"left out, {reason}: {count}")
    for name, count in left.names.most_common():
        print(f"label {name!r} names no category of the policy ({count}); see --label")


def _aliases(given: list[str]) -> dict[str, str]:
    found = {}
    for text in given:
        label, separator, category = text.partition("=")
        if not (separator and label and category):
            raise ConfigError(f"--label {text!r} is not LABEL=CATEGORY")
        found[label] = category
    return found
