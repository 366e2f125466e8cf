"""PostgreSQL: how its connections are set up so that several servers may share one queue.

Knows sessions, time-outs, error codes and the locks that order what servers do to the same
bytes. The statements are ``sql.py``'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from imagesieve_server.core.errors import StoreNotUsable
from imagesieve_server.core.near_duplicates import Grouping
from imagesieve_server.extras import need
from imagesieve_server.review_queue.decision_notices import notify
from imagesieve_server.review_queue.migrations import is_usable, require_usable, upgrade
from imagesieve_server.review_queue.postgres_session import PATIENCE, Patience, liveness
from imagesieve_server.review_queue.sql import Dialect, SqlBackend
from imagesieve_server.review_queue.store import GROUPING, RuledStore

OLDEST = 140000
"""Version 14, as the server itself writes it."""

_MIGRATING = 0x696D61676573  # advisory lock: one server migrates at a time
# Serialization failure, deadlock, unique violation: in each another transaction got through.
_OVERTAKEN = frozenset({"40001", "40P01", "23505"})


def open_postgres(
    *,
    url: str,
    password: str | None = None,
    connections: int,
    clock: Callable[[sa.Connection], float] | None = None,
    patience: Patience = PATIENCE,
    grouping: Grouping | None = GROUPING,
) -> RuledStore:
    """A ``ReviewStore`` that several servers may use at once.

    ``url`` is as libpq takes it; ``connections`` is the most of them at once. ``clock`` stands
    in for the database's. Raises StoreNotUsable where the database cannot be reached or
    written, is not migrated, is of a newer version, or would lose commits in a power cut.
    """
    engine = postgres_engine(url=url, password=password, connections=connections, patience=patience)
    try:
        with engine.begin() as connection:
            _require_durable(connection)
            require_usable(connection)
            # A statement that changes nothing but has to be written.
            connection.execute(sa.text("UPDATE alembic_version SET version_num = version_num"))
    except SQLAlchemyError as problem:
        engine.dispose()
        raise _unusable(url, problem) from problem
    except StoreNotUsable:
        engine.dispose()
        raise
    backend = SqlBackend(engine=engine, dialect=POSTGRES, clock=clock or database_clock)
    return RuledStore(backend=backend, grouping=grouping)


def migrate_postgres(
    *, url: str, password: str | None = None, patience: Patience = PATIENCE
) -> None:
    """Bring the tables up to date, one server at a time; those that are need no more rights
    than to read them. What has locked a table is waited for ``patience.lock_s`` at most: all who
    come after wait, too. Raises StoreNotUsable."""
    unhurried = replace(patience, statement_s=0.0)  # a table's rewrite takes nobody knows how long
    engine = postgres_engine(url=url, password=password, connections=1, patience=unhurried)
    try:
        with engine.begin() as connection:
            if is_usable(connection):
                return
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
            upgrade(connection)
    except SQLAlchemyError as problem:
        raise _unusable(url, problem) from problem
    finally:
        engine.dispose()


def postgres_engine(
    *, url: str, password: str | None, connections: int, patience: Patience = PATIENCE
) -> sa.Engine:
    """Connections with time-outs, made when they are needed and made again when they broke.

    Raises MissingExtra, StoreNotUsable.
    """
    psycopg = need("psycopg")
    try:
        psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error as problem:
        raise StoreNotUsable(f"{shown(url)} is not a PostgreSQL URL: {problem}") from None
    engine = sa.create_engine(
        "postgresql+psycopg://",
        connect_args={**liveness(patience), **({"password": password} if password else {})},
        pool_size=connections,
        max_overflow=0,
        pool_timeout=patience.lock_s or None,
        pool_pre_ping=True,  # a restart of the database is not the next caller's trouble
    )

    def connect(_dialect: Any, _record: Any, arguments: list[Any], _options: Any) -> None:
        arguments[:] = [url]  # libpq reads it, with all that it knows and SQLAlchemy does not

    def set_up(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, false),"
                " set_config('lock_timeout', %s, false),"
                " set_config('idle_in_transaction_session_timeout', %s, false),"
                # Every statement is short: to compile one costs more than to run it.
                " set_config('jit', 'off', false),"
                # Off would lose acknowledged commits; all else is the operator's choice.
                " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
                " WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)",
                [
                    _milliseconds(s)
                    for s in (patience.statement_s, patience.lock_s, patience.idle_s)
                ],
            )
        connection.commit()

    sa.event.listen(engine, "do_connect", connect)
    sa.event.listen(engine, "connect", set_up)
    return engine


def database_clock(connection: sa.Connection) -> float:
    """The database's clock, the one clock that all servers share: seconds since the epoch."""
    text = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
    found: float = connection.execute(sa.text(text)).scalar_one()
    return found


def shown(url: str) -> str:
    """The URL as it may be logged: without what stands before the host or behind it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _hold(connection: sa.Connection, tenant: str, names: Sequence[str]) -> None:
    """Advisory locks until the transaction's end, in one order for everybody."""
    keys = sorted(_key(tenant, name) for name in set(names))
    connection.execute(
        sa.text("SELECT pg_advisory_xact_lock(k) FROM unnest(CAST(:keys AS bigint[])) AS k"),
        {"keys": keys},
    )


def _key(tenant: str, name: str) -> int:
    """64 bits; two names that share a key only wait for each other."""
    digest = hashlib.sha256(f"{tenant}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _overtaken(problem: SQLAlchemyError) -> bool:
    return getattr(getattr(problem, "orig", None), "sqlstate", None) in _OVERTAKEN


POSTGRES = Dialect(
    # One snapshot for all reads of a transaction: what is removed meanwhile is not half seen.
    reading={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    # Each statement sees what was committed before it, so what was waited for is seen.
    writing={"isolation_level": "READ COMMITTED", "postgresql_readonly": False},
    hold=_hold,
    tell=notify,
    overtaken=_overtaken,
    fresh_after_error=False,  # the pool drops what broke
)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def _require_durable(connection: sa.Connection) -> None:
    """Raises StoreNotUsable for a database that acknowledges what a power cut takes back."""
    for name in ("fsync", "full_page_writes"):
        if connection.execute(sa.text(f"SHOW {name}")).scalar() != "on":
            raise StoreNotUsable(
                f"the database has {name} turned off: acknowledged flags would not survive a "
                "power cut"
            )
    version = connection.execute(sa.text("SHOW server_version_num")).scalar_one()
    if int(version) < OLDEST:
        raise StoreNotUsable("the database is older than PostgreSQL 14")
    if connection.execute(sa.text("SHOW server_encoding")).scalar() != "UTF8":
        raise StoreNotUsable("the database's encoding is not UTF8")


def _unusable(url: str, problem: SQLAlchemyError) -> StoreNotUsable:
    said = str(getattr(problem, "orig", None) or problem).strip()
    return StoreNotUsable(f"the database {shown(url)} cannot be used: {said}")
