"""Kill loaded servers and their database N times; nothing that was acknowledged may be missing.

    python tests/long/kill_postgres.py [--n 200] [--seed 1] [--callers 8] [--bucket]

Two real servers share one PostgreSQL database and one evidence folder, with ``--bucket`` one bucket
of a real object store, which is killed as well. Uploaders send flagged
pictures to both and repeat what failed, at either; reviewers claim at one and decide at the other.
At random moments one server, the database with all its processes or the object store gets SIGKILL
and is started again; the others go on and must recover by themselves. In the end over gRPC and in
the database:

- each acknowledged flag has its item, once, with the very bytes;
- each acknowledged decision is the item's, and no item has two effective decisions in a round;
- every decision was told once per submission, positions have no gaps, every chain is whole.

Exit code 1 where anything is missing. SIGKILL keeps the page cache: this proves the order of
things and the database's recovery, not that bytes reached the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # servers are started beside living calls

from kill_server import Acknowledged, flagged_picture

from helpers.object_store import ObjectStore
from helpers.postgres import PostgresServer, open_for_test
from imagesieve import AsyncClient, Client, ImagesieveError, Outcome, Verdict
from imagesieve_server.commands.local_server import LocalServer, launch
from imagesieve_server.review_queue import chain

TENANT = "default"


@dataclass
class Told:
    """What callers know."""

    flags: list[Acknowledged] = field(default_factory=list)
    decisions: dict[str, str] = field(default_factory=dict)  # decision_id to item_id
    failures: Counter[str] = field(default_factory=Counter)


class Fleet:
    """Two servers on one database; what is killed is started again."""

    def __init__(self, folder: Path, database: PostgresServer, objects: ObjectStore | None) -> None:
        self._folder = folder
        self._database = database
        self._objects = objects
        self._evidence = {"IMAGESIEVE__QUEUE__EVIDENCE_SHARED": "true"}
        if objects is not None:
            self._evidence = objects.settings(objects.new_bucket(), folder / "key")
        self.url = database.new_database(migrated=False)
        (folder / "secret").write_text("0123456789abcdef" * 4)
        self.servers = [self._launch(), self._launch()]

    def _launch(self) -> LocalServer:
        return launch(
            folder=self._folder,
            IMAGESIEVE__QUEUE__DATABASE=self.url,
            IMAGESIEVE__SERVER__SECRET_FILE=str(self._folder / "secret"),
            **self._evidence,
        )

    async def kill(self, victim: int) -> None:
        """0 and 1 are servers, 2 is the database, 3 the object store."""
        if victim == 3 and self._objects is not None:
            self._objects.kill()
            await asyncio.sleep(0.3)
            self._objects.start()
            return
        if victim == 2:
            await asyncio.to_thread(self._database.kill)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(self._database.start_again)
            return
        self.servers[victim].process.kill()
        self.servers[victim].process.wait()
        self.servers[victim] = await asyncio.to_thread(self._launch)

    @property
    def victims(self) -> int:
        return 3 if self._objects is None else 4

    def close(self) -> None:
        for server in self.servers:
            server.process.kill()
            server.process.wait()


async def upload(fleet: Fleet, told: Told, *, picture: bytes, number: int) -> None:
    """Flag one picture after the other; what failed is repeated at the other server."""
    for turn in itertools.count():
        # Every fifth is a picture that another uploader has, too.
        name = f"pool-{turn}" if turn % 5 == 0 else f"{number}-{turn}"
        image, request_id = picture + name.encode(), f"{number}-{turn}"
        for attempt in itertools.count():
            target = fleet.servers[(number + turn + attempt) % 2].target
            try:
                async with AsyncClient(target) as client:
                    result = await client.moderate(image, request_id=request_id, timeout=5)
            except ImagesieveError as problem:
                told.failures[type(problem).__name__] += 1
                await asyncio.sleep(0.05)
                continue
            if result.verdict in (Verdict.REVIEW, Verdict.BLOCK):
                flag = Acknowledged(request_id=request_id, image=image, item_id=result.item_id)
                told.flags.append(flag)
                break
            if result.verdict is not Verdict.UNDECIDED:
                raise RuntimeError(f"a flagged picture was answered {result.verdict}")
            told.failures["UNDECIDED"] += 1
            await asyncio.sleep(0.05)


async def review(fleet: Fleet, told: Told, *, number: int) -> None:
    """Claim at one server, decide at the other, and say it again where the answer was lost."""
    reviewer = f"reviewer-{number}"
    for turn in itertools.count():
        try:
            async with AsyncClient(fleet.servers[turn % 2].target) as client:
                lease = await client.review.claim(
                    reviewer=reviewer, claim_id=f"{number}-{turn}", timeout=5
                )
        except ImagesieveError as problem:
            told.failures[f"claim: {type(problem).__name__}"] += 1
            lease = None
        if lease is None:
            await asyncio.sleep(0.1)
            continue
        for attempt in range(40):
            try:
                async with AsyncClient(fleet.servers[(turn + 1 + attempt) % 2].target) as client:
                    decision = await client.review.decide(
                        lease.item.item_id,
                        lease.token,
                        Outcome.REJECT if turn % 2 else Outcome.APPROVE,
                        reviewer=reviewer,
                        timeout=5,
                    )
                told.decisions[decision.decision_id] = decision.item_id
                break
            except ImagesieveError as problem:
                told.failures[f"decide: {type(problem).__name__}"] += 1
                await asyncio.sleep(0.2)


async def kills(
    fleet: Fleet, told: Told, *, n: int, callers: int, chance: random.Random
) -> Counter[int]:
    """Load, and a kill at random moments; which ones there were."""
    picture, done = flagged_picture(), Counter[int]()
    work = [
        asyncio.create_task(upload(fleet, told, picture=picture, number=number))
        for number in range(callers)
    ]
    work += [asyncio.create_task(review(fleet, told, number=number)) for number in range(4)]
    for turn in range(n):
        await asyncio.wait(work, timeout=chance.uniform(0.2, 3.0))
        for task in work:
            if task.done():
                task.result()
        victim = turn % fleet.victims
        await fleet.kill(victim)
        done[victim] += 1
        print(f"{turn + 1} kills, {len(told.flags)} flags, {len(told.decisions)} decisions",
              file=sys.stderr, flush=True)  # fmt: skip
    await asyncio.sleep(3.0)  # what is under way is acknowledged
    for task in work:
        task.cancel()
    for task in work:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return done


def lost_flags(fleet: Fleet, told: Told) -> int:
    """Over gRPC, at both servers in turn."""
    lost = 0
    with Client(fleet.servers[0].target) as one, Client(fleet.servers[1].target) as two:
        for number, flag in enumerate(told.flags):
            client = (one, two)[number % 2]
            item = client.review.get(flag.item_id, include_image=True)
            again = client.moderate(flag.image, request_id=flag.request_id)
            lost += item.image != flag.image or again.item_id != flag.item_id
    return lost


def problems(fleet: Fleet, told: Told) -> dict[str, int]:
    """In the database: what must be 0, by name."""
    found = Counter[str]()
    store = open_for_test(fleet.url)
    with store.backend.read() as tx:
        ids = sorted({flag.item_id for flag in told.flags} | set(told.decisions.values()))
        rows, known = tx.items(TENANT, ids), set[str]()
        events = tx.events(TENANT, after=0, limit=10**9)
        told_of = Counter(event.decision_id for event in events)
        for item_id, row in rows.items():
            decisions = tx.decisions(TENANT, [item_id])
            known |= {each.decision_id for each in decisions}
            effective = [each for each in decisions if each.effective]
            rounds = Counter(each.round for each in effective)
            found["decided twice"] += sum(count > 1 for count in rounds.values())
            found["chains broken"] += bool(chain.problems(row, decisions))
            found["decisions not told to all"] += sum(
                not 1 <= told_of[each.decision_id] <= row.submissions for each in effective
            )
        found["flags without an item"] = len(ids) - len(rows)
        found["decisions lost"] = len(set(told.decisions) - known)
        positions = [event.position for event in events]
        found["gaps in events"] = positions != list(range(1, len(positions) + 1))
        requests = Counter((event.decision_id, event.request_id) for event in events)
        found["told twice"] = sum(count > 1 for count in requests.values())
    store.close()
    (row,) = PostgresServer.run(
        fleet._database,
        fleet.url,
        "SELECT count(*) FROM (SELECT 1 FROM item WHERE state IN ('READY', 'LEASED', 'PARKED') "
        "GROUP BY tenant, sha256 HAVING count(*) > 1) twice",
    )
    found["open twice"] = int(row[0])
    return dict(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--bucket", action="store_true", help="pictures in an object store")
    given = parser.parse_args()
    started, told, database = time.monotonic(), Told(), PostgresServer()
    objects = ObjectStore() if given.bucket else None
    try:
        with tempfile.TemporaryDirectory(prefix="imagesieve-kills-") as name:
            fleet = Fleet(Path(name), database, objects)
            try:
                chance = random.Random(given.seed)
                work = kills(fleet, told, n=given.n, callers=given.callers, chance=chance)
                done = asyncio.run(work)
                killed_s = time.monotonic() - started
                bad = {"flags lost": lost_flags(fleet, told), **problems(fleet, told)}
            finally:
                fleet.close()
    finally:
        database.close()
        if objects is not None:
            objects.close()
    figures = {
        "n": given.n,
        "seed": given.seed,
        "kills of servers": done[0] + done[1],
        "kills of the database": done[2],
        "kills of the object store": done[3],
        "duration_s": round(killed_s, 1),
        "acknowledged flags": len(told.flags),
        "acknowledged decisions": len(told.decisions),
        "problems": bad,
        "failures told to callers": dict(told.failures),
    }
    print(json.dumps(figures))
    return 1 if any(bad.values()) or not told.flags or not told.decisions else 0


if __name__ == "__main__":
    sys.exit(main())
