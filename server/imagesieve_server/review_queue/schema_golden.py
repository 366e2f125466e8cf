"""The tables of golden items, beside those of ``schema.py``."""

from __future__ import annotations

import sqlalchemy as sa

from imagesieve_server.review_queue.schema import metadata


def _of_item() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["tenant", "item_id"], ["item.tenant", "item.item_id"])


golden = sa.Table(
    "golden",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True, nullable=False),
    sa.Column("item_id", sa.Text, primary_key=True, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),  # the right answer
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("marked_by", sa.Text, nullable=False),
    sa.Column("marked_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double, nullable=True),  # NULL: copies are given out
    sa.Column("closed_by", sa.Text, nullable=False),
    _of_item(),
)

golden_copy = sa.Table(
    "golden_copy",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True, nullable=False),
    sa.Column("item_id", sa.Text, primary_key=True, nullable=False),  # the copy's own
    sa.Column("golden_id", sa.Text, nullable=False),
    sa.Column("reviewer", sa.Text, nullable=False),  # whom it was made for
    sa.Column("given_at", sa.Double, nullable=False),
    _of_item(),
    sa.Index("ix_golden_copy_given", "tenant", "golden_id", "reviewer", "given_at"),
)
