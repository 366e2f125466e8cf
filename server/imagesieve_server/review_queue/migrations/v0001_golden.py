"""The tables of golden items; a part of the first migration (``versions/v0001_initial.py``)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


def golden() -> None:
    op.create_table(
        "golden",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("marked_by", sa.Text(), nullable=False),
        sa.Column("marked_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "item_id"], ["item.tenant", "item.item_id"], name=op.f("fk_golden_item")
        ),
        sa.PrimaryKeyConstraint("tenant", "item_id", name=op.f("pk_golden")),
    )


def golden_copy() -> None:
    op.create_table(
        "golden_copy",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("golden_id", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("given_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "item_id"], ["item.tenant", "item.item_id"], name=op.f("fk_golden_copy_item")
        ),
        sa.PrimaryKeyConstraint("tenant", "item_id", name=op.f("pk_golden_copy")),
    )
    op.create_index(
        "ix_golden_copy_given",
        "golden_copy",
        ["tenant", "golden_id", "reviewer", "given_at"],
        unique=False,
    )
