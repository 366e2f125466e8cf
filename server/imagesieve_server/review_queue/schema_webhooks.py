"""The tables of webhooks, beside those of ``schema.py``: small, and empty where every endpoint
has been told everything."""

from __future__ import annotations

import sqlalchemy as sa

from imagesieve_server.review_queue.schema_columns import (
    int_,
    key,
    metadata,
    only_where,
    text,
    time,
)

webhook_endpoint = sa.Table(
    "webhook_endpoint",
    metadata,
    key("tenant"),
    key("endpoint"),
    sa.Column("position", sa.BigInteger, nullable=False),  # up to here told, or a delivery
    text("holder"),  # the process that delivers
    time("held_until"),
    text("gone"),  # under which configuration it answered 410
)

webhook_delivery = sa.Table(  # what could not be told, or not yet
    "webhook_delivery",
    metadata,
    key("tenant"),
    key("endpoint"),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False, nullable=False),
    text("item_id"),
    text("decision_id"),
    text("request_id"),
    time("created_at"),
    int_("attempts"),
    time("failed_at", nullable=True),  # the first time
    time("next_at", nullable=True),  # of the first of an item only
    time("dead_at", nullable=True),
    text("result"),
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
        **only_where("next_at IS NOT NULL"),
    ),
    sa.Index(
        "ix_webhook_delivery_dead",
        "tenant",
        "endpoint",
        "position",
        **only_where("dead_at IS NOT NULL"),
    ),
)
