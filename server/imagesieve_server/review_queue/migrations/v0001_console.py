"""The console's tables; a part of the first migration (``versions/v0001_initial.py``).

Only in PostgreSQL, where several servers share them: beside SQLite the console has a file of its
own, so that looking at pages never holds up a flag on its way to the disk.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


def create() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    _session()
    _reveal()
    _deed()
    op.create_table(
        "console_preference",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_console_preference")),
    )


def _session() -> None:
    op.create_table(
        "console_session",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("csrf", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("work", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_console_session")),
    )


def _reveal() -> None:
    op.create_table(
        "console_reveal",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_console_reveal")),
    )
    op.create_index("ix_console_reveal_account", "console_reveal", ["tenant", "account", "at"])
    op.create_index("ix_console_reveal_item", "console_reveal", ["tenant", "item_id"])


def _deed() -> None:
    op.create_table(
        "console_deed",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_console_deed")),
    )
    op.create_index("ix_console_deed_time", "console_deed", ["tenant", "at"])
