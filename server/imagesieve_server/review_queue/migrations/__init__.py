"""The history of the tables: how any older database becomes the present one.

Knows Alembic; needs no configuration file, so that the installed package migrates by itself.
A released migration is never edited; ``schema.py`` is what all of them together make.

Each migration says which releases may work on what it leaves (``fit_for``, by the newest migration
that each knows), the release before its own always among them: servers of that release go on
beside the first ones of the next, and may start again. So a migration adds tables, indexes and
columns that are NULL or have a default of the database; what is no longer used is dropped a
release later. A new state or cause, in a column that both know, is read by one release and first
written by the next.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from imagesieve_server.core.errors import StoreNotUsable
from imagesieve_server.review_queue.schema_releases import fit_release

_HERE = Path(__file__).parent
_REMEDY = "run `imagesieve-server queue migrate`"


def upgrade(connection: sa.Connection, *, revision: str = "head") -> None:
    """Bring the database up to ``revision`` within the connection's transaction. One that a newer
    release made, and that this one may work on, stays as it is.

    Raises StoreNotUsable where this release may not work on it.
    """
    script = script_directory().get_revision(revision)
    assert script is not None  # alembic raises where there is none
    if _is_newer(connection) or _present(connection) == script.revision:
        return
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    connection.execute(sa.delete(fit_release))
    connection.execute(
        sa.insert(fit_release), [{"revision": each} for each in script.module.fit_for]
    )


def head() -> str:
    """The newest revision this version knows."""
    newest = script_directory().get_current_head()
    assert newest is not None  # the package holds at least one migration
    return newest


def is_usable(connection: sa.Connection) -> bool:
    """Whether nothing has to be done before this release works on the database: it is at ``head``,
    or newer and fit for it. Raises StoreNotUsable where a newer one is not."""
    return _present(connection) == head() or _is_newer(connection)


def require_usable(connection: sa.Connection) -> None:
    """Raises StoreNotUsable where this release may not work on the database as it is."""
    if is_usable(connection):
        return
    present = _present(connection)
    if present is None:
        raise StoreNotUsable(f"the database has no tables of imagesieve yet; {_REMEDY}")
    raise StoreNotUsable(
        f"the database is at revision {present}, this version needs {head()}; {_REMEDY}"
    )


def _present(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _is_newer(connection: sa.Connection) -> bool:
    """Whether a newer release made the tables and says that this one may work on them. Raises
    StoreNotUsable where it does not say so."""
    present = _present(connection)
    known = {script.revision for script in script_directory().walk_revisions()}
    if present is None or present in known:
        return False
    if sa.inspect(connection).has_table(fit_release.name):  # else another program's tables
        fit = sa.select(fit_release).where(fit_release.c.revision == head())
        if connection.execute(fit).first() is not None:
            return True
    raise StoreNotUsable(
        f"the database is at revision {present}, which this version does not know (its newest "
        f"is {head()}); a newer imagesieve made it, or another program"
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
