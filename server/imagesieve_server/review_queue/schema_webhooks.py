"""The tables of webhooks, beside those of ``schema.py``: small, and empty where every endpoint
has been told everything."""

from __future__ import annotations

import sqlalchemy as sa

from imagesieve_server.review_queue.schema import metadata

webhook_endpoint = sa.Table(
    "webhook_endpoint",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True, nullable=False),
    sa.Column("endpoint", sa.Text, primary_key=True, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),  # up to here told, or a delivery
    sa.Column("holder", sa.Text, nullable=False),  # the process that delivers
    sa.Column("held_until", sa.Double, nullable=False),
    sa.Column("gone", sa.Text, nullable=False),  # under which configuration it answered 410
)

webhook_delivery = sa.Table(  # what could not be told, or not yet
    "webhook_delivery",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True, nullable=False),
    sa.Column("endpoint", sa.Text, primary_key=True, nullable=False),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False, nullable=False),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("decision_id", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("failed_at", sa.Double, nullable=True),  # the first time
    sa.Column("next_at", sa.Double, nullable=True),  # of the first of an item only
    sa.Column("dead_at", sa.Double, nullable=True),
    sa.Column("result", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(
        ["tenant", "endpoint"], ["webhook_endpoint.tenant", "webhook_endpoint.endpoint"]
    ),
    sa.CheckConstraint("next_at IS NULL OR dead_at IS NULL", name="dead"),
    sa.Index("ix_webhook_delivery_item", "tenant", "endpoint", "item_id", "position"),
    sa.Index(
        "ix_webhook_delivery_due",
        "tenant",
        "endpoint",
        "next_at",
        sqlite_where=sa.text("next_at IS NOT NULL"),
        postgresql_where=sa.text("next_at IS NOT NULL"),
    ),
    sa.Index(
        "ix_webhook_delivery_dead",
        "tenant",
        "endpoint",
        "position",
        sqlite_where=sa.text("dead_at IS NOT NULL"),
        postgresql_where=sa.text("dead_at IS NOT NULL"),
    ),
)
