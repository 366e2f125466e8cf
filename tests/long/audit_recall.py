"""Recall measured by audit samples against the true recall, through a real server.

    python tests/long/audit_recall.py --labels FOLDER/labels.csv [--n 10] [--seed 1]
                                      [--pictures 6000] [--share 0.1] [--out FILE]

``--labels`` is a label file beside its pictures, of the demo model's categories
(``imagesieve-server model demo-scenes`` makes one). In each of N trials a server with the demo
policy, audit rates and a secret of its own gets the pictures, most of them once and some many
times; --share of them violate. A scripted reviewer claims whatever is ready and decides by the
labels of the bytes, knowing nothing else. Then the decisions are measured beside the running
server, and the estimate is compared with the recall that the labels give.

Exit code 1 where the truth is outside the interval more often than it would be once in a
thousand times at 95 %, where the reviewer was shown what tells a sample from a flag, or where
something was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagesieve import Client, Outcome, Upload, Verdict
from imagesieve_server.commands.local_server import LocalServer, start_server
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_POLICY_SOURCE
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.compile_policy import compile_policy
from imagesieve_server.offline.from_decisions.measure import VersionResult, from_decisions
from imagesieve_server.offline.from_decisions.report import as_text
from imagesieve_server.review_queue.read_only import sqlite_reader

RATES = """
audit:
  rate: 0.03
  near:
    - {within: 1.0, rate: 0.5}
    - {within: 3.0, rate: 0.2}
