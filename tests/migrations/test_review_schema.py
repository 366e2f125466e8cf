"""The migrations together make exactly the schema, and a wrong database is refused."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from helpers.postgres import PATIENT, PostgresServer, engine_for_test, open_for_test
from imagesieve_server.console.tables import metadata as console_metadata
from imagesieve_server.core.errors import StartupError, StoreNotUsable
from imagesieve_server.core.review import ClaimRequest
from imagesieve_server.review_queue import migrations
from imagesieve_server.review_queue.postgres import migrate_postgres
from imagesieve_server.review_queue.postgres_session import Patience
from imagesieve_server.review_queue.schema import metadata
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite, sqlite_engine


def engine_of(path: Path) -> sa.Engine:
    return sqlite_engine(path=path, busy_timeout_s=1.0)


def statements(connection: sa.Connection) -> dict[str, str]:
    """Every table and index as the database itself tells it."""
    rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {
        name: " ".join(sorted(part.strip(" ,()") for part in sql.splitlines()))
        for name, sql in rows
        if name != "alembic_version"
    }


def test_all_migrations_make_the_schema(tmp_path: Path) -> None:
    migrate_sqlite(path=tmp_path / "queue.db")
    engine = engine_of(tmp_path / "queue.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_constraints_and_partial_indexes_are_the_schemas_too(tmp_path: Path) -> None:
    """Alembic does not compare CHECK constraints or an index's WHERE; the DDL shows them."""
    migrate_sqlite(path=tmp_path / "migrated.db")
    migrated, created = engine_of(tmp_path / "migrated.db"), engine_of(tmp_path / "created.db")
    with migrated.connect() as one, created.begin() as other:
        metadata.create_all(other)
        assert statements(one) == statements(other)
        assert "uq_item_open" in statements(one)
    migrated.dispose()
    created.dispose()


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    migrate_sqlite(path=path)
    before = path.read_bytes()
    migrate_sqlite(path=path)
    assert path.read_bytes() == before


def test_a_migrated_database_opens(tmp_path: Path) -> None:
    migrate_sqlite(path=tmp_path / "queue.db")
    open_sqlite(path=tmp_path / "queue.db", clock=time.time).close()


def test_a_database_that_was_never_migrated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreNotUsable, match="no tables of imagesieve yet"):
        open_sqlite(path=tmp_path / "queue.db", clock=time.time)


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    migrate_sqlite(path=path)
    engine = engine_of(path)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(sa.text("UPDATE fit_release SET revision = '9999'"))
    engine.dispose()
    with pytest.raises(StoreNotUsable, match=r"9999.*a newer imagesieve made it"):
        open_sqlite(path=path, clock=time.time)
    with pytest.raises(StoreNotUsable, match=r"9999.*a newer imagesieve made it"):
        migrate_sqlite(path=path)


