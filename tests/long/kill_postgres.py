"""Kill loaded servers and their database; nothing that was acknowledged may be missing.

    python tests/long/kill_postgres.py [--servers 200] [--databases 200] [--seed 1] [--callers 8]
                                       [--minutes 600] [--bucket]

Two real servers share one PostgreSQL database and one evidence folder, with ``--bucket`` one bucket
of a real object store, which is killed with the database. Uploaders send flagged
pictures to both and repeat what failed, at either; reviewers claim at one and decide at the other.
In each round one server gets SIGKILL at a random moment, and while it starts again the database
with all its processes does, too; the others go on and must recover by themselves. After
``--minutes``, or Ctrl-C, the round is the last one and what was done is judged. In the end, over
gRPC and in the database:

- each acknowledged flag has its item, once, with the very bytes;
- each acknowledged decision is the item's, and no item has two effective decisions in a round;
- every decision was told once per submission, positions have no gaps, every chain is whole.

Exit code 1 where anything is missing. SIGKILL keeps the page cache: this proves the order of
things and the database's recovery, not that bytes reached the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # servers are started beside living calls

from kill_server import Acknowledged, flagged_picture

from helpers.object_store import ObjectStore
from helpers.postgres import PostgresServer, open_for_test
from imagesieve import AsyncClient, ImagesieveError, ItemNotFound, Outcome, Verdict
from imagesieve_server.commands.local_server import LocalServer, launch
from imagesieve_server.core.errors import StartupError
from imagesieve_server.review_queue import chain
from imagesieve_server.review_queue.rows import DecisionRow

TENANT = "default"
CALL_S = 2.0
"""Time-out of one call, seconds: so long a caller waits for a server that is dead."""
FLOW_S = 300.0
"""Flags and decisions must be taken again within this time after a kill, seconds."""
START_TRIES = 5


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
        self.kills = Counter[str]()
        self._clients: dict[str, AsyncClient] = {}
        self._old: list[tuple[float, AsyncClient]] = []

    def _launch(self) -> LocalServer:
        """A server whose start met the database's death is started again."""
        for _ in range(START_TRIES):
            try:
                return launch(
                    folder=self._folder,
                    IMAGESIEVE__QUEUE__DATABASE=self.url,
                    IMAGESIEVE__SERVER__SECRET_FILE=str(self._folder / "secret"),
                    **self._evidence,
                )
            except StartupError as problem:
                self.kills["starts repeated"] += 1
                last = problem
        raise last

    def client(self, number: int) -> AsyncClient:
        """To the server that has this number at present."""
        target = self.servers[number % 2].target
        if target not in self._clients:
            self._clients[target] = AsyncClient(target)
        return self._clients[target]

    async def kill_server(self, number: int) -> None:
        server = self.servers[number]
        server.process.kill()
        server.process.wait()
        self.kills["servers"] += 1
        self.servers[number] = await asyncio.to_thread(self._launch)
        if client := self._clients.pop(server.target, None):
            self._old.append((time.monotonic(), client))
        server.log.unlink()

    async def kill_database(self) -> None:
        await asyncio.to_thread(self._database.kill)
        self.kills["databases"] += 1
        await asyncio.sleep(0.1)
        await asyncio.to_thread(self._database.start_again)
        if self._objects is not None:
            self._objects.kill()
            self.kills["object stores"] += 1
            await asyncio.sleep(0.3)
            self._objects.start()

    def start_what_is_down(self) -> None:
        self._database.start_again()
        for number, server in enumerate(self.servers):
            if server.process.poll() is not None:
                self.servers[number] = self._launch()

    async def close_old_clients(self) -> None:
        """Those whose calls have long ended: a channel that is closed cancels them."""
        while self._old and self._old[0][0] < time.monotonic() - 3 * CALL_S:
            await self._old.pop(0)[1].close()

    async def close_clients(self) -> None:
        for client in [*self._clients.values(), *(client for _, client in self._old)]:
            await client.close()
        self._clients, self._old = {}, []

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
            client = fleet.client(number + turn + attempt)
            try:
                result = await client.moderate(image, request_id=request_id, timeout=CALL_S)
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
            lease = await fleet.client(turn).review.claim(
                reviewer=reviewer, claim_id=f"{number}-{turn}", timeout=CALL_S
            )
        except ImagesieveError as problem:
            told.failures[f"claim: {type(problem).__name__}"] += 1
            lease = None
        if lease is None:
            await asyncio.sleep(0.1)
            continue
        for attempt in range(40):
            try:
                decision = await fleet.client(turn + 1 + attempt).review.decide(
                    lease.item.item_id,
                    lease.token,
                    Outcome.REJECT if turn % 2 else Outcome.APPROVE,
                    reviewer=reviewer,
                    timeout=CALL_S,
                )
                told.decisions[decision.decision_id] = decision.item_id
                break
            except ImagesieveError as problem:
                told.failures[f"decide: {type(problem).__name__}"] += 1
                await asyncio.sleep(0.2)


