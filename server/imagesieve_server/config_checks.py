"""Settings that are each possible, and together are not. Part of ``config.py``."""

from __future__ import annotations

import re
import urllib.parse
from typing import TYPE_CHECKING

from imagesieve_server.addresses import parse_address
from imagesieve_server.core.errors import ConfigError

if TYPE_CHECKING:
    from imagesieve_server.config import ConsoleSettings, Settings


def check_queue(settings: Settings) -> None:
    """What servers that share a database must share besides. Raises ConfigError."""
    queue = settings.queue
    if not queue.is_postgres:
        if "://" in queue.database:
            raise ConfigError("queue.database: must be a file or a postgresql:// URL")
        return
    rest = queue.database.partition("://")[2]
    person = re.match(r"[^@/]*(?=@)", rest)  # where libpq looks for it, be there a ? in it
    options = urllib.parse.unquote(rest.partition("?")[2]).lower()
    if (person and ":" in person[0]) or "password=" in options:
        raise ConfigError(
            "queue.database: must not hold a password; name a file in "
            "queue.database_password_file, or set PGPASSWORD"
        )
    if not queue.evidence_shared:
        raise ConfigError(
            "queue.evidence_shared: servers that share a database must share the evidence folder; "
            "say so here once queue.evidence is the same folder on all of them"
        )
    if not settings.server.secret_file:
        raise ConfigError(
            "server.secret_file: servers that share a database must share the secret; "
            "`openssl rand -hex 32` makes a good one"
        )


def check_console(console: ConsoleSettings) -> None:
    """Whether pages with these settings could be reached and signed in to. Raises ConfigError."""
    if not console.address:
        return
    host = parse_address(console.address, setting="console.address")[0]
    if not console.accounts:
        raise ConfigError("console.address needs console.accounts: nobody could sign in")
    if console.origin and not re.fullmatch(r"https?://[^/\s]+/?", console.origin):
        raise ConfigError("console.origin: must be like https://review.example.com")
    if not console.origin and host in ("0.0.0.0", "::", ""):
        raise ConfigError(
            f"console.address {console.address} is every address: say in console.origin how "
            "browsers name the site"
        )
    for key in ("session_idle_minutes", "session_hours"):
        if getattr(console, key) == 0:
            raise ConfigError(f"console.{key}: must be more than 0")