def test_another_programs_migrations_are_told_apart_from_a_broken_database(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    engine = engine_of(path)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num varchar(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('theirs')"))
    engine.dispose()
    with pytest.raises(StoreNotUsable, match=r"theirs.*or another program"):
        open_sqlite(path=path, clock=time.time)
    with pytest.raises(StoreNotUsable, match=r"theirs.*or another program"):
        migrate_sqlite(path=path)


def test_a_refused_database_is_not_left_locked(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with pytest.raises(StartupError):
        open_sqlite(path=path, clock=time.time)
    migrate_sqlite(path=path)
    open_sqlite(path=path, clock=time.time).close()


def test_there_is_one_newest_migration_and_each_has_a_docstring() -> None:
    scripts = list(migrations.script_directory().walk_revisions())
    assert scripts[0].revision == migrations.head()
    assert all(script.doc for script in scripts)


def test_the_release_before_may_work_on_what_each_migration_leaves(tmp_path: Path) -> None:
    scripts = list(migrations.script_directory().walk_revisions())
    for script in scripts:
        fit = set(script.module.fit_for)
        assert fit >= {script.revision, script.down_revision} - {None}
    migrate_sqlite(path=tmp_path / "queue.db")
    engine = engine_of(tmp_path / "queue.db")
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT revision FROM fit_release")).scalars()
        assert set(found) == set(scripts[0].module.fit_for)
    engine.dispose()


CONSTRAINTS = """
SELECT rel.relname || '.' || con.conname, pg_get_constraintdef(con.oid)
FROM pg_constraint con JOIN pg_class rel ON rel.oid = con.conrelid
WHERE rel.relnamespace = 'public'::regnamespace AND rel.relname <> 'alembic_version'
UNION ALL SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version'
UNION ALL SELECT table_name || '.' || column_name, data_type || ' ' || is_nullable
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name <> 'alembic_version'
"""


@pytest.mark.postgres
def test_all_migrations_make_the_schema_in_postgresql(postgres_server: PostgresServer) -> None:
    """As the database itself tells it: columns, constraints, indexes with their WHERE."""
    migrated = postgres_server.new_database()
    created = postgres_server.new_database(migrated=False)
    engine = engine_for_test(created)
    with engine.begin() as connection:
        metadata.create_all(connection)
        console_metadata.create_all(connection)
    engine.dispose()
    one = dict(postgres_server.run(migrated, CONSTRAINTS))
    assert one == dict(postgres_server.run(created, CONSTRAINTS))
    assert "WHERE" in one["uq_item_open"]
    engine = engine_for_test(migrated)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, [metadata, console_metadata]) == []
    engine.dispose()


@pytest.mark.postgres
def test_a_migration_does_not_wait_long_for_a_table_and_leaves_nothing(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database(migrated=False)
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    engine = engine_for_test(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE claim (x int)"))
    with pytest.raises(StoreNotUsable, match="already exists"):
        migrate_postgres(url=url)
    assert postgres_server.run(url, tables) == [("claim",)]
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE claim"))
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num varchar(32))"))
        with pytest.raises(StoreNotUsable, match="lock timeout"):
            migrate_postgres(url=url, patience=Patience(lock_s=0.1))
    engine.dispose()
    migrate_postgres(url=url)
    open_for_test(url).close()
    told = "SELECT reloptions FROM pg_class WHERE relname = 'item'"
    assert "autovacuum_vacuum_scale_factor=0.01" in postgres_server.run(url, told)[0][0]


@pytest.mark.postgres
def test_servers_that_start_together_migrate_once(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database(migrated=False)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: migrate_postgres(url=url, patience=PATIENT), range(4)))
    assert postgres_server.run(url, "SELECT version_num FROM alembic_version") == [
        (migrations.head(),)
    ]
    assert postgres_server.run(url, "SELECT count(*) FROM secret") == [(1,)]


@pytest.mark.postgres
def test_a_server_without_the_right_to_change_tables_starts(
    postgres_server: PostgresServer,
) -> None:
    """Migrating can be somebody else's task, with another user."""
    url = postgres_server.new_database()
    postgres_server.run(
        url,
        "DROP ROLE IF EXISTS humble",
        "CREATE ROLE humble LOGIN",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO humble",
    )
    humble = url.replace("postgres@", "humble@")
    migrate_postgres(url=humble)
    store = open_for_test(humble)
    assert store.claim(ClaimRequest(tenant="t", reviewer="ann", claim_id="c")) is None
    store.close()


@pytest.mark.postgres
def test_a_newer_postgresql_database_is_refused(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    postgres_server.run(url, "UPDATE alembic_version SET version_num = '9999'")
    postgres_server.run(url, "UPDATE fit_release SET revision = '9999'")
    with pytest.raises(StoreNotUsable, match=r"9999.*a newer imagesieve made it"):
        open_for_test(url)
    with pytest.raises(StoreNotUsable, match=r"9999.*a newer imagesieve made it"):
        migrate_postgres(url=url)


@pytest.mark.postgres
def test_another_programs_postgresql_migrations_are_told_apart(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database(migrated=False)
    postgres_server.run(
        url,
        "CREATE TABLE alembic_version (version_num varchar(32))",
        "INSERT INTO alembic_version VALUES ('theirs')",
    )
    with pytest.raises(StoreNotUsable, match=r"theirs.*or another program"):
        migrate_postgres(url=url)