async def kills(
    fleet: Fleet, told: Told, *, given: argparse.Namespace, stop: asyncio.Event
) -> None:
    """Load, and the kills at random moments."""
    picture, chance = flagged_picture(), random.Random(given.seed)
    work = [
        asyncio.create_task(upload(fleet, told, picture=picture, number=number))
        for number in range(given.callers)
    ]
    work += [asyncio.create_task(review(fleet, told, number=number)) for number in range(4)]
    try:
        await rounds(fleet, told, work, given=given, chance=chance, stop=stop)
        await asyncio.sleep(3.0)  # what is under way is acknowledged
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


async def rounds(
    fleet: Fleet,
    told: Told,
    work: list[asyncio.Task[None]],
    *,
    given: argparse.Namespace,
    chance: random.Random,
    stop: asyncio.Event,
) -> None:
    end = time.monotonic() + given.minutes * 60
    for turn in range(max(given.servers, given.databases)):
        if not await flows(told, work):
            fleet.kills["not recovered from"] += 1
            break
        await asyncio.wait(work, timeout=chance.uniform(0.0, 1.0))
        both = [one_after(0.0, fleet.kill_server(turn % 2))] if turn < given.servers else []
        if turn < given.databases:
            both.append(one_after(chance.uniform(0.0, 2.0), fleet.kill_database()))
        await asyncio.gather(*both)
        await fleet.close_old_clients()
        print(f"{dict(fleet.kills)}, {len(told.flags)} flags, {len(told.decisions)} decisions",
              file=sys.stderr, flush=True)  # fmt: skip
        if stop.is_set() or time.monotonic() > end:
            break


async def flows(told: Told, work: list[asyncio.Task[None]]) -> bool:
    """Wait until flags and decisions are taken again, so that every kill meets both under way."""
    flags, decisions = len(told.flags) + 4, len(told.decisions) + 1
    by = time.monotonic() + FLOW_S
    while len(told.flags) < flags or len(told.decisions) < decisions:
        if time.monotonic() > by:
            return False
        await asyncio.wait(work, timeout=0.05)
        for task in work:
            if task.done():
                task.result()
    return True


async def one_after(seconds: float, kill: Coroutine[None, None, None]) -> None:
    await asyncio.sleep(seconds)
    await kill


async def kill_and_look(fleet: Fleet, told: Told, given: argparse.Namespace) -> int:
    """All the kills; the flags lost."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        try:
            await kills(fleet, told, given=given, stop=stop)
        except Exception:  # noqa: BLE001 - what was done until then is judged all the same
            traceback.print_exc()
            fleet.kills["broke off"] += 1
            await asyncio.to_thread(fleet.start_what_is_down)
        return await lost_flags(fleet, told)
    finally:
        await fleet.close_clients()


async def lost_flags(fleet: Fleet, told: Told) -> int:
    """Over gRPC, at both servers in turn."""
    at_once = asyncio.Semaphore(16)

    async def lost(number: int, flag: Acknowledged) -> bool:
        async with at_once:
            client = fleet.client(number)
            try:
                item = await client.review.get(flag.item_id, include_image=True, timeout=60)
            except ItemNotFound:
                return True
            again = await client.moderate(flag.image, request_id=flag.request_id, timeout=60)
            same = item.image == flag.image and again.item_id == flag.item_id
            return not same

    return sum(await asyncio.gather(*(lost(*each) for each in enumerate(told.flags))))


def problems(fleet: Fleet, told: Told) -> dict[str, int]:
    """In the database: what must be 0, by name."""
    found = Counter[str]()
    store = open_for_test(fleet.url)
    with store.backend.read() as tx:
        ids = sorted({flag.item_id for flag in told.flags} | set(told.decisions.values()))
        rows = {k: v for some in batched(ids) for k, v in tx.items(TENANT, some).items()}
        chains: dict[str, list[DecisionRow]] = {}
        for some in batched(ids):
            for decision in tx.decisions(TENANT, some):
                chains.setdefault(decision.item_id, []).append(decision)
        known = {each.decision_id for decisions in chains.values() for each in decisions}
        events = tx.events(TENANT, after=0, limit=10**9)
        told_of = Counter(event.decision_id for event in events)
        for item_id, row in rows.items():
            decisions = chains.get(item_id, [])
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


def batched(ids: list[str]) -> list[list[str]]:
    return [ids[begin : begin + 500] for begin in range(0, len(ids), 500)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--servers", type=int, default=200, help="kills of them")
    parser.add_argument("--databases", type=int, default=200, help="kills of it")
    parser.add_argument("--minutes", type=float, default=600.0, help="at most, the kills")
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
                lost = asyncio.run(kill_and_look(fleet, told, given))
                stuck = fleet.kills["not recovered from"] + fleet.kills["broke off"]
                bad = {"flags lost": lost, "not recovered": stuck, **problems(fleet, told)}
            finally:
                fleet.close()
    finally:
        database.close()
        if objects is not None:
            objects.close()
    figures = {
        "seed": given.seed,
        "callers": given.callers,
        "kills": dict(fleet.kills),
        "duration_s": round(time.monotonic() - started, 1),
        "acknowledged flags": len(told.flags),
        "acknowledged decisions": len(told.decisions),
        "problems": bad,
        "failures told to callers": dict(told.failures),
    }
    print(json.dumps(figures))
    return 1 if any(bad.values()) or not told.flags or not told.decisions else 0


if __name__ == "__main__":
    sys.exit(main())
