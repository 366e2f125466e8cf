"""What SQLite's machine does for a piece of work: a cost that no other load changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import sqlalchemy as sa

from imagesieve_server.review_queue.store import RuledStore


def steps_of(store: RuledStore, work: Callable[[], object]) -> int:
    """In tens of instructions."""
    engine: sa.Engine = store.backend._engine  # type: ignore[attr-defined]
    done = 0

    def count() -> int:
        nonlocal done
        done += 1
        return 0

    def watch(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(count, 10)

    sa.event.listen(engine, "checkout", watch)
    work()
    sa.event.remove(engine, "checkout", watch)
    return done
