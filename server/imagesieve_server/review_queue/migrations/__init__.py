"""The history of the tables: how any older database becomes the present one.

Knows Alembic; needs no configuration file, so that the installed package migrates by itself.
A released migration is never edited; ``schema.py`` is what all of them together make.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from imagesieve_server.core.errors import StoreNotUsable

_HERE = Path(__file__).parent
_REMEDY = "run `imagesieve-server queue migrate`"


def upgrade(connection: sa.Connection, *, revision: str = "head") -> None:
    """Bring the database up to ``revision`` within the connection's transaction.

    Raises StoreNotUsable where a newer version made it.
    """
    _require_known(MigrationContext.configure(connection).get_current_revision())
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def head() -> str:
    """The newest revision this version knows."""
    newest = script_directory().get_current_head()
    assert newest is not None  # the package holds at least one migration
    return newest


def is_current(connection: sa.Connection) -> bool:
    """Whether the database is exactly at ``head``."""
    return MigrationContext.configure(connection).get_current_revision() == head()


def require_current(connection: sa.Connection) -> None:
    """Raises StoreNotUsable where the database is not exactly at ``head``."""
    present = MigrationContext.configure(connection).get_current_revision()
    if present == head():
        return
    if present is None:
        raise StoreNotUsable(f"the database has no tables of imagesieve yet; {_REMEDY}")
    _require_known(present)
    raise StoreNotUsable(
        f"the database is at revision {present}, this version needs {head()}; {_REMEDY}"
    )


def _require_known(present: str | None) -> None:
    known = {script.revision for script in script_directory().walk_revisions()}
    if present is not None and present not in known:
        raise StoreNotUsable(
            f"the database is at revision {present}, which this version does not know (its newest "
            f"is {head()}); a newer imagesieve made it"
        )


def script_directory() -> ScriptDirectory:
    """The migrations in this package."""
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    # Alembic expands % in option values.
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
