"""``imagesieve-server demo``: the main job from end to end, shown step by step.

A real server in a process of its own, real image files through the real client, a review
item claimed and decided, the Prometheus series that moved, and a clean stop.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagesieve import Client, ModerationResult, Outcome, Verdict
from imagesieve_server.commands.local_server import OWN_SERVER, start_server
from imagesieve_server.demo_data import DEMO_IMAGES

_SHOWN_SERIES = (
    "grpc_server_handled_total",
    "imagesieve_verdicts_total",
    "imagesieve_review_items",
    "imagesieve_decode_failures_total",
    "imagesieve_store_flags_total",
    "imagesieve_encoder_batch_rows_count",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One demo picture and what it is."""

    file: str
    kind: str  # ordinary, flagged, or evasion:<how>
    category: str  # of the policy; "" for ordinary ones


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "demo", help="send the demo pictures through a real server and show what happens"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    del args
    pictures = read_pictures(DEMO_IMAGES)
    with tempfile.TemporaryDirectory(prefix="imagesieve-demo-") as folder:
        started = time.monotonic()
        with (
            start_server(folder=Path(folder), module=OWN_SERVER) as server,
            Client(server.target) as client,
        ):
            print(f"Server ready in {time.monotonic() - started:.1f} s")
            before = server.metrics()
            print(f"\nSending {len(pictures)} pictures to {server.target} ...\n")
            wrong = _moderate(client, pictures)
            _review(client)
            _show_series(before, server.metrics())
        print("\nThe server finished its calls and stopped.")
    if wrong:
        print(f"{wrong} of {len(pictures)} pictures were judged otherwise than expected.")
        return 1
    print(f"All {len(pictures)} pictures were judged as expected.")
    print(
        "The demo model understands emoji and nothing else: it shows the path and is not fit "
        "for moderation.\nKeep a server running: make serve"
    )
    return 0


def read_pictures(folder: Path) -> list[Picture]:
    """The demo's pictures in the order of ``labels.csv``."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as rows:
        return [
            Picture(file=row["file"], kind=row["expected"], category=row["category"])
            for row in csv.DictReader(rows)
        ]


def as_expected(picture: Picture, verdict: Verdict) -> bool:
    """Ordinary pictures are allowed; whatever hides or shows an offence is not."""
    return (verdict is Verdict.ALLOW) == (picture.kind == "ordinary")


def _moderate(client: Client, pictures: Sequence[Picture]) -> int:
    """Send every picture and print a row for each; returns how many surprised."""
    row = "{:<32} {:<20} {:<8} {:<18} {:>6} {:>9}  {:<15} {:>5}"
    titles = ("picture", "what it is", "verdict", "category", "score", "threshold", "view", "ms")
    print(row.format(*titles))
    wrong = 0
    for picture in pictures:
        started = time.perf_counter()
        result = client.moderate(DEMO_IMAGES / picture.file)
        milliseconds = (time.perf_counter() - started) * 1000
        surprise = not as_expected(picture, result.verdict)
        wrong += surprise
        print(
            row.format(
                picture.file,
                picture.kind,
                result.verdict.value,
                *_why(result),
                f"{milliseconds:.0f}",
            )
            + ("   <- not as expected" if surprise else "")
        )
    return wrong


def _why(result: ModerationResult) -> tuple[str, str, str, str]:
    """Category, score, threshold and view of a result."""
    others = [r for r in result.reasons if not r.category]
    worst = result.worst
    if worst is None or (others and not any(r.category for r in result.reasons)):
        reason = others[0] if others else None
        text = reason.code if reason else "-"
        return text, "-", "-", reason.detail if reason and reason.detail else "-"
    view = result.views[worst.view] if worst.view < len(result.views) else None
    threshold = worst.review_threshold
    return (
        worst.category,
        f"{worst.score:.3f}",
        f"{threshold.value:g}" if threshold else "-",
        f"{worst.view} {view.kind.value.lower()}" if view else "-",
    )


def _review(client: Client) -> None:
    """Claim the most urgent item, as a moderator's tool would, and decide it."""
    lease = client.review.claim(reviewer="demo-reviewer")
    if lease is None:
        print("\nNothing waits for review.")
        return
    item = lease.item
    print(
        f"\nReview: claimed item {item.item_id} ({item.verdict.value}, "
        f"{item.category or ', '.join(item.reasons)}, severity {item.severity})"
    )
    decision = client.review.decide(
        item.item_id,
        lease.token,
        outcome=Outcome.REJECT,
        reviewer="demo-reviewer",
        labels=("demo",),
        note="decided by the demo",
    )
    stats = client.review.stats()
    print(
        f"Review: decided {decision.outcome.value}, labels {', '.join(decision.labels)}; "
        f"{stats.ready} items wait"
    )


def _show_series(before: dict[str, float], after: dict[str, float]) -> None:
    print("\nPrometheus series that moved (of all at /metrics):")
    for name, value in sorted(after.items()):
        moved = value - before.get(name, 0.0)
        if moved and name.startswith(_SHOWN_SERIES):
            print(f"  {name}  {before.get(name, 0.0):g} -> {value:g}")
