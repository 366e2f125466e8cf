"""The first tables: items and what belongs to them, decisions, events, webhooks."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from imagesieve_server.review_queue.migrations import (
    v0001_console,
    v0001_golden,
    v0001_groups,
    v0001_releases,
    v0001_webhooks,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

fit_for = ("0001",)
"""Releases that may work on what this leaves, by the newest migration that each knows."""


def upgrade() -> None:
    _item()
    _submission()
    _submission_payload()
    _evidence()
    _claim()
    _decision()
    _audit()
    _audit_count()
    _event_position()
    _decision_event()
    _secret()
    _tidied_early("item")
    _tidied_early("claim")
    v0001_webhooks.webhook_endpoint()
    v0001_webhooks.webhook_delivery()
    v0001_groups.create()
    v0001_console.create()
    v0001_golden.golden()
    v0001_golden.golden_copy()
    v0001_releases.fit_release()


def _item() -> None:
    op.create_table(
        "item",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("reason_bits", sa.Integer(), nullable=False),
        sa.Column("audit", sa.Boolean(), nullable=False),
        sa.Column("rank", sa.Double(), nullable=False),
        sa.Column("enqueued_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("submissions", sa.Integer(), nullable=False),
        sa.Column("shown_request_id", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("reviews_needed", sa.Integer(), nullable=False),
        sa.Column("expiries", sa.Integer(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.Double(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("group_id", sa.Text(), nullable=True),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("opening_note", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("attached_to", sa.Text(), nullable=True),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("golden_of", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.Column("decisions", sa.Integer(), nullable=False),
        sa.Column("chain_head", sa.Text(), nullable=False),
        sa.Column("spoken_by", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(state = 'LEASED') = (lease_until IS NOT NULL)", name=op.f("ck_item_lease")
        ),
        sa.CheckConstraint("(state = 'LEASED') = (token IS NOT NULL)", name=op.f("ck_item_token")),
        sa.CheckConstraint(
            "state IN ('READY', 'LEASED', 'PARKED', 'DECIDED', 'EXPIRED')",
            name=op.f("ck_item_state"),
        ),
        sa.CheckConstraint("verdict IN ('ALLOW', 'REVIEW', 'BLOCK')", name=op.f("ck_item_verdict")),
        sa.PrimaryKeyConstraint("tenant", "item_id", name=op.f("pk_item")),
    )
    _partial("ix_item_attached", "item", ["tenant", "attached_to"], "attached_to IS NOT NULL")
    op.create_index("ix_item_bytes", "item", ["tenant", "sha256"], unique=False)
    _partial("ix_item_decided", "item", ["decided_at"], "state = 'DECIDED'")
    _partial("ix_item_leased", "item", ["tenant", "lease_until"], "state = 'LEASED'")
    op.create_index(
        "ix_item_listed", "item", ["tenant", "state", "enqueued_at", "item_id"], unique=False
    )
    _partial(
        "ix_item_ready",
        "item",
        ["tenant", "tier", "spoken_by", "rank", "item_id"],
        "state = 'READY'",
    )
    _partial(
        "ix_item_ready_category",
        "item",
        ["tenant", "tier", "spoken_by", "category", "rank", "item_id"],
        "state = 'READY'",
    )
    _partial("ix_item_spoken", "item", ["tenant"], "state = 'READY' AND decisions > 0")
    _partial(
        "uq_item_open",
        "item",
        ["tenant", "sha256"],
        "state IN ('LEASED', 'PARKED', 'READY') AND golden_of IS NULL",
        unique=True,
    )
    _partial("ix_item_copy", "item", ["tenant"], "golden_of IS NOT NULL AND state = 'READY'")


def _submission() -> None:
    op.create_table(
        "submission",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("audit", sa.Boolean(), nullable=False),
        sa.Column("inclusion_probability", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "item_id"], ["item.tenant", "item.item_id"], name=op.f("fk_submission_item")
        ),
        sa.PrimaryKeyConstraint("tenant", "request_id", name=op.f("pk_submission")),
    )
    op.create_index(
        "ix_submission_item", "submission", ["tenant", "item_id", "received_at"], unique=False
    )


def _submission_payload() -> None:
    op.create_table(
        "submission_payload",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("content_ref", sa.Text(), nullable=False),
        sa.Column("uploader_ref", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "request_id"],
            ["submission.tenant", "submission.request_id"],
            name=op.f("fk_submission_payload_submission"),
        ),
        sa.PrimaryKeyConstraint("tenant", "request_id", name=op.f("pk_submission_payload")),
    )


def _evidence() -> None:
    op.create_table(
        "evidence",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("stored_at", sa.Double(), nullable=False),
        sa.Column("removed_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "sha256", name=op.f("pk_evidence")),
    )


def _claim() -> None:
    op.create_table(
        "claim",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name=op.f("ck_claim_ended")),
        sa.ForeignKeyConstraint(
            ["tenant", "item_id"], ["item.tenant", "item.item_id"], name=op.f("fk_claim_item")
        ),
        sa.PrimaryKeyConstraint("tenant", "token", name=op.f("pk_claim")),
    )
    _partial("ix_claim_ended", "claim", ["ended_at"], "ended_at IS NOT NULL")
    op.create_index("ix_claim_taken", "claim", ["tenant", "reviewer", "claimed_at"], unique=False)
    _partial("uq_claim_live", "claim", ["tenant", "claim_id"], "ended_at IS NULL", unique=True)


def _decision() -> None:
    op.create_table(
        "decision",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.Double(), nullable=False),
        sa.Column("effective", sa.Boolean(), nullable=False),
        sa.Column("supersedes", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('APPROVE', 'REJECT', 'ESCALATE')", name=op.f("ck_decision_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "item_id"], ["item.tenant", "item.item_id"], name=op.f("fk_decision_item")
        ),
        sa.PrimaryKeyConstraint("tenant", "item_id", "seq", name=op.f("pk_decision")),
        sa.UniqueConstraint("tenant", "decision_id", name=op.f("uq_decision_tenant_decision_id")),
        sa.UniqueConstraint(
            "tenant", "item_id", "token", name=op.f("uq_decision_tenant_item_id_token")
        ),
    )
    _partial(
        "ix_decision_said",
        "decision",
        ["tenant", "decided_at", "reviewer", "outcome"],
        "token IS NOT NULL",
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "item_id"], ["item.tenant", "item.item_id"], name=op.f("fk_audit_item")
        ),
        sa.PrimaryKeyConstraint("tenant", "item_id", "version", name=op.f("pk_audit")),
    )


def _audit_count() -> None:
    op.create_table(
        "audit_count",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("band", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("uploads", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant", "policy", "policy_version", "day", "band", "sha256", "probability",
            name=op.f("pk_audit_count"),
        ),
    )  # fmt: skip


def _event_position() -> None:
    op.create_table(
        "event_position",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_event_position")),
    )


def _decision_event() -> None:
    op.create_table(
        "decision_event",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "decision_id"],
            ["decision.tenant", "decision.decision_id"],
            name=op.f("fk_decision_event_decision"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "item_id"],
            ["item.tenant", "item.item_id"],
            name=op.f("fk_decision_event_item"),
        ),
        sa.PrimaryKeyConstraint("tenant", "position", name=op.f("pk_decision_event")),
    )


def _secret() -> None:
    """Keys of this database, made here once: cursors are sealed with one."""
    table = op.create_table(
        "secret",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secret")),
    )
    op.bulk_insert(table, [{"name": "cursor", "value": secrets.token_hex(32)}])


def _partial(
    name: str, table: str, columns: list[str], where: str, *, unique: bool = False
) -> None:
    """An index of some of the rows."""
    some = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=some, postgresql_where=some)


def _tidied_early(table: str) -> None:
    """PostgreSQL: rows that change with every claim leave dead ones behind, which are to be gone
    long before a fifth of a large table is dead."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.01, "
            "autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02)"
        )
