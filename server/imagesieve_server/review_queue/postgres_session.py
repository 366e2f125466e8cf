"""What every connection to PostgreSQL says about itself, and how long it waits. Knows libpq's
names, and no driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one waits for the database, seconds. 0 is for ever, of a connection libpq's way."""

    connect_s: int = 5
    statement_s: float = 10.0
    lock_s: float = 5.0  # also for a connection while all are busy
    # A transaction whose server has stopped between two statements ends after this, so that its
    # locks do not hold up the others.
    idle_s: float = 10.0


PATIENCE = Patience()
"""A server's, which answers people."""


def liveness(patience: Patience = PATIENCE) -> dict[str, Any]:
    """For libpq: a connection that the network lost is noticed within about this time, and never
    waits for a machine that is gone."""
    return {
        "connect_timeout": patience.connect_s,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,  # milliseconds
        "client_encoding": "UTF8",
        "target_session_attrs": "read-write",  # queue state is never read from a replica
        "application_name": "imagesieve-server",
    }
