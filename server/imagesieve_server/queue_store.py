"""Which database the review queue lives in, as the settings say: one file, or PostgreSQL.

The one place that tells the two apart. Knows settings and both openings, and no rule.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import sqlalchemy as sa

from imagesieve_server import config
from imagesieve_server.config import QueueSettings
from imagesieve_server.core.errors import ConfigError, StoreNotUsable, StoreUnavailable
from imagesieve_server.core.golden import DAY_S, GoldenPlan
from imagesieve_server.core.near_duplicates import Grouping
from imagesieve_server.evidence_place import open_evidence
from imagesieve_server.review_queue.decision_notices import Wake, listen
from imagesieve_server.review_queue.evidence_mark import require_same_evidence
from imagesieve_server.review_queue.inspection import Inspection
from imagesieve_server.review_queue.postgres import (
    POSTGRES,
    migrate_postgres,
    open_postgres,
    postgres_engine,
    shown,
)
from imagesieve_server.review_queue.postgres_session import Patience
from imagesieve_server.review_queue.read_only import QueueReader, read_only_engine, sqlite_reader
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.store_thread import StoreMetrics
from imagesieve_server.review_queue.writer import QueueWriter

OTHERS_DECISIONS_S = 2.0
"""Time between looks for decisions of other servers that a watcher was not told of, seconds."""

PAGES_CONNECTIONS = 4
"""Of the reviewers' pages, beside those of the queue."""

READ_TIMEOUT_S = 60.0
"""A page of a table that takes longer ends with an error, seconds."""


def queue_settings(path: Path | None) -> QueueSettings:
    """The queue's settings in the file (None: defaults) and the environment. Raises ConfigError."""
    return config.load(path, os.environ).queue


def migrate_store(queue: QueueSettings) -> None:
    """Bring the database to this release's schema. Raises StartupError subclasses."""
    if queue.is_postgres:
        migrate_postgres(url=queue.database, password=password_of(queue))
    else:
        migrate_sqlite(path=Path(queue.database))


def open_store(queue: QueueSettings) -> RuledStore:
    """The store, which must have this release's schema. Raises StartupError subclasses."""
    if not queue.is_postgres:
        return open_sqlite(path=Path(queue.database), clock=time.time, grouping=_grouping(queue))
    return open_postgres(
        url=queue.database,
        password=password_of(queue),
        connections=queue.database_connections,
        grouping=_grouping(queue),
    )


def _grouping(queue: QueueSettings) -> Grouping | None:
    return Grouping(distance=queue.group_distance) if queue.group_look_alikes else None


def open_queue(queue: QueueSettings, metrics: StoreMetrics) -> QueueWriter:
    """The queue of a server, its database brought up to date. Raises StartupError subclasses,
    also where servers share the database and not the evidence."""
    evidence = open_evidence(queue)
    migrate_store(queue)
    store = open_store(queue)
    store.goldens = GoldenPlan(
        share=queue.golden_share, again_after_s=queue.golden_again_days * DAY_S
    )
    if not queue.is_postgres:
        return QueueWriter(
            store=store, evidence=evidence.store, metrics=metrics, evidence_threads=evidence.threads
        )
    try:
        store.transact(lambda tx: require_same_evidence(tx, evidence.mark))
    except StoreUnavailable as problem:
        store.close()
        raise StoreNotUsable(f"the database {shown(queue.database)} cannot be used") from problem
    except StoreNotUsable:
        store.close()
        raise
    return QueueWriter(
        store=store,
        evidence=evidence.store,
        metrics=metrics,
        evidence_threads=evidence.threads,
        store_threads=queue.database_connections,
        several_servers=True,
        idle_s=OTHERS_DECISIONS_S,
    )


async def hear_decisions(queue: QueueSettings, wake: Wake) -> None:
    """Wake watchers when another server decides, until cancelled; in one file there is none.

    Raises StartupError subclasses."""
    if queue.is_postgres:
        await listen(url=queue.database, password=password_of(queue), wake=wake)


async def learn_requests(queue: QueueSettings, writer: QueueWriter) -> None:
    """Let the queue tell new requests from memory; of a shared database nobody can."""
    if not queue.is_postgres:
        await writer.learn_requests()


def pages_engine(queue: QueueSettings) -> sa.Engine:
    """Connections for the reviewers' pages to their tables in the shared database, which
    ``open_queue`` has brought up to date. Raises StartupError subclasses."""
    return postgres_engine(
        url=queue.database,
        password=password_of(queue),
        connections=PAGES_CONNECTIONS,
    )


def open_reader(queue: QueueSettings, *, tenant: str = "") -> QueueReader:
    """A look beside the servers; "" is all tenants. Raises StartupError subclasses."""
    if not queue.is_postgres:
        return sqlite_reader(path=Path(queue.database), tenant=tenant)
    return QueueReader(engine=_looking(queue), place=shown(queue.database), tenant=tenant)


def open_inspection(queue: QueueSettings, *, tenant: str = "") -> Inspection:
    """A look at items with all that belongs to them, a page at one moment. Raises StartupError
    subclasses."""
    if queue.is_postgres:
        engine: sa.Engine = _looking(queue).execution_options(**POSTGRES.reading)
    else:
        engine = read_only_engine(Path(queue.database))
    return Inspection(engine=engine, place=place_of(queue), tenant=tenant)


def place_of(queue: QueueSettings) -> str:
    """The database as it may be shown."""
    return shown(queue.database) if queue.is_postgres else queue.database


def password_of(queue: QueueSettings) -> str | None:
    """The password in the file, None where none is named: libpq then looks for itself.

    Raises ConfigError.
    """
    if not queue.database_password_file:
        return None
    try:
        return Path(queue.database_password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(
            f"queue.database_password_file: {queue.database_password_file}: {problem}"
        ) from None


def _looking(queue: QueueSettings) -> sa.Engine:
    """One connection that waits for nobody for long."""
    return postgres_engine(
        url=queue.database,
        password=password_of(queue),
        connections=1,
        patience=Patience(statement_s=READ_TIMEOUT_S),
    )
