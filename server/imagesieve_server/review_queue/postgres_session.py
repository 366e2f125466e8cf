"""What every connection to PostgreSQL says about itself. Knows libpq's names, and no driver."""

from __future__ import annotations

CONNECT_TIMEOUT_S = 5

LIVENESS = {
    # A connection that the network lost is noticed within about this time, and never waits for
    # a machine that is gone.
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
    "client_encoding": "UTF8",
    "target_session_attrs": "read-write",  # queue state is never read from a replica
    "application_name": "imagesieve-server",
}
