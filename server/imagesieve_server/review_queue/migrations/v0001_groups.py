"""The first tables of look-alikes and of closed groups, as revision 0001 makes them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


def create() -> None:
    """Inside the revision's transaction."""
    op.create_index(
        "ix_item_group",
        "item",
        ["tenant", "group_id", "state", "enqueued_at", "item_id", "round"],
        unique=False,
        sqlite_where=sa.text("group_id IS NOT NULL"),
        postgresql_where=sa.text("group_id IS NOT NULL"),
    )
    _picture_hash()
    _hash_band()
    _group_close()
    _group_close_item()


def _of_item(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant", "item_id"], ["item.tenant", "item.item_id"], name=op.f(f"fk_{table}_item")
    )


def _picture_hash() -> None:
    op.create_table(
        "picture_hash",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("bits", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("filed", sa.Boolean(), nullable=False),
        sa.Column("seed", sa.Boolean(), nullable=False),
        _of_item("picture_hash"),
        sa.PrimaryKeyConstraint("tenant", "item_id", name=op.f("pk_picture_hash")),
    )


def _hash_band() -> None:
    op.create_table(
        "hash_band",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("band", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        _of_item("hash_band"),
        sa.PrimaryKeyConstraint("tenant", "band", "item_id", name=op.f("pk_hash_band")),
        sqlite_with_rowid=False,
    )


def _group_close() -> None:
    op.create_table(
        "group_close",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("close_id", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("ordered_at", sa.Double(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("undone_by", sa.Text(), nullable=False),
        sa.Column("undo_note", sa.Text(), nullable=False),
        sa.Column("undone_at", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "progress IN ('CLOSING', 'CLOSED', 'UNDOING', 'UNDONE')",
            name=op.f("ck_group_close_progress"),
        ),
        sa.PrimaryKeyConstraint("tenant", "close_id", name=op.f("pk_group_close")),
    )
    op.create_index(
        "ix_group_close_group", "group_close", ["tenant", "group_id", "ordered_at"], unique=False
    )
    op.create_index(
        "ix_group_close_unfinished",
        "group_close",
        ["tenant", "close_id"],
        unique=False,
        sqlite_where=sa.text("progress IN ('CLOSING', 'UNDOING')"),
        postgresql_where=sa.text("progress IN ('CLOSING', 'UNDOING')"),
    )


def _group_close_item() -> None:
    op.create_table(
        "group_close_item",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("close_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("fate", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "fate IN ('PENDING', 'CLOSED', 'SKIPPED', 'REOPENED', 'KEPT')",
            name=op.f("ck_group_close_item_fate"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "close_id"],
            ["group_close.tenant", "group_close.close_id"],
            name=op.f("fk_group_close_item_group_close"),
        ),
        sa.PrimaryKeyConstraint("tenant", "close_id", "item_id", name=op.f("pk_group_close_item")),
    )
    op.create_index(
        "ix_group_close_item_fate",
        "group_close_item",
        ["tenant", "close_id", "fate", "item_id"],
        unique=False,
    )
