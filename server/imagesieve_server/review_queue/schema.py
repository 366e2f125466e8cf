"""The tables of the review queue, for every SQL dialect.

Knows columns, keys and constraints. Does not know how rows come about (``moves.py`` and its
callers) nor how an old database becomes this one (``migrations/``; a test holds both equal).

Tenant is the first column of every key but those of ``secret`` and ``fit_release``. Times are
seconds since the epoch by the store's clock. The table ``item`` is small and hot; what is wide lies
in ``submission_payload``, once per submission, and an item shows the payload of one of its
submissions.
"""

from __future__ import annotations

import sqlalchemy as sa

from imagesieve_server.core.review import OPEN, Outcome, State
from imagesieve_server.core.verdict import Verdict
from imagesieve_server.review_queue.schema_columns import (
    int_,
    key,
    of_item,
    one_of,
    only_where,
    text,
    time,
)
from imagesieve_server.review_queue.schema_columns import metadata as metadata

STATES = [state.value for state in State]
OPEN_STATES = sorted(state.value for state in OPEN)
IS_OPEN = "state IN (" + ", ".join(f"'{state}'" for state in OPEN_STATES) + ")"
IS_OPEN_AND_REAL = IS_OPEN + " AND golden_of IS NULL"
IS_WAITING_COPY = "golden_of IS NOT NULL AND state = 'READY'"

item = sa.Table(
    "item",
    metadata,
    key("tenant"),
    key("item_id"),
    text("sha256"),
    text("state"),
    text("verdict"),  # the strongest of its submissions
    text("category"),
    int_("severity"),
    int_("reason_bits"),  # of the shown submission's reasons
    sa.Column("audit", sa.Boolean, nullable=False),  # every submission is an audit sample
    sa.Column("rank", sa.Double, nullable=False),  # the smallest is claimed first
    time("enqueued_at"),
    time("due_at"),
    int_("submissions"),
    text("shown_request_id"),  # the submission whose answer the reviewer sees
    int_("round"),
    int_("tier"),
    int_("reviews_needed"),
    int_("expiries"),  # of this round
    sa.Column("token", sa.Text, nullable=True),  # of the present lease
    text("claimed_by"),
    time("claimed_at", nullable=True),
    time("lease_until", nullable=True),
    sa.Column("group_id", sa.Text, nullable=True),
    text("opened_by"),  # a Cause: what began the round, or contested the item last
    text("opening_note"),
    time("opened_at"),  # when the round began
    sa.Column("attached_to", sa.Text, nullable=True),  # an open item with the same bytes
    sa.Column("blind", sa.Boolean, nullable=False),  # what tells a sample apart is not shown
    sa.Column("golden_of", sa.Text, nullable=True),  # the golden item that it is a copy of
    time("decided_at", nullable=True),
    int_("decisions"),  # rows in the item's chain
    text("chain_head"),  # hash of the last of them
    text("spoken_by"),  # its reviewer; "" where there is none
    int_("version"),  # + 1 with every change
    one_of("state", STATES),
    one_of("verdict", [verdict.value for verdict in Verdict]),
    sa.CheckConstraint("(state = 'LEASED') = (token IS NOT NULL)", name="token"),
    sa.CheckConstraint("(state = 'LEASED') = (lease_until IS NOT NULL)", name="lease"),
    sa.Index(
        "ix_item_ready",
        "tenant",
        "tier",
        "spoken_by",
        "rank",
        "item_id",
        **only_where("state = 'READY'"),
    ),
    sa.Index(
        "ix_item_ready_category",
        "tenant",
        "tier",
        "spoken_by",
        "category",
        "rank",
        "item_id",
        **only_where("state = 'READY'"),
    ),
    sa.Index(
        "ix_item_spoken",
        "tenant",
        **only_where("state = 'READY' AND decisions > 0"),
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
        **only_where("group_id IS NOT NULL"),
    ),
    sa.Index(
        "ix_item_attached",
        "tenant",
        "attached_to",
        **only_where("attached_to IS NOT NULL"),
    ),
    sa.Index(
        "ix_item_decided",
        "decided_at",
        **only_where("state = 'DECIDED'"),
    ),
    sa.Index(
        "ix_item_leased",
        "tenant",
        "lease_until",
        **only_where("state = 'LEASED'"),
    ),
    sa.Index(
        "uq_item_open",
        "tenant",
        "sha256",
        unique=True,
        **only_where(IS_OPEN_AND_REAL),
    ),
    sa.Index(
        "ix_item_copy",
        "tenant",
        **only_where(IS_WAITING_COPY),
    ),
)

