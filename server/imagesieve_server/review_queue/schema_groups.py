"""The tables of look-alikes: hashes of pictures, the bands they are found by, closed groups.

Knows columns and keys, as ``schema.py`` does, whose metadata it shares.
"""

from __future__ import annotations

import sqlalchemy as sa

from imagesieve_server.core.groups import Fate, Progress
from imagesieve_server.review_queue.schema_columns import (
    int_,
    key,
    metadata,
    of_item,
    one_of,
    only_where,
    text,
    time,
)

picture_hash = sa.Table(
    "picture_hash",
    metadata,
    key("tenant"),
    key("item_id"),
    text("bits"),  # 64 hexadecimal digits
    text("policy"),  # look-alikes of different policies are different questions
    sa.Column("filed", sa.Boolean, nullable=False),  # under its bands, to be found by likeness
    sa.Column("seed", sa.Boolean, nullable=False),  # it began a group, which has its item's id
    of_item(),
)

hash_band = sa.Table(
    "hash_band",
    metadata,
    key("tenant"),
    sa.Column("band", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
    key("item_id"),
    of_item(),
    sqlite_with_rowid=False,
)

group_close = sa.Table(  # one decision that closes many items
    "group_close",
    metadata,
    key("tenant"),
    key("close_id"),  # made by the caller
    text("group_id"),
    text("outcome"),
    sa.Column("labels", sa.JSON, nullable=False),
    text("note"),
    text("actor"),
    time("ordered_at"),
    int_("count"),  # items that it shall close
    text("progress"),
    text("undone_by"),
    text("undo_note"),
    time("undone_at", nullable=True),
    one_of("progress", [progress.value for progress in Progress]),
    sa.Index("ix_group_close_group", "tenant", "group_id", "ordered_at"),
    sa.Index(
        "ix_group_close_unfinished",
        "tenant",
        "close_id",
        **only_where("progress IN ('CLOSING', 'UNDOING')"),
    ),
)

group_close_item = sa.Table(
    "group_close_item",
    metadata,
    key("tenant"),
    key("close_id"),
    key("item_id"),
    int_("round"),  # the item's, when the close was ordered
    text("fate"),
    sa.Column("decision_id", sa.Text, nullable=True),
    sa.ForeignKeyConstraint(["tenant", "close_id"], ["group_close.tenant", "group_close.close_id"]),
    one_of("fate", [fate.value for fate in Fate]),
    sa.Index("ix_group_close_item_fate", "tenant", "close_id", "fate", "item_id"),
)
