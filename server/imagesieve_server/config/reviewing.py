"""Settings of the review side: the queue and the reviewers' pages."""

from __future__ import annotations

from dataclasses import dataclass

from imagesieve_server.bucket_address import SCHEME
from imagesieve_server.config.setting import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """The review queue."""

    database: str = setting(
        "imagesieve-data/queue.sqlite3", "file of the SQLite database, or a postgresql:// URL"
    )
    database_password_file: str = setting(
        "", "file of the database's password; empty: PGPASSWORD, PGPASSFILE or none"
    )
    database_connections: int = setting(
        8, "connections to PostgreSQL, and calls to the queue at work at once"
    )
    evidence: str = setting(
        "imagesieve-data/evidence",
        "folder of the original images, or s3://bucket/prefix (needs the extra s3)",
    )
    evidence_shared: bool = setting(
        False, "the folder is the same on all servers; PostgreSQL needs it to be; a bucket is"
    )
    evidence_endpoint: str = setting(
        "",
        "an S3-compatible store's address, for example https://objects.internal:9000; "
        "empty: AWS_ENDPOINT_URL or Amazon's",
    )
    evidence_region: str = setting("", "the bucket's region; empty: AWS_REGION or us-east-1")
    evidence_access_key: str = setting(
        "", "id of the bucket's key; empty: AWS_ACCESS_KEY_ID, a web identity or the machine's role"
    )
    evidence_secret_key_file: str = setting(
        "", "file of the secret that belongs to that key; empty: AWS_SECRET_ACCESS_KEY"
    )
    evidence_ca: str = setting(
        "", "PEM file of authorities that the store's certificate may come from, besides the known"
    )
    evidence_insecure: bool = setting(
        False, "allow http:// to a store on another machine (a private network)"
    )
    evidence_versions: bool = setting(
        False,
        "the bucket keeps old versions, and a lifecycle rule of yours expires them; "
        "such a bucket is refused otherwise",
    )
    group_look_alikes: bool = setting(
        True, "near-duplicates of one policy form groups, which a lead may close at once"
    )
    group_distance: int = setting(
        31, "bits of 256 in which a group's pictures may differ from its first one, 0 to 31"
    )
    keep_decided_days: float = setting(
        0.0, "days after its decision until an item's picture and details go; 0 keeps them"
    )
    keep_events_days: float = setting(
        30.0, "days that decision events can be watched from a cursor; 0 keeps them"
    )

    golden_share: float = setting(
        0.0, "share of claims that get a golden item, 0 to 1; see measuring review quality"
    )
    golden_again_days: float = setting(
        90.0, "days until a reviewer may get the same golden item again"
    )

    @property
    def is_postgres(self) -> bool:
        """Whether the queue is in PostgreSQL, which several servers share."""
        return self.database.startswith(("postgresql://", "postgres://"))

    @property
    def evidence_is_bucket(self) -> bool:
        """Whether the pictures are in an object store, which several servers share."""
        return self.evidence.startswith(SCHEME)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Decisions told to other services."""

    endpoints: str = setting(
        "",
        "TOML file of who is told of decisions, in force once changed; empty tells nobody",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodSettings:
    """When much from one source is logged and counted as a spike."""

    window_seconds: float = setting(600.0, "the time over which flags are counted")
    group_flags: int = setting(100, "flags of one group of look-alikes; 0 watches none")
    uploader_flags: int = setting(100, "flags of one uploader_ref of a tenant; 0 watches none")
    tenant_flags: int = setting(5000, "flags of one tenant; 0 watches none")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """The reviewers' web pages."""

    address: str = setting("", "host:port of the pages; empty turns them off")
    origin: str = setting(
        "",
        "how browsers name the site, for example https://review.example.com; "
        "empty: by its address, and as localhost",
    )
    accounts: str = setting("", "TOML file of who may sign in; needed with address")
    database: str = setting(
        "imagesieve-data/console.sqlite3",
        "file of sessions, reveals and preferences; not used with PostgreSQL, which keeps them",
    )
    keep_record_days: float = setting(
        0.0,
        "days that the record of reveals and of what people did is kept, 1 or more; 0 keeps it",
    )
    tls_cert: str = setting("", "PEM certificate chain; with tls_key it turns TLS on")
    tls_key: str = setting("", "PEM private key")
    insecure: bool = setting(
        False, "allow a non-loopback address without TLS (behind a proxy that encrypts)"
    )
    proxy_header: str = setting(
        "", "header in which a trusted proxy names who is signed in, for example X-Remote-User"
    )
    proxy_addresses: str = setting(
        "",
        "addresses or networks of the proxy in front, separated by commas; from others that header "
        "and X-Forwarded-For are ignored",
    )
    always_veil: bool = setting(
        False, "pictures come blurred and grey, whatever the reviewer prefers"
    )
    severe_per_day: int = setting(
        0,
        "pictures of severity 3 and 4 that come to one person in 24 hours; then only milder ones "
        "do; 0 is no limit",
    )
    urgent_per_day: int = setting(
        0, "pictures of severity 4 that come to one person in 24 hours; 0 is no limit"
    )
    break_after_minutes: float = setting(
        60.0, "reviewing for so long, a person is reminded to take a break; 0 says nothing"
    )
    session_idle_minutes: float = setting(60.0, "a session ends when unused for so long")
    session_hours: float = setting(12.0, "a session ends so long after signing in")