submission = sa.Table(
    "submission",
    metadata,
    key("tenant"),
    key("request_id"),
    text("digest"),  # over bytes, policy, categories, surface and mode
    text("item_id"),
    time("received_at"),
    text("verdict"),
    text("policy"),
    text("policy_version"),
    text("model_version"),
    sa.Column("reasons", sa.JSON, nullable=False),
    text("category"),
    int_("severity"),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("audit", sa.Boolean, nullable=False),
    sa.Column("inclusion_probability", sa.Double, nullable=True),  # of the audit sample
    of_item(),
    sa.Index("ix_submission_item", "tenant", "item_id", "received_at"),
)

submission_payload = sa.Table(
    "submission_payload",
    metadata,
    key("tenant"),
    key("request_id"),
    text("answer"),  # JSON of core/answer.py
    text("surface"),
    text("content_ref"),
    text("uploader_ref"),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.ForeignKeyConstraint(
        ["tenant", "request_id"], ["submission.tenant", "submission.request_id"]
    ),
)

evidence = sa.Table(
    "evidence",
    metadata,
    key("tenant"),
    key("sha256"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    text("media_type"),
    time("stored_at"),
    time("removed_at", nullable=True),
)

claim = sa.Table(
    "claim",
    metadata,
    key("tenant"),
    key("token"),
    text("claim_id"),
    text("item_id"),
    text("reviewer"),
    time("claimed_at"),
    time("ended_at", nullable=True),
    sa.Column("ended_by", sa.Text, nullable=True),  # a Cause
    of_item(),
    sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended"),
    sa.Index(
        "ix_claim_ended",
        "ended_at",
        **only_where("ended_at IS NOT NULL"),
    ),
    sa.Index("ix_claim_taken", "tenant", "reviewer", "claimed_at"),
    sa.Index(
        "uq_claim_live",
        "tenant",
        "claim_id",
        unique=True,
        **only_where("ended_at IS NULL"),
    ),
)

decision = sa.Table(
    "decision",
    metadata,
    key("tenant"),
    key("item_id"),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
    text("decision_id"),
    int_("round"),
    int_("tier"),
    text("outcome"),
    sa.Column("labels", sa.JSON, nullable=False),
    text("note"),
    text("reviewer"),
    sa.Column("token", sa.Text, nullable=True),  # NULL where no lease was needed
    time("decided_at"),
    sa.Column("effective", sa.Boolean, nullable=False),
    text("supersedes"),
    text("cause"),
    text("policy_version"),  # of the submission the reviewer was shown
    text("model_version"),
    text("prev_hash"),
    text("hash"),
    of_item(),
    one_of("outcome", [outcome.value for outcome in Outcome]),
    sa.UniqueConstraint("tenant", "decision_id"),
    sa.UniqueConstraint("tenant", "item_id", "token"),
    sa.Index(
        "ix_decision_said",  # what people said, for figures
        "tenant",
        "decided_at",
        "reviewer",
        "outcome",
        **only_where("token IS NOT NULL"),
    ),
)

audit = sa.Table(
    "audit",
    metadata,
    key("tenant"),
    key("item_id"),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
    time("at"),
    text("actor"),
    text("cause"),
    sa.Column("source", sa.Text, nullable=True),  # NULL: the item is new
    text("target"),
    sa.Column("detail", sa.JSON, nullable=False),
    of_item(),
)

audit_count = sa.Table(  # uploads with the verdict ALLOW, of policies that audit
    "audit_count",
    metadata,
    key("tenant"),
    key("policy"),
    key("policy_version"),
    key("day"),  # UTC, as 2026-11-21
    key("band"),
    key("sha256"),  # of a picture that was selected; "": the whole band
    sa.Column("probability", sa.Double, primary_key=True, nullable=False),
    sa.Column("uploads", sa.BigInteger, nullable=False),
    sa.Column("dropped", sa.BigInteger, nullable=False),  # samples that could not be kept
)

event_position = sa.Table(
    "event_position",
    metadata,
    key("tenant"),
    sa.Column("position", sa.BigInteger, nullable=False),  # of the tenant's last event
    sa.Column("removed", sa.BigInteger, nullable=False),  # events up to here are not kept
)

decision_event = sa.Table(
    "decision_event",
    metadata,
    key("tenant"),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False, nullable=False),
    text("item_id"),
    text("decision_id"),
    text("request_id"),  # one event per submission of the item
    time("created_at"),
    of_item(),
    sa.ForeignKeyConstraint(["tenant", "decision_id"], ["decision.tenant", "decision.decision_id"]),
)

secret = sa.Table("secret", metadata, key("name"), text("value"))  # made by the migration
