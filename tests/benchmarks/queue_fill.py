"""Long queues made by the database itself: copies of a few seeds, a million in a minute."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from helpers.review_queue import Desk, ManualClock, make_flag
from imagesieve_server.core.review import Outcome
from imagesieve_server.review_queue.schema import (
    decision,
    evidence,
    item,
    submission,
    submission_payload,
)
from imagesieve_server.review_queue.store import RuledStore

NUMBERS = {
    "sqlite": "WITH RECURSIVE g(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM g "
    "WHERE n < {last}) ",
    "postgresql": "WITH g AS (SELECT generate_series({first}, {last}) AS n) ",
}
IDS = {
    "item_id": "'i' || n", "sha256": "'x' || n", "request_id": "'q' || n",
    "shown_request_id": "'q' || n", "decision_id": "'d' || n", "rank": "rank + n * 0.001",
    "enqueued_at": "enqueued_at + n * 0.001", "state": "'READY'", "token": "NULL",
    "claimed_by": "''", "claimed_at": "NULL", "lease_until": "NULL",
}  # fmt: skip
FRESH, REVIEWED = "seed", "reviewed"


def plant(store: RuledStore) -> None:
    """The seeds: an item that nobody has reviewed, and one that ann has and another shall."""
    desk = Desk(store=store, clock=ManualClock())
    store.record([make_flag(REVIEWED, reviews_needed=2)])
    desk.decide(desk.lease(), Outcome.APPROVE)
    store.record([make_flag(FRESH)])


def fill(
    engine: sa.Engine,
    *,
    first: int,
    last: int,
    seed: str = FRESH,
    changed: Mapping[str, str] | None = None,
    told: bool = True,
) -> None:
    """Copies of a seed, numbered, with all that belongs to one. ``changed``: further columns as
    SQL expressions of the seed's and the number ``n``; not ``told``: without what only a reviewer
    who claims it is shown."""
    dialect = engine.dialect.name
    columns = {**IDS, **(changed or {})}
    of_item = f"request_id = '{seed}'"
    tables = {
        item: f"shown_request_id = '{seed}'",
        submission: of_item,
        submission_payload: of_item,
        evidence: f"sha256 = (SELECT sha256 FROM item WHERE shown_request_id = '{seed}')",
        decision: "seq = 1" if seed == REVIEWED or "decisions" in columns else "1 = 0",
    }
    with engine.begin() as connection:
        if dialect == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        for table, where in tables.items():
            if not told and table in (submission_payload, evidence):
                continue
            names = [column.name for column in table.c]
            values = ", ".join(columns.get(name, f'"{name}"') for name in names)
            into = ", ".join(f'"{name}"' for name in names)
            # The limit has the one row found first, not once for each number.
            select = f"SELECT {values} FROM (SELECT * FROM {table.name} WHERE {where} LIMIT 1) s, g"
            numbers = NUMBERS[dialect].format(first=first, last=last)
            insert = f"INSERT INTO {table.name} ({into}) "
            text = (
                numbers + insert + select if dialect == "postgresql" else insert + numbers + select
            )
            connection.exec_driver_sql(text)


def settle(engine: sa.Engine) -> None:
    """As after some hours: statistics are known, and nothing is left to be tidied."""
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
        else:
            connection.exec_driver_sql("ANALYZE")
