"""The console's own small database: sessions, reveals, preferences. One file, one thread.

Apart from the queue's database, so that looking at pages never waits for, or holds up, a
flag on its way to the disk. Knows rows; what a session may do is ``sessions.py``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from imagesieve_server.core.errors import StoreNotUsable, StoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE session (
    id TEXT PRIMARY KEY,          -- sha256 of the cookie
    account TEXT NOT NULL,
    fingerprint TEXT NOT NULL,    -- of the account when the session began
    csrf TEXT NOT NULL,
    created_at REAL NOT NULL,
    seen_at REAL NOT NULL,
    tenant TEXT NOT NULL,
    work TEXT NOT NULL            -- JSON: the item in hand and the last decision
) STRICT;
CREATE TABLE reveal (             -- append-only: who saw which picture unveiled, and when
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    account TEXT NOT NULL,
    tenant TEXT NOT NULL,
    item_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    how TEXT NOT NULL             -- asked: the person did; shown: it was never veiled
) STRICT;
CREATE INDEX reveal_by_account ON reveal (tenant, account, at);
CREATE INDEX reveal_by_item ON reveal (tenant, item_id);
CREATE TABLE deed (               -- append-only: what people did here
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    account TEXT NOT NULL,
    tenant TEXT NOT NULL,
    item_id TEXT NOT NULL,
    what TEXT NOT NULL            -- APPROVE, REJECT, ESCALATE, SKIP, UNDO
) STRICT;
CREATE INDEX deed_by_time ON deed (tenant, at);
CREATE TABLE preference (account TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""


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

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="console-database")

    async def add_session(self, row: SessionRow) -> None:
        values = (row.id, row.account, row.fingerprint, row.csrf)
        values += (row.created_at, row.seen_at, row.tenant, row.work)  # type: ignore[assignment]
        await self._write("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    async def session(self, id_: str) -> SessionRow | None:
        found = await self._rows("SELECT * FROM session WHERE id = ?", (id_,))
        return SessionRow(**found[0]) if found else None  # type: ignore[arg-type]

    async def update_session(self, id_: str, *, tenant: str, work: str) -> None:
        await self._write("UPDATE session SET tenant = ?, work = ? WHERE id = ?",
                          (tenant, work, id_))  # fmt: skip

    async def session_seen(self, id_: str, *, at: float) -> None:
        await self._write("UPDATE session SET seen_at = ? WHERE id = ?", (at, id_))

    async def drop_session(self, id_: str) -> None:
        await self._write("DELETE FROM session WHERE id = ?", (id_,))

    async def drop_sessions_of(self, account: str) -> None:
        await self._write("DELETE FROM session WHERE account = ?", (account,))

    async def drop_old_sessions(self, *, created_before: float, seen_before: float) -> None:
        await self._write(
            "DELETE FROM session WHERE created_at < ? OR seen_at < ?",
            (created_before, seen_before),
        )

    async def add_reveal(self, reveal: Reveal) -> None:
        await self._write(
            "INSERT INTO reveal (at, account, tenant, item_id, sha256, how)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (reveal.at, reveal.account, reveal.tenant, reveal.item_id, reveal.sha256, reveal.how),
        )

    async def reveals_of(self, *, tenant: str, item_id: str) -> tuple[Reveal, ...]:
        """Who saw the item, oldest first."""
        rows = await self._rows(
            "SELECT at, account, tenant, item_id, sha256, how FROM reveal"
            " WHERE tenant = ? AND item_id = ? ORDER BY number",
            (tenant, item_id),
        )
        return tuple(Reveal(**row) for row in rows)  # type: ignore[arg-type]

    async def exposures(self, *, tenant: str, since: float) -> Mapping[str, int]:
        """How many different items each account of the tenant saw unveiled since then."""
        rows = await self._rows(
            "SELECT account, count(DISTINCT item_id) AS items FROM reveal"
            " WHERE tenant = ? AND at >= ? GROUP BY account ORDER BY account",
            (tenant, since),
        )
        return {str(row["account"]): int(str(row["items"])) for row in rows}

    async def add_deed(self, deed: Deed) -> None:
        await self._write(
            "INSERT INTO deed (at, account, tenant, item_id, what) VALUES (?, ?, ?, ?, ?)",
            (deed.at, deed.account, deed.tenant, deed.item_id, deed.what),
        )

    async def deeds(self, *, tenant: str, since: float) -> tuple[Deed, ...]:
        """The tenant's since then, oldest first."""
        rows = await self._rows(
            "SELECT at, account, tenant, item_id, what FROM deed"
            " WHERE tenant = ? AND at >= ? ORDER BY number",
            (tenant, since),
        )
        return tuple(Deed(**row) for row in rows)  # type: ignore[arg-type]

    async def preference(self, account: str) -> str:
        """The account's preferences as JSON, "" where it has none."""
        rows = await self._rows("SELECT value FROM preference WHERE account = ?", (account,))
        return str(rows[0]["value"]) if rows else ""

    async def prefer(self, account: str, value: str) -> None:
        await self._write("INSERT OR REPLACE INTO preference VALUES (?, ?)", (account, value))

    async def close(self) -> None:
        await self._run(self._connection.close)
        self._thread.shutdown(wait=False)

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        def work() -> None:
            with self._connection:
                self._connection.execute(statement, values)

        await self._run(work)

    async def _rows(self, query: str, values: tuple[object, ...]) -> list[dict[str, object]]:
        def work() -> list[dict[str, object]]:
            return [dict(row) for row in self._connection.execute(query, values)]

        return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            log.error("console database: %s", error)
            raise StoreUnavailable("the console's database cannot be read or written") from None


def open_database(path: Path) -> ConsoleDatabase:
    """Open the file, made where it is missing. Raises StoreNotUsable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Before SQLite sees it: the journal beside it takes over who may read it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a reveal is on record, or was refused
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with connection:
                connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION};")
    except (OSError, sqlite3.Error) as error:
        raise StoreNotUsable(f"the console's database {path} cannot be opened: {error}") from None
    if version not in (0, _VERSION):
        connection.close()
        raise StoreNotUsable(f"the console's database {path} has schema {version}, not {_VERSION}")
    return ConsoleDatabase(connection)
