"""Word of other servers' decisions, by the database's NOTIFY and LISTEN.

A notice is a hint: it says whose decisions to look for, never what was decided. While the
connection that listens is lost, watchers find decisions by looking now and then as they would
without it, and when it is back they all look once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import sqlalchemy as sa

from imagesieve_server.extras import need
from imagesieve_server.review_queue.postgres_session import liveness

log = logging.getLogger(__name__)

CHANNEL = "imagesieve_decisions"
RECONNECT_S = 5.0
"""Time between attempts to listen again, seconds."""

Wake = Callable[[str | None], None]
"""Called with the tenant whose decisions there are; None: perhaps of every tenant."""


def notify(connection: sa.Connection, tenant: str) -> None:
    """Tell those who listen, when the transaction is committed."""
    values = {"channel": CHANNEL, "tenant": tenant}
    connection.execute(sa.text("SELECT pg_notify(:channel, :tenant)"), values)


async def listen(
    *, url: str, password: str | None, wake: Wake, reconnect_s: float = RECONNECT_S
) -> None:
    """Wake watchers until cancelled. Raises MissingExtra."""
    psycopg = need("psycopg")
    secret = {"password": password} if password else {}
    lost = False
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(
                url, autocommit=True, **liveness(), **secret
            )
            async with connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                if lost:
                    log.info("decisions of other servers are heard of again")
                lost = False
                wake(None)  # of what was decided meanwhile nobody was told
                async for notice in connection.notifies():
                    wake(notice.payload)
        except psycopg.Error as problem:
            if not lost:
                log.warning(
                    "decisions of other servers are not heard of at once: the connection that "
                    "listens is lost",
                    extra={"problem": type(problem).__name__},
                )
            lost = True
        await asyncio.sleep(reconnect_s)
