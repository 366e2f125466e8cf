"""The tables of golden items, beside those of ``schema.py``."""

from __future__ import annotations

import sqlalchemy as sa

from imagesieve_server.review_queue.schema_columns import (
    key,
    metadata,
    of_item,
    text,
    time,
)

golden = sa.Table(
    "golden",
    metadata,
    key("tenant"),
    key("item_id"),
    text("outcome"),  # the right answer
    sa.Column("labels", sa.JSON, nullable=False),
    text("note"),
    text("marked_by"),
    time("marked_at"),
    time("ended_at", nullable=True),  # NULL: copies are given out
    text("closed_by"),
    of_item(),
)

golden_copy = sa.Table(
    "golden_copy",
    metadata,
    key("tenant"),
    key("item_id"),  # the copy's own
    text("golden_id"),
    text("reviewer"),  # whom it was made for
    time("given_at"),
    of_item(),
    sa.Index("ix_golden_copy_given", "tenant", "golden_id", "reviewer", "given_at"),
)
