"""SQLite: how its connection is set up so that a commit survives a power cut.

Knows pragmas, versions of the library, and the lock that keeps a second server away. The
statements are ``sql.py``'s.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from imagesieve_server import durable_files as files
from imagesieve_server.core.errors import StoreNotUsable
from imagesieve_server.core.near_duplicates import Grouping
from imagesieve_server.review_queue.migrations import require_usable, upgrade
from imagesieve_server.review_queue.sql import Dialect, SqlBackend
from imagesieve_server.review_queue.store import GROUPING, RuledStore

BUSY_TIMEOUT_S = 5.0
"""How long a statement waits for another process's lock, for example a backup's, seconds."""

SQLITE = Dialect(reading={"imagesieve_write": False}, writing={"imagesieve_write": True})

_WAL_FIXES = ((3, 44, 6), (3, 50, 7), (3, 51, 3))


def open_sqlite(
    *,
    path: Path,
    clock: Callable[[], float],
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    grouping: Grouping | None = GROUPING,
) -> RuledStore:
    """A ``ReviewStore`` in one file, which no other server may use until it is closed.

    ``clock`` gives seconds since the epoch. Raises StoreNotUsable where the file is not
    writable, in use, not migrated, or of a newer version.
    """
    lock = FileLock(path=_lock_path(path))
    engine = sqlite_engine(path=path, busy_timeout_s=busy_timeout_s)
    try:
        with engine.begin() as connection:
            require_usable(connection)
            # A statement that changes nothing but has to be written: the disk's answer.
            connection.execute(sa.text("UPDATE alembic_version SET version_num = version_num"))
    except SQLAlchemyError as problem:
        engine.dispose()
        lock.release()
        raise StoreNotUsable(f"the database {path} cannot be used: {_said(problem)}") from problem
    except StoreNotUsable:
        engine.dispose()
        lock.release()
        raise
    backend = SqlBackend(
        engine=engine,
        dialect=SQLITE,
        clock=lambda _: clock(),
        on_forget=_forget,
        on_close=lock.release,
    )
    return RuledStore(backend=backend, grouping=grouping)


def migrate_sqlite(*, path: Path) -> None:
    """Create the file where it is missing and bring its tables up to date.

    Raises StoreNotUsable where a server has it in use, or it is not writable.
    """
    lock = FileLock(path=_lock_path(path))
    engine = sqlite_engine(path=path, busy_timeout_s=BUSY_TIMEOUT_S)
    try:
        # SQLite would create it for everybody to read, and gives its journal the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with engine.begin() as connection:
            upgrade(connection)
    except OSError as problem:
        raise StoreNotUsable(
            f"the database {path} cannot be created: {problem.strerror}"
        ) from problem
    except SQLAlchemyError as problem:
        raise StoreNotUsable(f"the database {path} cannot be used: {_said(problem)}") from problem
    finally:
        engine.dispose()
        lock.release()


def sqlite_engine(*, path: Path, busy_timeout_s: float) -> sa.Engine:
    """One connection with durable commits; transactions begin where they are said to."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
        pool_size=1,
        max_overflow=0,
    )
    sa.event.listen(engine, "connect", _set_up)
    sa.event.listen(engine, "begin", _begin)
    return engine


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite has the repair of the write-ahead log's corruption, which was made
    in 3.51.3 and in the later releases of two older lines."""
    if version >= max(_WAL_FIXES):
        return True
    return any(version[:2] == fix[:2] and version >= fix for fix in _WAL_FIXES)


def journal_settings(version: tuple[int, ...]) -> tuple[str, str]:
    """(journal_mode, synchronous) under which a finished commit survives a power cut.

    With a rollback journal the commit *is* the journal's removal, which only EXTRA syncs:
    under FULL a power cut may bring the journal back and with it undo the commit.
    """
    return ("wal", "FULL") if wal_is_safe(version) else ("delete", "EXTRA")


class FileLock:
    """An advisory lock that lives as long as this process holds it.

    Raises StoreNotUsable where another process, or another part of this one, has it.
    """

    def __init__(self, *, path: Path) -> None:
        try:
            files.make_folder(path.parent)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise StoreNotUsable(
                f"the database's folder {path.parent} is not writable: {problem.strerror}"
            ) from problem
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            os.close(self._descriptor)
            raise StoreNotUsable(
                f"another imagesieve-server uses this database (it holds {path}); "
                "an SQLite file serves one server at a time"
            ) from problem

    def release(self) -> None:
        """Give the lock back; repeated, nothing happens."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _set_up(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver would begin transactions by itself, and not before reads; `_begin` does.
    connection.isolation_level = None
    mode, synchronous = journal_settings(sqlite3.sqlite_version_info)
    (actual,) = connection.execute(f"PRAGMA journal_mode={mode}").fetchone()
    if actual != mode:
        raise sqlite3.OperationalError(f"journal mode is {actual}, not {mode}")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")  # what is overwritten is not left on free pages


def _forget(engine: sa.Engine) -> None:
    """Empty the write-ahead log, which still has the pages as they were. Without one the
    rollback journal has been removed with the commit. A reader may hold the log; the next
    checkpoint empties it."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("imagesieve_write", True)
    # A transaction that begins by reading and then writes can fail half-way where another
    # process wrote in between; IMMEDIATE takes its turn first.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _lock_path(path: Path) -> Path:
    real = path.resolve()  # one file has one lock, by whatever link it is found
    return real.with_name(real.name + ".lock")


def _said(problem: SQLAlchemyError) -> str:
    return str(getattr(problem, "orig", None) or problem)
