"""The tables of look-alikes: hashes of pictures, the bands they are found by, closed groups.

Knows columns and keys, as ``schema.py`` does, whose metadata it shares.
"""

from __future__ import annotations

import sqlalchemy as sa

from imagesieve_server.core.groups import Fate, Progress
from imagesieve_server.review_queue.schema import (
    _int,
    _key,
    _of_item,
    _one_of,
    _text,
    _time,
    metadata,
)

picture_hash = sa.Table(
    "picture_hash",
    metadata,
    _key("tenant"),
    _key("item_id"),
    _text("bits"),  # 64 hexadecimal digits
    _text("policy"),  # look-alikes of different policies are different questions
    sa.Column("filed", sa.Boolean, nullable=False),  # under its bands, to be found by likeness
    sa.Column("seed", sa.Boolean, nullable=False),  # it began a group, which has its item's id
    _of_item(),
)

hash_band = sa.Table(
    "hash_band",
    metadata,
    _key("tenant"),
    sa.Column("band", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
    _key("item_id"),
    _of_item(),
    sqlite_with_rowid=False,
)

group_close = sa.Table(  # one decision that closes many items
    "group_close",
    metadata,
    _key("tenant"),
    _key("close_id"),  # made by the caller
    _text("group_id"),
    _text("outcome"),
    sa.Column("labels", sa.JSON, nullable=False),
    _text("note"),
    _text("actor"),
    _time("ordered_at"),
    _int("count"),  # items that it shall close
    _text("progress"),
    _text("undone_by"),
    _text("undo_note"),
    _time("undone_at", nullable=True),
    _one_of("progress", [progress.value for progress in Progress]),
    sa.Index("ix_group_close_group", "tenant", "group_id", "ordered_at"),
    sa.Index(
        "ix_group_close_unfinished",
        "tenant",
        "close_id",
        sqlite_where=sa.text("progress IN ('CLOSING', 'UNDOING')"),
        postgresql_where=sa.text("progress IN ('CLOSING', 'UNDOING')"),
    ),
)

group_close_item = sa.Table(
    "group_close_item",
    metadata,
    _key("tenant"),
    _key("close_id"),
    _key("item_id"),
    _int("round"),  # the item's, when the close was ordered
    _text("fate"),
    sa.Column("decision_id", sa.Text, nullable=True),
    sa.ForeignKeyConstraint(["tenant", "close_id"], ["group_close.tenant", "group_close.close_id"]),
    _one_of("fate", [fate.value for fate in Fate]),
    sa.Index("ix_group_close_item_fate", "tenant", "close_id", "fate", "item_id"),
)
