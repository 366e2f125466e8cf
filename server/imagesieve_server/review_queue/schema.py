"""The tables of the review queue, for every SQL dialect.

Knows columns, keys and constraints. Does not know how rows come about (``moves.py`` and its
callers) nor how an old database becomes this one (``migrations/``; a test holds both equal).

Tenant is the first column of every key but that of ``secret``. Times are seconds since the
epoch by the store's clock. The table ``item`` is small and hot; what is wide lies in
``submission_payload``, once per submission, and an item shows the payload of one of its
submissions.
"""

from __future__ import annotations

import sqlalchemy as sa

from imagesieve_server.core.review import OPEN, Outcome, State
from imagesieve_server.core.verdict import Verdict

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = sa.MetaData(naming_convention=NAMES)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=nullable)


def _one_of(column: str, values: list[str]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def _of_item() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["tenant", "item_id"], ["item.tenant", "item.item_id"])


STATES = [state.value for state in State]
OPEN_STATES = sorted(state.value for state in OPEN)
IS_OPEN = "state IN (" + ", ".join(f"'{state}'" for state in OPEN_STATES) + ")"
IS_OPEN_AND_REAL = IS_OPEN + " AND golden_of IS NULL"
IS_WAITING_COPY = "golden_of IS NOT NULL AND state = 'READY'"

item = sa.Table(
    "item",
    metadata,
    _key("tenant"),
    _key("item_id"),
    _text("sha256"),
    _text("state"),
    _text("verdict"),  # the strongest of its submissions
    _text("category"),
    _int("severity"),
    _int("reason_bits"),  # of the shown submission's reasons
    sa.Column("audit", sa.Boolean, nullable=False),  # every submission is an audit sample
    sa.Column("rank", sa.Double, nullable=False),  # the smallest is claimed first
    _time("enqueued_at"),
    _time("due_at"),
    _int("submissions"),
    _text("shown_request_id"),  # the submission whose answer the reviewer sees
    _int("round"),
    _int("tier"),
    _int("reviews_needed"),
    _int("expiries"),  # of this round
    sa.Column("token", sa.Text, nullable=True),  # of the present lease
    _text("claimed_by"),
    _time("claimed_at", nullable=True),
    _time("lease_until", nullable=True),
    sa.Column("group_id", sa.Text, nullable=True),
    _text("opened_by"),  # a Cause: what began the round, or contested the item last
    _text("opening_note"),
    _time("opened_at"),  # when the round began
    sa.Column("attached_to", sa.Text, nullable=True),  # an open item with the same bytes
    sa.Column("blind", sa.Boolean, nullable=False),  # what tells a sample apart is not shown
    sa.Column("golden_of", sa.Text, nullable=True),  # the golden item that it is a copy of
    _time("decided_at", nullable=True),
    _int("decisions"),  # rows in the item's chain
    _text("chain_head"),  # hash of the last of them
    _text("spoken_by"),  # its reviewer; "" where there is none
    _int("version"),  # + 1 with every change
    _one_of("state", STATES),
    _one_of("verdict", [verdict.value for verdict in Verdict]),
    sa.CheckConstraint("(state = 'LEASED') = (token IS NOT NULL)", name="token"),
    sa.CheckConstraint("(state = 'LEASED') = (lease_until IS NOT NULL)", name="lease"),
    sa.Index(
        "ix_item_ready",
        "tenant",
        "tier",
        "spoken_by",
        "rank",
        "item_id",
        sqlite_where=sa.text("state = 'READY'"),
        postgresql_where=sa.text("state = 'READY'"),
    ),
    sa.Index(
        "ix_item_ready_category",
        "tenant",
        "tier",
        "spoken_by",
        "category",
        "rank",
        "item_id",
        sqlite_where=sa.text("state = 'READY'"),
        postgresql_where=sa.text("state = 'READY'"),
    ),
    sa.Index(
        "ix_item_spoken",
        "tenant",
        sqlite_where=sa.text("state = 'READY' AND decisions > 0"),
        postgresql_where=sa.text("state = 'READY' AND decisions > 0"),
    ),
    sa.Index("ix_item_listed", "tenant", "state", "enqueued_at", "item_id"),
    sa.Index("ix_item_bytes", "tenant", "sha256"),
    sa.Index(
        "ix_item_group",  # whole in itself: a group's figures touch no row
        "tenant",
        "group_id",
        "state",
        "enqueued_at",
        "item_id",
        "round",
        sqlite_where=sa.text("group_id IS NOT NULL"),
        postgresql_where=sa.text("group_id IS NOT NULL"),
    ),
    sa.Index(
        "ix_item_attached",
        "tenant",
        "attached_to",
        sqlite_where=sa.text("attached_to IS NOT NULL"),
        postgresql_where=sa.text("attached_to IS NOT NULL"),
    ),
    sa.Index(
        "ix_item_decided",
        "decided_at",
        sqlite_where=sa.text("state = 'DECIDED'"),
        postgresql_where=sa.text("state = 'DECIDED'"),
    ),
    sa.Index(
        "ix_item_leased",
        "tenant",
        "lease_until",
        sqlite_where=sa.text("state = 'LEASED'"),
        postgresql_where=sa.text("state = 'LEASED'"),
    ),
    sa.Index(
        "uq_item_open",
        "tenant",
        "sha256",
        unique=True,
        sqlite_where=sa.text(IS_OPEN_AND_REAL),
        postgresql_where=sa.text(IS_OPEN_AND_REAL),
    ),
    sa.Index(
        "ix_item_copy",
        "tenant",
        sqlite_where=sa.text(IS_WAITING_COPY),
        postgresql_where=sa.text(IS_WAITING_COPY),
    ),
)

