"""The tables of webhooks; a part of the first migration (``versions/v0001_initial.py``)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


def webhook_endpoint() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("held_until", sa.Double(), nullable=False),
        sa.Column("gone", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "endpoint", name=op.f("pk_webhook_endpoint")),
    )


def webhook_delivery() -> None:
    op.create_table(
        "webhook_delivery",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.Double(), nullable=True),
        sa.Column("next_at", sa.Double(), nullable=True),
        sa.Column("dead_at", sa.Double(), nullable=True),
        sa.Column("result", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "next_at IS NULL OR dead_at IS NULL", name=op.f("ck_webhook_delivery_dead")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "endpoint"],
            ["webhook_endpoint.tenant", "webhook_endpoint.endpoint"],
            name=op.f("fk_webhook_delivery_webhook_endpoint"),
        ),
        sa.PrimaryKeyConstraint("tenant", "endpoint", "position", name=op.f("pk_webhook_delivery")),
    )
    _delivery_indexes()


def _delivery_indexes() -> None:
    for name, columns, where in (
        ("item", ["tenant", "endpoint", "item_id", "position"], None),
        ("due", ["tenant", "endpoint", "next_at"], "next_at IS NOT NULL"),
        ("dead", ["tenant", "endpoint", "position"], "dead_at IS NOT NULL"),
    ):
        op.create_index(
            f"ix_webhook_delivery_{name}",
            "webhook_delivery",
            columns,
            unique=False,
            sqlite_where=sa.text(where) if where else None,
            postgresql_where=sa.text(where) if where else None,
        )
