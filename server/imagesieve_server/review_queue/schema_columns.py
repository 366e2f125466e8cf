"""How columns, keys and partial indexes of the queue's tables are written, once for all tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = sa.MetaData(naming_convention=NAMES)


def key(name: str) -> sa.Column[str]:
    """Part of the primary key."""
    return sa.Column(name, sa.Text, primary_key=True, nullable=False)


def text(name: str) -> sa.Column[str]:
    """Never NULL: what is not there is ""."""
    return sa.Column(name, sa.Text, nullable=False)


def int_(name: str) -> sa.Column[int]:
    """Never NULL."""
    return sa.Column(name, sa.Integer, nullable=False)


def time(name: str, *, nullable: bool = False) -> sa.Column[float]:
    """Seconds since the epoch by the store's clock."""
    return sa.Column(name, sa.Double, nullable=nullable)


def one_of(column: str, values: list[str]) -> sa.CheckConstraint:
    """Nothing else may stand there."""
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def of_item() -> sa.ForeignKeyConstraint:
    """The row goes with its item."""
    return sa.ForeignKeyConstraint(["tenant", "item_id"], ["item.tenant", "item.item_id"])


def only_where(condition: str) -> dict[str, Any]:
    """For an index that holds some rows only, on every database."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
