"""Alembic runs this for each command: migrations go through the connection handed in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from imagesieve_server.review_queue import schema_groups, schema_releases  # noqa: F401 - add tables
from imagesieve_server.review_queue.schema import metadata

connection: sa.Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
