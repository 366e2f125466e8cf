"""What the leads' overview and a limit on exposure cost the store, in a queue with a long past.

    python tests/benchmarks/overview_reads.py [--n 1000000] [--waiting 100000] [--seed 1]

N decided items, decided at random moments of the last 56 days by fifty people, and as many claims
in the last day as fell into it; each read is timed alone, milliseconds, on both databases. The page
asks for 24 hours, 28 days and everybody one after the other, and keeps what it was told.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.queue_fill import fill, settle
from benchmarks.queue_rates import Open, new_postgres, new_sqlite
from helpers.postgres import PostgresServer
from helpers.review_queue import make_flag
from imagesieve_server.review_queue import figures
from imagesieve_server.review_queue.schema import claim, decision
from imagesieve_server.review_queue.store import RuledStore

DAY_S = 86_400.0
DAYS = 56
PEOPLE = 50
TURNS = 7


def fill_past(engine: sa.Engine, *, n: int, now: float, seed: int) -> None:
    """Gives each decided item a moment, its decision and, where it is of today, its claim."""
    number = "CAST(substr(item_id, 2) AS BIGINT)"
    # A multiplication by a large odd number, modulo a prime, spreads the moments evenly.
    moment = f"{now} - {DAYS * DAY_S} * (({number} + {seed}) * 48271 % 2147483647) / 2147483647.0"
    person = f"'p' || ({number} % {PEOPLE})"
    said = {
        "tenant": "tenant", "item_id": "item_id", "seq": "1", "decision_id": "'d' || item_id",
        "round": "1", "tier": "1", "labels": "'[]'",
        "outcome": f"CASE WHEN {number} % 3 = 0 THEN 'APPROVE' ELSE 'REJECT' END",
        "note": "''", "reviewer": person, "token": "'t' || item_id", "decided_at": "decided_at",
        "effective": "true", "supersedes": "''", "cause": "'DECIDE'", "policy_version": "'p'",
        "model_version": "'m'", "prev_hash": "''", "hash": "''",
    }  # fmt: skip
    taken = {
        "tenant": "tenant", "token": "'t' || item_id", "claim_id": "'c' || item_id",
        "item_id": "item_id", "reviewer": person, "claimed_at": "decided_at",
        "ended_at": "decided_at", "ended_by": "'DECIDE'",
    }  # fmt: skip
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")

        def run(text: str) -> None:
            connection.execute(sa.text(text))

        run(
            f"UPDATE item SET decided_at = {moment}, severity = 1 + {number} % 4, "
            f"category = 'c' || ({number} % 8) WHERE state = 'DECIDED'"
        )
        _copy(run, decision, said, "state = 'DECIDED'")
        _copy(run, claim, taken, f"state = 'DECIDED' AND decided_at > {now - DAY_S}")
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("ANALYZE")


def _copy(run: Callable[[str], None], table: sa.Table, values: dict[str, str], where: str) -> None:
    columns, cells = ", ".join(values), ", ".join(values.values())
    run(f"INSERT INTO {table.name} ({columns}) SELECT {cells} FROM item WHERE {where}")


def times_ms(read: Callable[[], object]) -> dict[str, float]:
    """The first turn, and the median of those after it."""
    taken = []
    for _ in range(TURNS):
        started = time.perf_counter()
        read()
        taken.append((time.perf_counter() - started) * 1000)
    return {"first": round(taken[0], 1), "then": round(sorted(taken[1:])[TURNS // 2], 1)}


def measured(store: RuledStore, *, now: float) -> dict[str, object]:
    day, midnight = now - DAY_S, now - now % DAY_S - DAY_S
    reads: dict[str, Callable[[], object]] = {
        "waiting by category": lambda: store.read(lambda tx: figures.waiting(tx, "t")),
        "decisions of one hour": lambda: store.read(
            lambda tx: tx.decided_counts("t", since=now - 3600.0, until=now)
        ),
        "precision, one day": lambda: store.read(
            lambda tx: figures.judged(tx, "t", since=midnight, until=midnight + DAY_S)
        ),
        "who had pictures in hand": lambda: store.read(lambda tx: tx.takers("t", since=day)),
        "pictures in hand, one person": lambda: store.read(
            lambda tx: tx.taken_counts("t", since=day, reviewer="p7")
        ),
    }
    return {name: times_ms(read) for name, read in reads.items()}


def one(new: Open, *, n: int, waiting: int, seed: int) -> dict[str, object]:
    store, engine = new()
    store.record([make_flag("seed")])
    now = time.time()
    fill(engine, first=1, last=n, changed={"state": "'DECIDED'"})
    fill_past(engine, n=n, now=now, seed=seed)
    fill(engine, first=n + 1, last=n + waiting)
    settle(engine)
    found = measured(store, now=now)
    store.close()
    engine.dispose()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--n", type=int, default=1_000_000, help="decided items")
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with ExitStack() as stack:
        server = PostgresServer()
        stack.callback(server.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overview-")))
        names: itertools.count[int] = itertools.count()
        backends: dict[str, Open] = {
            "sqlite": lambda: new_sqlite(folder, names),
            "postgresql": lambda: new_postgres(server),
        }
        shown: dict[str, object] = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
        for name, new in backends.items():
            shown[name] = one(new, n=given.n, waiting=given.waiting, seed=given.seed)
            print(name, json.dumps(shown[name]), file=sys.stderr, flush=True)
    print(json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()
