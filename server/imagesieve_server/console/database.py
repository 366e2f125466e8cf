"""The console's own small database: sessions, reveals, preferences.

One file and one thread beside SQLite, apart from the queue's database, so that looking at pages
never waits for, or holds up, a flag on its way to the disk. With PostgreSQL its tables are in the
queue's database, so that a session is at home at every server. Knows rows; what a session may do
is ``sessions.py``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from imagesieve_server.console import tables as t
from imagesieve_server.core.errors import StoreNotUsable, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

_VERSION: Final = 2  # of the file
_STEP: Final = 1000  # entries of a record that are looked at, and removed, at once
_PREFER = sa.text(
    "INSERT INTO console_preference (account, value) VALUES (:account, :value)"
    " ON CONFLICT (account) DO UPDATE SET value = excluded.value"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    id: str
    account: str
    fingerprint: str
    csrf: str
    created_at: float  # Unix time, as all here
    seen_at: float
    tenant: str
    work: str
    version: int = 0  # of tenant and work


@dataclass(frozen=True, slots=True, kw_only=True)
class Reveal:
    """One person saw one item's picture."""

    at: float
    account: str
    tenant: str
    item_id: str
    sha256: str
    how: str  # "asked" or "shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One thing that one person did with one item."""

    at: float
    account: str
    tenant: str
    item_id: str
    what: str  # an outcome, "SKIP" or "UNDO"


class ConsoleDatabase:
    """Every method is one transaction, durable when it returns. Raises StoreUnavailable."""

    def __init__(self, *, engine: sa.Engine, threads: int) -> None:
        """``threads`` is how many calls the engine takes at once."""
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="console-database")

    async def add_session(self, row: SessionRow) -> None:
        await self._write(sa.insert(t.session).values(**asdict(row)))

    async def session(self, id_: str) -> SessionRow | None:
        found = await self._rows(sa.select(t.session).where(t.session.c.id == id_))
        return SessionRow(**found[0]) if found else None

    async def update_session(self, id_: str, *, version: int, tenant: str, work: str) -> bool:
        """Change the session where it is still at ``version``; whether it was."""
        statement = (
            sa.update(t.session)
            .where(t.session.c.id == id_, t.session.c.version == version)
            .values(tenant=tenant, work=work, version=version + 1)
        )
        return await self._write(statement) == 1

    async def session_seen(self, id_: str, *, at: float) -> None:
        await self._write(sa.update(t.session).where(t.session.c.id == id_).values(seen_at=at))

    async def drop_session(self, id_: str) -> None:
        await self._write(sa.delete(t.session).where(t.session.c.id == id_))

    async def drop_sessions_of(self, account: str) -> None:
        await self._write(sa.delete(t.session).where(t.session.c.account == account))

    async def drop_old_sessions(self, *, created_before: float, seen_before: float) -> None:
        old = sa.or_(t.session.c.created_at < created_before, t.session.c.seen_at < seen_before)
        await self._write(sa.delete(t.session).where(old))

    async def add_reveal(self, reveal: Reveal) -> None:
        await self._write(sa.insert(t.reveal).values(**asdict(reveal)))

    async def reveals_of(self, *, tenant: str, item_id: str) -> tuple[Reveal, ...]:
        """Who saw the item, oldest first."""
        c = t.reveal.c
        rows = await self._rows(
            sa.select(c.at, c.account, c.tenant, c.item_id, c.sha256, c.how)
            .where(c.tenant == tenant, c.item_id == item_id)
            .order_by(c.number)
        )
        return tuple(Reveal(**row) for row in rows)

    async def exposures(self, *, tenant: str, since: float) -> Mapping[str, int]:
        """How many different items each account of the tenant saw unveiled since then."""
        c = t.reveal.c
        rows = await self._rows(
            sa.select(c.account, sa.func.count(c.item_id.distinct()).label("items"))
            .where(c.tenant == tenant, c.at >= since)
            .group_by(c.account)
            .order_by(c.account)
        )
        return {row["account"]: row["items"] for row in rows}

    async def add_deed(self, deed: Deed) -> None:
        await self._write(sa.insert(t.deed).values(**asdict(deed)))

    async def deeds(self, *, tenant: str, since: float) -> tuple[Deed, ...]:
        """The tenant's since then, oldest first."""
        c = t.deed.c
        rows = await self._rows(
            sa.select(c.at, c.account, c.tenant, c.item_id, c.what)
            .where(c.tenant == tenant, c.at >= since)
            .order_by(c.number)
        )
        return tuple(Deed(**row) for row in rows)

    async def drop_record(self, *, before: float) -> int:
        """Remove reveals and deeds from before then, the oldest thousand of each at most; how
        many went."""
        return sum([await self._write(_oldest(table, before)) for table in (t.reveal, t.deed)])

    async def preference(self, account: str) -> str:
        """The account's preferences as JSON, "" where it has none."""
        rows = await self._rows(
            sa.select(t.preference.c.value).where(t.preference.c.account == account)
        )
        return str(rows[0]["value"]) if rows else ""

    async def prefer(self, account: str, value: str) -> None:
        await self._write(_PREFER.bindparams(account=account, value=value))

    async def close(self) -> None:
        await self._run(self._engine.dispose)
        self._threads.shutdown(wait=False)

    async def _write(self, statement: sa.Executable) -> int:
        """How many rows changed."""

        def work() -> int:
            with self._engine.begin() as connection:
                return int(connection.execute(statement).rowcount)

        return await self._run(work)

    async def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        def work() -> list[dict[str, Any]]:
            with self._engine.begin() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]

        return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except SQLAlchemyError as error:
            log.error("console database: %s", type(error).__name__)
            raise StoreUnavailable("the console's database cannot be read or written") from error


def _oldest(table: sa.Table, before: float) -> sa.Delete:
    """Along the key, so that a step costs the same however long the record is."""
    first = sa.select(table.c.number, table.c.at).order_by(table.c.number).limit(_STEP).subquery()
    old = sa.select(first.c.number).where(first.c.at < before)
    return sa.delete(table).where(table.c.number.in_(old))


def open_database(path: Path) -> ConsoleDatabase:
    """Open the file, made where it is missing. Raises StoreNotUsable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Before SQLite sees it: the journal beside it takes over who may read it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a reveal is on record, or was refused
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except (OSError, sqlite3.Error) as error:
        raise StoreNotUsable(f"the console's database {path} cannot be opened: {error}") from None
    if version not in (0, _VERSION):
        connection.close()
        raise StoreNotUsable(f"the console's database {path} has schema {version}, not {_VERSION}")
    engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    try:
        with engine.begin() as begun:
            t.metadata.create_all(begun)
            begun.execute(sa.text(f"PRAGMA user_version = {_VERSION}"))
    except SQLAlchemyError as error:
        raise StoreNotUsable(f"the console's database {path} cannot be made: {error}") from None
    return ConsoleDatabase(engine=engine, threads=1)
