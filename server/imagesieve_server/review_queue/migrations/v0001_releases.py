"""The table of releases that may work on the tables; a part of the first migration
(``versions/v0001_initial.py``)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op


def fit_release() -> None:
    op.create_table(
        "fit_release",
        sa.Column("revision", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_fit_release")),
    )
