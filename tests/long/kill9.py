"""Kill the queue's process again and again: no acknowledged flag may be lost.

    python tests/long/kill9.py --n 200 --seed 1 [--folder DIR]

A worker process submits flags through the writer into SQLite and an evidence folder, from
many callers at once, and prints each request_id once it is acknowledged. It is killed
(SIGKILL) at a random moment, N times, on one database; each new worker first repeats the
last requests of the one before, as clients do. In the end every acknowledged flag must be in
the queue exactly once, with its evidence intact.

This proves what a process's death may do. It proves nothing about a power cut: the page
cache survives a kill.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from imagesieve_server.core.errors import ImagesieveError
from imagesieve_server.core.review import Flag, Item, ListRequest
from imagesieve_server.core.verdict import ReasonCode, Verdict
from imagesieve_server.review_queue.evidence import FolderEvidence
from imagesieve_server.review_queue.recording import Asked
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter

TENANT = "t"
CALLERS = 64
REPEATED = 64
LONGEST_LIFE_S = 1.2


class NoMetrics:
    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def review_quality(self, what: str) -> None: ...

    def store_error(self, operation: str) -> None:
        print(f"store error: {operation}", file=sys.stderr)


def content_of(request_id: str) -> bytes:
    """The bytes of a request; every tenth shares them with others of its worker."""
    seed, run, number = request_id.split("-")
    name = f"{seed}-{run}-pool-{int(number) % 7}" if int(number) % 10 == 0 else request_id
    source = random.Random(name)
    return source.randbytes(source.randint(200, 20_000))


def flag_of(request_id: str, content: bytes) -> Flag:
    sha256 = hashlib.sha256(content).hexdigest()
    return Flag(
        tenant=TENANT,
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


async def work(folder: Path, *, seed: int, run: int, repeat_from: int) -> None:
    """Submit for ever; the previous worker's last requests come first."""
    store = open_sqlite(path=folder / "queue.db", clock=time.time)
    evidence = FolderEvidence(root=folder / "evidence")
    writer = QueueWriter(store=store, evidence=evidence, metrics=NoMetrics())
    repeats = [f"{seed}-{run - 1}-{n}" for n in range(repeat_from, repeat_from + REPEATED)]
    fresh = (f"{seed}-{run}-{n}" for n in itertools.count())
    requests = itertools.chain(repeats if run else [], fresh)
    os.write(1, b"ready\n")

    async def caller() -> None:
        for request_id in requests:
            content = content_of(request_id)
            flag = flag_of(request_id, content)
            await writer.submit(flag, content)
            # One write of less than PIPE_BUF: it arrives whole or not at all.
            os.write(1, f"{request_id} {flag.sha256}\n".encode())

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


def one_life(
    folder: Path, *, seed: int, run: int, repeat_from: int, life_s: float
) -> list[tuple[str, str]]:
    """Start a worker, kill it ``life_s`` after it is ready; what it acknowledged."""
    command = [sys.executable, __file__, "--worker", "--folder", str(folder)]
    command += ["--seed", str(seed), "--run", str(run), "--repeat-from", str(repeat_from)]
    acknowledged: list[tuple[str, str]] = []
    ready = threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        output = process.stdout
        assert output is not None

        def listen() -> None:
            for line in output:
                if line == b"ready\n":
                    ready.set()
                elif line.endswith(b"\n"):
                    request_id, sha256 = line.decode().split()
                    acknowledged.append((request_id, sha256))

        listener = threading.Thread(target=listen)
        listener.start()
        if not ready.wait(60.0):
            process.kill()
            raise RuntimeError(f"worker {run} did not become ready")
        time.sleep(life_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        listener.join()
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError(f"worker {run} ended by itself with {process.returncode}")
    return acknowledged


def all_items(store: RuledStore) -> Iterator[Item]:
    token = ""
    while True:
        page = store.list(ListRequest(tenant=TENANT, page_size=500, page_token=token))
        yield from page.items
        token = page.next_page_token
        if not token:
            return


def check(folder: Path, acknowledged: dict[str, str]) -> tuple[list[str], list[str]]:
    """(lost, duplicated) request_ids and items."""
    store = open_sqlite(path=folder / "queue.db", clock=time.time)
    evidence = FolderEvidence(root=folder / "evidence")
    by_id = {item.item_id: item for item in all_items(store)}
    copies = Counter(item.sha256 for item in by_id.values())
    duplicated = [sha256 for sha256, count in copies.items() if count != 1]
    lost: list[str] = []
    submissions: Counter[str] = Counter()
    asked = list(acknowledged.items())
    for start in range(0, len(asked), 500):
        part = asked[start : start + 500]
        requests = [Asked(tenant=TENANT, request_id=name, digest=digest) for name, digest in part]
        for (request_id, sha256), found in zip(part, store.answers_of(requests), strict=True):
            item = None
            if found is not None and not isinstance(found, ImagesieveError):
                item = by_id.get(found.item_id)
            if item is None or item.sha256 != sha256:
                lost.append(request_id)
                continue
            submissions[item.item_id] += 1
            try:
                evidence.get(tenant=TENANT, sha256=sha256)
            except ImagesieveError as problem:
                lost.append(f"{request_id}: {problem}")
    lost += [f"{i}: submissions" for i, n in submissions.items() if by_id[i].submissions < n]
    store.close()
    return lost, duplicated


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--run", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--repeat-from", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        asyncio.run(
            work(given.folder, seed=given.seed, run=given.run, repeat_from=given.repeat_from)
        )
        return 0
    with tempfile.TemporaryDirectory(prefix="kill9-", dir=given.folder) as name:
        return kills(Path(name), n=given.n, seed=given.seed)


def kills(folder: Path, *, n: int, seed: int) -> int:
    started = time.monotonic()
    migrate_sqlite(path=folder / "queue.db")
    chance = random.Random(seed)
    acknowledged: dict[str, str] = {}
    silent = repeat_from = 0
    for run in range(n):
        life_s = chance.uniform(0.0, LONGEST_LIFE_S)
        got = one_life(folder, seed=seed, run=run, repeat_from=repeat_from, life_s=life_s)
        silent += not got
        acknowledged.update(got)
        own = [int(r.split("-")[2]) for r, _ in got if r.startswith(f"{seed}-{run}-")]
        repeat_from = max(0, max(own, default=0) - REPEATED // 2)
        if (run + 1) % 20 == 0:
            print(f"{run + 1} kills, {len(acknowledged)} acknowledged", flush=True)
    killed_s = time.monotonic() - started
    lost, duplicated = check(folder, acknowledged)
    figures = {
        "n": n,
        "seed": seed,
        "duration_s": round(killed_s, 1),
        "check_s": round(time.monotonic() - started - killed_s, 1),
        "acknowledged": len(acknowledged),
        "lives_without_acknowledgement": silent,
        "lost": len(lost),
        "duplicated": len(duplicated),
    }
    print(json.dumps(figures))
    for problem in (*lost, *duplicated):
        print(problem, file=sys.stderr)
    return 1 if lost or duplicated else 0


if __name__ == "__main__":
    sys.exit(main())
