"""Kill a server N times while it tells of decisions; each must arrive, in order per item.

    PYTHONPATH=tests python tests/long/kill_webhooks.py [--n 20] [--seed 1]

A receiver on this machine fails one request in ten (an error, a closed connection, no answer).
Each run starts a real server on the same queue, decides items and contests and decides them
again over gRPC, and sends SIGKILL at a random moment. After the last run the server is started
once more: every decision that was acknowledged must have arrived, and what arrived first of
each item must be in order. Exit code 1 on any loss or disorder.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.webhook_receiver import SECRET, Receiver, Reply
from imagesieve import Client, ImagesieveError, Outcome, ReopenCause
from imagesieve_server.commands.demo import read_pictures
from imagesieve_server.commands.local_server import LocalServer, launch
from imagesieve_server.demo_data import DEMO_IMAGES

PATIENCE_S = 300.0
ITEMS = 6


@dataclass
class Work:
    """What was acknowledged."""

    picture: bytes
    chance: random.Random
    items: list[str] = field(default_factory=list)
    decisions: set[str] = field(default_factory=set)
    turns: int = 0

    def until(self, client: Client, at: float) -> None:
        """Make decisions until then, or the server is gone."""
        while time.monotonic() < at:
            self.turns += 1
            try:
                self._turn(client)
            except ImagesieveError:
                time.sleep(0.02)

    def _turn(self, client: Client) -> None:
        if len(self.items) < ITEMS or self.chance.random() < 0.3:
            data = self.picture + f"{self.turns}".encode()
            client.moderate(data, request_id=f"r{self.turns}", timeout=20)
        else:
            client.review.reopen(self.chance.choice(self.items), ReopenCause.APPEAL, timeout=5)
        reviewer = f"reviewer {self.turns}"
        lease = client.review.claim(reviewer=reviewer, timeout=5)
        if lease is None:
            return
        outcome = self.chance.choice([Outcome.APPROVE, Outcome.REJECT])
        decision = client.review.decide(
            lease.item.item_id, lease.token, outcome, reviewer=reviewer, timeout=5
        )
        self.decisions.add(decision.decision_id)
        if lease.item.item_id not in self.items:
            self.items.append(lease.item.item_id)


def bad(chance: random.Random) -> Reply:
    if chance.random() >= 0.1:
        return Reply()
    return chance.choice([Reply(status=500), Reply(drops=True), Reply(hangs=True)])


def start_receiver(receiver: Receiver) -> asyncio.AbstractEventLoop:
    """In a thread of its own, which ends with the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(receiver.start(), loop).result()
    return loop


def endpoints(folder: Path, receiver: Receiver) -> Path:
    path = folder / "webhooks.toml"
    path.write_text(
        f'[[endpoint]]\nname = "hook"\ntenant = "default"\nurl = "{receiver.url}"\n'
        f'secrets = ["{SECRET}"]\ntimeout_seconds = 1\nfrom_oldest = true\n'
    )
    return path


def arrived(receiver: Receiver) -> set[str]:
    return {event["data"]["decision"]["decision_id"] for event in list(receiver.taken)}


def disorder(events: list[dict[str, Any]]) -> int:
    """How many events arrived for the first time behind a later one of their item."""
    last: dict[str, str] = {}
    seen: set[str] = set()
    wrong = 0
    for event in events:
        if event["id"] not in seen:
            wrong += event["sequence"] < last.get(event["subject"], "")
            last[event["subject"]] = event["sequence"]
        seen.add(event["id"])
    return wrong


def run(work: Work, server: LocalServer, seconds: float) -> None:
    with Client(server.target) as client:
        work.until(client, time.monotonic() + seconds)
        server.process.kill()
        server.process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    name = next(p.file for p in read_pictures(DEMO_IMAGES) if p.kind == "flagged")
    receiver = Receiver(behave=lambda event: bad(chance))
    start_receiver(receiver)
    work = Work(picture=(DEMO_IMAGES / name).read_bytes(), chance=random.Random(args.seed))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="imagesieve-hooks-") as folder:
        settings = {
            "IMAGESIEVE__WEBHOOKS__ENDPOINTS": str(endpoints(Path(folder), receiver)),
            "IMAGESIEVE__QUEUE__DATABASE": f"{folder}/queue.sqlite3",
        }
        for _ in range(args.n):
            run(work, launch(folder=Path(folder), **settings), chance.uniform(1.0, 5.0))
        server = launch(folder=Path(folder), **settings)
        until = time.monotonic() + PATIENCE_S
        while work.decisions - arrived(receiver) and time.monotonic() < until:
            time.sleep(0.1)
        server.stop()
    lost, wrong = len(work.decisions - arrived(receiver)), disorder(receiver.taken)
    again = len(receiver.taken) - len({event["id"] for event in receiver.taken})
    print(
        f"kills of a server that tells of decisions: N={args.n} seed={args.seed} "
        f"{time.monotonic() - began:.0f} s, acknowledged decisions {len(work.decisions)} on "
        f"{len(work.items)} items, requests {len(receiver.seen)}, told twice {again}, "
        f"lost {lost}, out of order {wrong}"
    )
    return 1 if lost or wrong or not work.decisions else 0


if __name__ == "__main__":
    raise SystemExit(main())
