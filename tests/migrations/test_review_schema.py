"""The migrations together make exactly the schema, and a wrong database is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from imagesieve_server.core.errors import StartupError, StoreNotUsable
from imagesieve_server.review_queue import migrations
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
    engine.dispose()
    with pytest.raises(StoreNotUsable, match=r"9999.*a newer imagesieve made it"):
        open_sqlite(path=path, clock=time.time)


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
