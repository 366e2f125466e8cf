"""What only SQLite has: pragmas, locks, tampering, failures of the disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from helpers.review_queue import Desk, ManualClock
from imagesieve_server.core.errors import StoreNotUsable, StoreUnavailable
from imagesieve_server.core.review import ListRequest, Outcome, State
from imagesieve_server.review_queue.evidence import FolderEvidence
from imagesieve_server.review_queue.schema import metadata
from imagesieve_server.review_queue.sql import SqlBackend
from imagesieve_server.review_queue.sqlite import (
    SQLITE,
    FileLock,
    journal_settings,
    migrate_sqlite,
    open_sqlite,
    sqlite_engine,
    wal_is_safe,
)
from imagesieve_server.review_queue.store import RuledStore


@pytest.fixture
def lite(sqlite: RuledStore, clock: ManualClock) -> Desk:
    return Desk(store=sqlite, clock=clock)


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_the_write_ahead_log_is_used_only_where_it_is_repaired(
    version: tuple[int, ...], safe: bool
) -> None:
    assert wal_is_safe(version) is safe
    assert journal_settings(version) == (("wal", "FULL") if safe else ("delete", "EXTRA"))


def test_the_connection_is_durable_and_checks_references(sqlite_path: Path) -> None:
    engine = sqlite_engine(path=sqlite_path, busy_timeout_s=2.5)
    mode, synchronous = journal_settings(sqlite3.sqlite_version_info)
    with engine.connect() as connection:

        def pragma(name: str) -> object:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

        assert pragma("journal_mode") == mode
        assert pragma("synchronous") == {"FULL": 2, "EXTRA": 3}[synchronous]
        assert pragma("foreign_keys") == 1
        assert pragma("busy_timeout") == 2500
    engine.dispose()


def test_a_second_server_in_this_process_is_refused(sqlite: RuledStore, sqlite_path: Path) -> None:
    with pytest.raises(StoreNotUsable, match="another imagesieve-server uses this database"):
        open_sqlite(path=sqlite_path, clock=time.time)
    with pytest.raises(StoreNotUsable, match="another imagesieve-server"):
        migrate_sqlite(path=sqlite_path)


def test_a_second_server_is_refused_by_whatever_name_it_finds_the_file(
    sqlite: RuledStore, sqlite_path: Path, tmp_path: Path
) -> None:
    """The one that has it knows what was kept; another would keep what it does not know."""
    link = tmp_path / "elsewhere" / "link.sqlite3"
    link.parent.mkdir()
    link.symlink_to(sqlite_path)
    with pytest.raises(StoreNotUsable, match="another imagesieve-server"):
        open_sqlite(path=link, clock=time.time)


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = tmp_path / "queue.db.lock"
    code = (
        "import sys; from pathlib import Path\n"
        "from imagesieve_server.review_queue.sqlite import FileLock\n"
        "lock = FileLock(path=Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreNotUsable):
            FileLock(path=path)
        other.kill()
    FileLock(path=path).release()


def test_only_the_servers_user_can_read_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "queue.sqlite3"
    migrate_sqlite(path=path)
    FolderEvidence(root=tmp_path / "evidence")
    modes = [p.stat().st_mode & 0o777 for p in (path, path.parent, tmp_path / "evidence")]
    assert modes == [0o600, 0o700, 0o700]


def test_a_closed_store_can_be_opened_again_with_all_it_had(
    sqlite: RuledStore, sqlite_path: Path, clock: ManualClock
) -> None:
    desk = Desk(store=sqlite, clock=clock)
    kept = desk.keep("r1")
    lease = desk.lease()
    sqlite.close()
    desk.store = open_sqlite(path=sqlite_path, clock=clock)
    assert desk.item(kept.item_id).state is State.LEASED
    assert desk.decide(lease).effective
    desk.store.close()


@pytest.mark.parametrize("path", ["/proc/none/queue.db", "/dev/null/queue.db"])
def test_a_place_that_cannot_be_written_is_refused_at_the_start(path: str) -> None:
    with pytest.raises(StoreNotUsable, match="not writable"):
        open_sqlite(path=Path(path), clock=time.time)


def test_a_database_that_cannot_be_written_is_refused_at_the_start(sqlite_path: Path) -> None:
    """Another program holds its exclusive lock."""
    other = sqlite3.connect(sqlite_path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreNotUsable, match="locked"):
        open_sqlite(path=sqlite_path, clock=time.time, busy_timeout_s=0.05)
    other.close()
    open_sqlite(path=sqlite_path, clock=time.time).close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreNotUsable, match="not a database"):
        open_sqlite(path=path, clock=time.time)
    with pytest.raises(StoreNotUsable, match="not a database"):
        migrate_sqlite(path=path)


def test_a_locked_database_is_unavailable_and_recovers(
    sqlite_path: Path, clock: ManualClock
) -> None:
    store = open_sqlite(path=sqlite_path, clock=clock, busy_timeout_s=0.05)
    desk = Desk(store=store, clock=clock)
    desk.keep("r1")
    other = sqlite3.connect(sqlite_path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable) as caught:
        desk.keep("r2")
    assert "locked" not in str(caught.value), "the library's words are not for callers"
    other.execute("ROLLBACK")
    other.close()
    kept = desk.keep("r2")
    assert desk.item(kept.item_id).state is State.READY
    store.close()


def test_a_full_disk_is_unavailable_keeps_the_old_and_recovers(
    lite: Desk, sqlite_path: Path
) -> None:
    kept = lite.keep("r1")

    def limit(pages: int) -> None:
        with lite.store.backend.read() as tx:
            tx._connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")  # type: ignore[attr-defined]

    limit(1)
    big = '{"item_id":"","filler":"' + "x" * 400_000 + '"}'
    with pytest.raises(StoreUnavailable):
        lite.keep("r2", answer=big)
    limit(1_000_000)
    assert lite.item(kept.item_id).state is State.READY
    assert lite.keep("r2", answer=big).item_id


def tamper(path: Path, statement: str) -> None:
    other = sqlite3.connect(path)
    assert other.execute(statement).rowcount == 1
    other.commit()
    other.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE decision SET outcome = 'APPROVE' WHERE seq = 1",
        "UPDATE decision SET note = 'nothing to see' WHERE seq = 2",
        "UPDATE decision SET labels = '[\"other\"]' WHERE seq = 2",
        "UPDATE decision SET reviewer = 'ben' WHERE seq = 1",
        "DELETE FROM decision WHERE seq = 1",
        "UPDATE item SET chain_head = 'x'",
    ],
)
def test_an_edit_in_the_database_is_detected(lite: Desk, sqlite_path: Path, statement: str) -> None:
    lite.keep("r1", reviews_needed=2)
    for reviewer in ("ann", "ben"):
        lease = lite.lease(reviewer=reviewer)
        lite.decide(lease, Outcome.REJECT, reviewer=reviewer, labels=("a",), note="n")
    item_id = lease.item.item_id
    assert lite.store.chain_problems(tenant="t", item_id=item_id) == ()
    tamper(sqlite_path, statement)
    assert lite.store.chain_problems(tenant="t", item_id=item_id) != ()


def test_the_hot_queries_are_served_by_indexes(sqlite_path: Path, clock: ManualClock) -> None:
    """What claims, records and lists really ask: no walk over all items, no sorting of them."""
    engine = sqlite_engine(path=sqlite_path, busy_timeout_s=1.0)
    backend = SqlBackend(engine=engine, dialect=SQLITE, clock=lambda _: clock())
    desk = Desk(store=RuledStore(backend=backend), clock=clock)
    asked: list[tuple[str, Any]] = []

    def note(*event: Any) -> None:
        asked.append((event[2], event[3]))

    sa.event.listen(engine, "before_cursor_execute", note)
    for name in ("r1", "r2"):
        desk.keep(name)
    desk.keep("r3", "r1")
    desk.decide(desk.lease())
    desk.lease(categories=("weapons",))
    desk.clock.advance(601.0)
    desk.store.expire_leases()
    desk.store.list(ListRequest(tenant="t"))
    sa.event.remove(engine, "before_cursor_execute", note)
    queries = {text: values for text, values in asked if text.startswith(("SELECT", "UPDATE"))}
    assert len(queries) > 12
    with engine.connect() as connection:
        for text, values in queries.items():
            rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + text, values)
            plan = [row[3] for row in rows]
            whole = [step for step in plan if step.removeprefix("SCAN ") in metadata.tables]
            assert not whole, (text, plan)
            if "FROM item" in text and "LIMIT" in text:
                assert not [step for step in plan if "TEMP B-TREE" in step], (text, plan)
    backend.close()
