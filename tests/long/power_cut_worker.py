"""The process that is recorded: the durable queue under load, telling what it acknowledged.

    power_cut_worker.py --folder DIR --seed 1 --life 0 --flags 200 [--as-sqlite 3.51.3]
        [--journal delete|wal --synchronous OFF|NORMAL|FULL|EXTRA] [--early]

It opens the queue as the server does, submits flags of two tenants from many callers at once,
and lets reviewers claim and decide; then it closes the queue. Each answer a caller got is
marked in the record. With ``--as-sqlite`` it sets up its connection as for that release; the
options after that make the queue worse than it is, on purpose.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import hashlib
import json
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from imagesieve_server.core.errors import ImagesieveError, RequestError
from imagesieve_server.core.review import (
    ClaimRequest,
    DecideRequest,
    Flag,
    Outcome,
    Recorded,
)
from imagesieve_server.core.verdict import ReasonCode, Verdict
from imagesieve_server.review_queue import recording, sqlite
from imagesieve_server.review_queue.evidence import FolderEvidence
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter

TENANTS = ("one", "Two")
CALLERS = 24
REVIEWERS = 3
REPEATED = 20

Mark = Callable[[dict[str, str]], None]
Settings = Callable[[tuple[int, ...]], tuple[str, str]]


class NoMetrics:
    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def review_quality(self, what: str) -> None: ...

    def store_error(self, operation: str) -> None:
        raise SystemExit(f"store error: {operation}")


class EarlyStore(RuledStore):
    """Answers before the commit: the mistake that the real store must not make."""

    mark: Mark

    def record(self, flags: Sequence[Flag]) -> list[Recorded | RequestError]:
        with self.backend.write() as tx:
            results = recording.record(tx, flags)
            for flag, result in zip(flags, results, strict=True):
                if isinstance(result, Recorded):
                    self.mark(kept(flag, result))
            return results


def content_of(request_id: str) -> bytes:
    """The bytes of a request; every sixth shares them with others of its life."""
    seed, life, number = request_id.split("-")
    shared = int(number) % 6 == 0
    source = random.Random(f"{seed}-{life}-pool-{int(number) % 5}" if shared else request_id)
    return source.randbytes(source.randint(200, 12_000))


def flag_of(request_id: str) -> Flag:
    content = content_of(request_id)
    sha256 = hashlib.sha256(content).hexdigest()
    return Flag(
        tenant=TENANTS[int(request_id.split("-")[2]) % 2],
        request_id=request_id,
        request_digest=sha256,
        sha256=sha256,
        size_bytes=len(content),
        media_type="image/jpeg",
        verdict=Verdict.REVIEW,
        policy="demo",
        policy_version="p",
        model_version="m",
        reasons=(ReasonCode.CATEGORY_REVIEW,),
        category="weapons",
        severity=1 + len(content) % 4,
        score=0.5,
        answer=json.dumps({"request_id": request_id, "item_id": ""}),
    )


def kept(flag: Flag, result: Recorded) -> dict[str, str]:
    """The mark of an acknowledged flag."""
    return {
        "kind": "flag",
        "tenant": flag.tenant,
        "request_id": flag.request_id,
        "item_id": result.item_id,
    }


def recorder() -> Mark:
    """Marks go to the preloaded recorder, in order with the calls around them."""
    put = ctypes.CDLL(None).power_cut_mark
    put.argtypes = (ctypes.c_char_p, ctypes.c_size_t)

    def mark(fields: dict[str, str]) -> None:
        data = json.dumps(fields).encode()
        put(data, len(data))

    return mark


def requests_of(*, seed: int, life: int, flags: int) -> list[str]:
    """As clients do, the last requests of the life before come again, acknowledged or not."""
    repeats = range(max(0, flags - REPEATED), flags) if life else ()
    return [f"{seed}-{life - 1}-{n}" for n in repeats] + [
        f"{seed}-{life}-{n}" for n in range(flags)
    ]


async def submit(writer: QueueWriter, requests: list[str], mark: Mark) -> None:
    waiting = iter(requests)

    async def caller() -> None:
        for request_id in waiting:
            flag = flag_of(request_id)
            result = await writer.submit(flag, content_of(request_id))
            mark(kept(flag, result))

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def review(
    writer: QueueWriter, *, name: str, claims: int, chance: random.Random, mark: Mark
) -> None:
    """Claim and decide; now and then give an item back."""
    while claims:
        tenant = chance.choice(TENANTS)
        claim_id = f"{name}-{chance.randbytes(8).hex()}"
        lease = await writer.claim(ClaimRequest(tenant=tenant, reviewer=name, claim_id=claim_id))
        if lease is None:
            await asyncio.sleep(0.002)
            continue
        claims -= 1
        said = {"tenant": tenant, "item_id": lease.item.item_id, "token": lease.token}
        mark({"kind": "claim", **said})
        if chance.random() < 0.2:
            await writer.release(**said)
            mark({"kind": "release", **said})
            continue
        outcome = chance.choice((Outcome.APPROVE, Outcome.REJECT, Outcome.ESCALATE))
        record = await writer.decide(DecideRequest(**said, reviewer=name, outcome=outcome))
        told = {"decision_id": record.decision_id, "outcome": outcome.value, "reviewer": name}
        mark({"kind": "decide", **said, **told})


async def live(given: argparse.Namespace) -> None:
    mark = recorder()
    data = given.folder / "data"
    evidence = FolderEvidence(root=data / "evidence")
    sqlite.migrate_sqlite(path=data / "queue.db")
    store = sqlite.open_sqlite(path=data / "queue.db", clock=time.time)
    if given.early:
        store = EarlyStore(backend=store.backend)
        store.mark = mark
    mark({"kind": "open"})
    writer = QueueWriter(store=store, evidence=evidence, metrics=NoMetrics())
    requests = requests_of(seed=given.seed, life=given.life, flags=given.flags)
    chance = random.Random(f"{given.seed}-{given.life}")
    claims = given.flags // 6  # of each reviewer: fewer than there are items
    reviewers = [
        review(writer, name=f"r{n}", claims=claims, chance=chance, mark=mark)
        for n in range(REVIEWERS)
    ]
    await asyncio.gather(submit(writer, requests, mark), *reviewers)
    await writer.close()


def settings_as(given: argparse.Namespace, real: Settings) -> Settings:
    """``journal_settings`` for the release that was asked for, or what a control asked for."""
    release = tuple(int(part) for part in given.as_sqlite.split("."))
    found = (given.journal, given.synchronous) if given.journal else real(release)
    return lambda _: found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--life", type=int, required=True)
    parser.add_argument("--flags", type=int, required=True)
    parser.add_argument("--as-sqlite", default=sqlite3.sqlite_version)
    parser.add_argument("--journal", choices=("delete", "wal"))
    parser.add_argument("--synchronous", choices=("OFF", "NORMAL", "FULL", "EXTRA"))
    parser.add_argument("--early", action="store_true")
    given = parser.parse_args()
    sqlite.journal_settings = settings_as(given, sqlite.journal_settings)
    try:
        asyncio.run(live(given))
    except ImagesieveError as problem:
        print(f"the queue under load failed: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
