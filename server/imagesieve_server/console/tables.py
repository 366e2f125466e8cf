"""The console's tables: sessions, reveals, deeds, preferences; in a file, or in the queue's
PostgreSQL database, whose migrations make them (``review_queue/migrations``; a test holds both
equal).

Knows columns. Times are seconds since the epoch.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts INTEGER keys alone


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _number() -> sa.Column[int]:
    return sa.Column("number", _NUMBER, sa.Identity(always=True), nullable=False)


session = sa.Table(
    "console_session",
    metadata,
    sa.Column("id", sa.Text, nullable=False),  # sha256 of the cookie
    _text("account"),
    _text("fingerprint"),  # of the account when the session began
    _text("csrf"),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
    _text("tenant"),
    _text("work"),  # JSON: the item in hand and the last decision
    sa.Column("version", sa.Integer, nullable=False),  # counts the changes of tenant and work
    sa.PrimaryKeyConstraint("id", name="pk_console_session"),
)

reveal = sa.Table(  # never changed: who saw which picture unveiled, and when
    "console_reveal",
    metadata,
    _number(),
    sa.Column("at", sa.Double, nullable=False),
    _text("account"),
    _text("tenant"),
    _text("item_id"),
    _text("sha256"),
    _text("how"),  # asked: the person did; shown: it was never veiled
    sa.PrimaryKeyConstraint("number", name="pk_console_reveal"),
    sa.Index("ix_console_reveal_account", "tenant", "account", "at"),
    sa.Index("ix_console_reveal_item", "tenant", "item_id"),
)

deed = sa.Table(  # never changed: what people did here
    "console_deed",
    metadata,
    _number(),
    sa.Column("at", sa.Double, nullable=False),
    _text("account"),
    _text("tenant"),
    _text("item_id"),
    _text("what"),  # APPROVE, REJECT, ESCALATE, SKIP, UNDO
    sa.PrimaryKeyConstraint("number", name="pk_console_deed"),
    sa.Index("ix_console_deed_time", "tenant", "at"),
)

preference = sa.Table(
    "console_preference",
    metadata,
    sa.Column("account", sa.Text, nullable=False),
    _text("value"),
    sa.PrimaryKeyConstraint("account", name="pk_console_preference"),
)
