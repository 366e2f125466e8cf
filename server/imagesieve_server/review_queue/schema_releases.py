"""Which releases may work on the tables as they are, beside the tables of ``schema.py``."""

from __future__ import annotations

import sqlalchemy as sa

from imagesieve_server.review_queue.schema_columns import key, metadata

fit_release = sa.Table(
    "fit_release",
    metadata,
    key("revision"),  # the newest migration that such a release knows
)