submission = sa.Table(
    "submission",
    metadata,
    _key("tenant"),
    _key("request_id"),
    _text("digest"),  # over bytes, policy, categories, surface and mode
    _text("item_id"),
    _time("received_at"),
    _text("verdict"),
    _text("policy"),
    _text("policy_version"),
    _text("model_version"),
    sa.Column("reasons", sa.JSON, nullable=False),
    _text("category"),
    _int("severity"),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("audit", sa.Boolean, nullable=False),
    sa.Column("inclusion_probability", sa.Double, nullable=True),  # of the audit sample
    _of_item(),
    sa.Index("ix_submission_item", "tenant", "item_id", "received_at"),
)

submission_payload = sa.Table(
    "submission_payload",
    metadata,
    _key("tenant"),
    _key("request_id"),
    _text("answer"),  # JSON of core/answer.py
    _text("surface"),
    _text("content_ref"),
    _text("uploader_ref"),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.ForeignKeyConstraint(
        ["tenant", "request_id"], ["submission.tenant", "submission.request_id"]
    ),
)

evidence = sa.Table(
    "evidence",
    metadata,
    _key("tenant"),
    _key("sha256"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    _text("media_type"),
    _time("stored_at"),
    _time("removed_at", nullable=True),
)

claim = sa.Table(
    "claim",
    metadata,
    _key("tenant"),
    _key("token"),
    _text("claim_id"),
    _text("item_id"),
    _text("reviewer"),
    _time("claimed_at"),
    _time("ended_at", nullable=True),
    sa.Column("ended_by", sa.Text, nullable=True),  # a Cause
    _of_item(),
    sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended"),
    sa.Index(
        "ix_claim_ended",
        "ended_at",
        sqlite_where=sa.text("ended_at IS NOT NULL"),
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    ),
    sa.Index("ix_claim_taken", "tenant", "reviewer", "claimed_at"),
    sa.Index(
        "uq_claim_live",
        "tenant",
        "claim_id",
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
)

decision = sa.Table(
    "decision",
    metadata,
    _key("tenant"),
    _key("item_id"),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
    _text("decision_id"),
    _int("round"),
    _int("tier"),
    _text("outcome"),
    sa.Column("labels", sa.JSON, nullable=False),
    _text("note"),
    _text("reviewer"),
    sa.Column("token", sa.Text, nullable=True),  # NULL where no lease was needed
    _time("decided_at"),
    sa.Column("effective", sa.Boolean, nullable=False),
    _text("supersedes"),
    _text("cause"),
    _text("policy_version"),  # of the submission the reviewer was shown
    _text("model_version"),
    _text("prev_hash"),
    _text("hash"),
    _of_item(),
    _one_of("outcome", [outcome.value for outcome in Outcome]),
    sa.UniqueConstraint("tenant", "decision_id"),
    sa.UniqueConstraint("tenant", "item_id", "token"),
    sa.Index(
        "ix_decision_said",  # what people said, for figures
        "tenant",
        "decided_at",
        "reviewer",
        "outcome",
        sqlite_where=sa.text("token IS NOT NULL"),
        postgresql_where=sa.text("token IS NOT NULL"),
    ),
)

audit = sa.Table(
    "audit",
    metadata,
    _key("tenant"),
    _key("item_id"),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
    _time("at"),
    _text("actor"),
    _text("cause"),
    sa.Column("source", sa.Text, nullable=True),  # NULL: the item is new
    _text("target"),
    sa.Column("detail", sa.JSON, nullable=False),
    _of_item(),
)

audit_count = sa.Table(  # uploads with the verdict ALLOW, of policies that audit
    "audit_count",
    metadata,
    _key("tenant"),
    _key("policy"),
    _key("policy_version"),
    _key("day"),  # UTC, as 2026-11-21
    _key("band"),
    _key("sha256"),  # of a picture that was selected; "": the whole band
    sa.Column("probability", sa.Double, primary_key=True, nullable=False),
    sa.Column("uploads", sa.BigInteger, nullable=False),
    sa.Column("dropped", sa.BigInteger, nullable=False),  # samples that could not be kept
)

event_position = sa.Table(
    "event_position",
    metadata,
    _key("tenant"),
    sa.Column("position", sa.BigInteger, nullable=False),  # of the tenant's last event
    sa.Column("removed", sa.BigInteger, nullable=False),  # events up to here are not kept
)

decision_event = sa.Table(
    "decision_event",
    metadata,
    _key("tenant"),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False, nullable=False),
    _text("item_id"),
    _text("decision_id"),
    _text("request_id"),  # one event per submission of the item
    _time("created_at"),
    _of_item(),
    sa.ForeignKeyConstraint(["tenant", "decision_id"], ["decision.tenant", "decision.decision_id"]),
)

secret = sa.Table("secret", metadata, _key("name"), _text("value"))  # made by the migration