"""
SETTLE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    path: Path
    categories: frozenset[str]
    uploads: int


def chosen(labels: Path, *, pictures: int, share: float, chance: random.Random) -> list[Picture]:
    """Pictures of which ``share`` violate, some uploaded often."""
    with labels.open(encoding="utf-8", newline="") as text:
        rows = [(row["file"], row["categories"]) for row in csv.DictReader(text)]
    chance.shuffle(rows)
    bad = [row for row in rows if row[1]][: round(pictures * share)]
    good = [row for row in rows if not row[1]][: pictures - len(bad)]
    return [
        Picture(
            path=labels.parent / file,
            categories=frozenset(filter(None, categories.split(";"))),
            uploads=min(30, int(chance.paretovariate(1.8))),
        )
        for file, categories in (*bad, *good)
    ]


def uploads_of(pictures: list[Picture], chance: random.Random) -> Iterator[Upload]:
    order = [picture for picture in pictures for _ in range(picture.uploads)]
    chance.shuffle(order)
    for number, picture in enumerate(order):
        yield Upload(
            image=picture.path.read_bytes(), request_id=f"r-{number}", content_ref=str(picture.path)
        )


def send(client: Client, pictures: list[Picture], chance: random.Random) -> tuple[int, int, float]:
    """(violating uploads that were flagged, that were allowed, uploads a second)."""
    truth = {str(picture.path): picture.categories for picture in pictures}
    counts: Counter[bool] = Counter()
    started, sent = time.monotonic(), 0
    for outcome in client.moderate_bulk(uploads_of(pictures, chance), timeout=600):
        sent += 1
        verdict = outcome.unwrap().verdict
        if verdict is Verdict.UNDECIDED:
            raise SystemExit("an upload got no answer")
        if truth[outcome.upload.content_ref]:
            counts[verdict is not Verdict.ALLOW] += 1
    return counts[True], counts[False], sent / (time.monotonic() - started)


def review(client: Client, by_bytes: dict[str, frozenset[str]]) -> int:
    """Decide all that is ready, by the labels of the bytes; how many."""
    decided = 0
    while lease := client.review.claim(reviewer="script"):
        item = lease.item
        if item.reasons or item.answer or item.score or item.verdict is not Verdict.UNDECIDED:
            raise SystemExit(f"the reviewer was shown what tells a sample from a flag: {item}")
        shown = by_bytes[item.sha256]
        client.review.decide(
            item.item_id,
            lease.token,
            Outcome.REJECT if shown else Outcome.APPROVE,
            labels=sorted(shown),
            reviewer="script",
        )
        decided += 1
    return decided


def measured(folder: Path) -> VersionResult:
    with contextlib.closing(sqlite_reader(path=folder / "queue.sqlite3")) as reader:
        (result,) = from_decisions(reader)
        return result


def settled(server: LocalServer, folder: Path, sent: int) -> None:
    """Wait until every sample and count has been handed over."""
    name = 'imagesieve_audit_samples_total{policy="demo",result="kept"}'
    last, end = -1.0, time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        kept = server.metrics()[name]
        result = measured(folder)
        if kept == last and (result.allowed or 0) + result.flagged == sent:
            return
        last = kept
        time.sleep(1.5)
    raise SystemExit("the counts do not add up to what was sent")


def trial(pictures: list[Picture], *, seed: int, folder: Path) -> dict[str, Any]:
    chance = random.Random(seed)
    secret = folder / "secret"
    secret.write_bytes(chance.randbytes(64))
    by_bytes = {
        hashlib.sha256(picture.path.read_bytes()).hexdigest(): picture.categories
        for picture in pictures
    }
    with (
        start_server(
            folder=folder,
            policies=folder.parent / "policies",
            IMAGESIEVE__SERVER__SECRET_FILE=str(secret),
        ) as server,
        Client(server.target) as client,
    ):
        caught, missed, rate = send(client, pictures, chance)
        settled(server, folder, sum(picture.uploads for picture in pictures))
        decided = review(client, by_bytes)
        result = measured(folder)
        dropped = server.metrics()['imagesieve_audit_samples_total{policy="demo",result="dropped"}']
    return figures(result, caught, missed) | {
        "uploads_per_s": round(rate),
        "decided": decided,
        "dropped": dropped,
        "text": as_text([result]),
    }


def figures(result: VersionResult, caught: int, missed: int) -> dict[str, Any]:
    row = next(row for row in result.categories if row.category == "any")
    recall = row.estimate.recall
    assert recall is not None
    true = caught / (caught + missed)
    return {
        "true": true,
        "missed": missed,
        "estimate": recall.value,
        "low": recall.low,
        "high": recall.high,
        "inside": recall.low <= true <= recall.high,
        "missed_estimate": row.estimate.missed.value,
        "found": row.estimate.found,
        "effective": row.estimate.effective,
        "samples": sum(band.decided for band in result.bands),
        "caught_is_right": row.estimate.caught.value == caught,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Recall by audit samples against the truth.")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--n", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pictures", type=int, default=6000)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    pictures = chosen(
        args.labels,
        pictures=args.pictures,
        share=args.share,
        chance=random.Random(args.seed),
    )
    trials = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "policies").mkdir()
        source = root / "demo.yaml"
        source.write_text(DEMO_POLICY_SOURCE.read_text() + RATES)
        bundle = load_bundle(DEMO_BUNDLE)
        compile_policy(
            source_path=source,
            bundle=bundle,
            encode_texts=OnnxTextEncoder(bundle=bundle).encode,
            out=root / "policies" / "demo.policy.npz",
        )
        for number in range(args.n):
            folder = root / str(number)
            folder.mkdir()
            found = trial(pictures, seed=args.seed * 1000 + number, folder=folder)
            print(found.pop("text") if not number else "", end="")
            print(
                f"trial {number}: true {found['true']:.3f}, estimated {found['estimate']:.3f} "
                f"({found['low']:.3f} to {found['high']:.3f}), {found['samples']} samples, "
                f"{found['found']} misses found, {found['uploads_per_s']} uploads/s",
                flush=True,
            )
            trials.append(found)
    return report(trials, args)


def report(trials: list[dict[str, Any]], args: argparse.Namespace) -> int:
    n = len(trials)
    outside = sum(not found["inside"] for found in trials)
    mean = sum(found["missed_estimate"] for found in trials) / n
    true = sum(found["missed"] for found in trials) / n
    print(
        f"{outside} of {n} intervals without the truth; missed {mean:.0f} on average, true {true}"
    )
    if args.out:
        args.out.write_text(json.dumps({"args": vars(args), "trials": trials}, default=str) + "\n")
    likely = [math.comb(n, k) * 0.05**k * 0.95 ** (n - k) for k in range(n + 1)]
    bad = sum(likely[outside:]) < 0.001 or any(
        found["dropped"] or not found["caught_is_right"] for found in trials
    )
    return int(bad)


if __name__ == "__main__":
    raise SystemExit(main())
