"""Values that no server can run with, alone or together."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse

from imagesieve_server.addresses import parse_address
from imagesieve_server.bucket_address import check_endpoint, parse_bucket
from imagesieve_server.config.reviewing import ConsoleSettings, QueueSettings
from imagesieve_server.config.settings import Settings
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.near_duplicates import MATCH_DISTANCE

_CHOICES = {
    ("model", "provider"): ("auto", "cuda", "cpu", "openvino"),
    ("log", "level"): ("debug", "info", "warning", "error"),
    ("log", "format"): ("json", "text"),
}
_MORE_THAN_0 = (
    ("images", "max_mib"), ("images", "max_megapixels"), ("images", "wall_seconds"),
    ("images", "worker_memory_mib"), ("model", "hang_seconds"), ("model", "canary_seconds"),
    ("model", "max_queue_views"), ("server", "max_in_flight_views"),
    ("server", "max_in_flight_mib"), ("server", "max_moderation_calls"),
    ("policies", "watch_seconds"), ("server", "watch_seconds"),
    ("embeddings", "max_mib"), ("embeddings", "flush_seconds"), ("embeddings", "file_views"),
    ("embeddings", "queue_views"),
    ("queue", "database_connections"), ("flood", "window_seconds"), ("server", "front_ends"),
)  # fmt: skip


def check(settings: Settings) -> None:
    """Raises ConfigError for the first of them."""
    _check_numbers(settings)
    for (name, key), choices in _CHOICES.items():
        if getattr(getattr(settings, name), key) not in choices:
            raise ConfigError(f"{name}.{key}: must be one of {', '.join(choices)}")
    if bool(settings.server.tls_cert) != bool(settings.server.tls_key):
        raise ConfigError("server.tls_cert and server.tls_key belong together")
    check_queue(settings)
    if settings.server.front_ends > 1 and not settings.queue.is_postgres:
        raise ConfigError(
            "server.front_ends: several processes cannot share an SQLite file; name a "
            "postgresql:// URL in queue.database, or leave it at 1"
        )
    if settings.server.tls_client_ca and not settings.server.tls_cert:
        raise ConfigError("server.tls_client_ca needs server.tls_cert and server.tls_key")
    parse_address(settings.server.address, setting="server.address")
    if settings.metrics.address:
        parse_address(settings.metrics.address, setting="metrics.address")
    check_console(settings.console)


def _check_numbers(settings: Settings) -> None:
    for part in dataclasses.fields(settings):
        section = getattr(settings, part.name)
        for entry in dataclasses.fields(section):
            value = getattr(section, entry.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
                raise ConfigError(f"{part.name}.{entry.name}: must not be negative")
    for name, key in _MORE_THAN_0:
        if getattr(getattr(settings, name), key) == 0:
            raise ConfigError(f"{name}.{key}: must be more than 0")


def check_queue(settings: Settings) -> None:
    """What servers that share a database must share besides. Raises ConfigError."""
    queue = settings.queue
    _check_evidence(queue)
    if queue.group_distance > MATCH_DISTANCE:
        raise ConfigError(f"queue.group_distance: must be from 0 to {MATCH_DISTANCE}")
    if not 0.0 <= queue.golden_share <= 1.0:
        raise ConfigError("queue.golden_share: must lie between 0 and 1")
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
    if not queue.evidence_shared and not queue.evidence_is_bucket:
        raise ConfigError(
            "queue.evidence_shared: servers that share a database must share the evidence folder; "
            "say so here once queue.evidence is the same folder on all of them, or name a bucket"
        )
    if not settings.server.secret_file:
        raise ConfigError(
            "server.secret_file: servers that share a database must share the secret; "
            "`openssl rand -hex 32` makes a good one"
        )


def _check_evidence(queue: QueueSettings) -> None:
    if not queue.evidence_is_bucket:
        if "://" in queue.evidence:
            raise ConfigError("queue.evidence: must be a folder or like s3://bucket/prefix")
        return
    parse_bucket(queue.evidence, setting="queue.evidence")
    if queue.evidence_endpoint:
        check_endpoint(
            queue.evidence_endpoint,
            setting="queue.evidence_endpoint",
            insecure=queue.evidence_insecure,
        )
    if bool(queue.evidence_access_key) != bool(queue.evidence_secret_key_file):
        raise ConfigError(
            "queue.evidence_access_key and queue.evidence_secret_key_file belong together"
        )


def check_console(console: ConsoleSettings) -> None:
    """Whether pages with these settings could be reached and signed in to. Raises ConfigError."""
    if not console.address:
        return
    host = parse_address(console.address, setting="console.address")[0]
    if bool(console.tls_cert) != bool(console.tls_key):
        raise ConfigError("console.tls_cert and console.tls_key belong together")
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
    if 0 < console.keep_record_days < 1:
        raise ConfigError(
            "console.keep_record_days: must be 1 or more, or 0: leads see a day of it"
        )
