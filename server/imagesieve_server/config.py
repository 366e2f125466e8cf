"""Every setting of the server, with its default and its meaning.

One TOML file, overridden by environment variables ``IMAGESIEVE__SECTION__KEY``. The
environment is handed in as an argument and read here only. An unknown key is an error: a
misspelt limit must not silently be the default.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from imagesieve_server.addresses import parse_address as parse_address
from imagesieve_server.config_checks import check_console, check_queue
from imagesieve_server.core.errors import ConfigError

ENV_PREFIX = "IMAGESIEVE__"


def _setting(default: Any, about: str) -> Any:
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The gRPC port."""

    address: str = _setting("127.0.0.1:50051", "host:port of the gRPC server; port 0 picks one")
    insecure: bool = _setting(
        False, "allow a non-loopback address without TLS (behind a mesh that encrypts)"
    )
    tls_cert: str = _setting("", "PEM certificate chain; with tls_key it turns TLS on")
    tls_key: str = _setting("", "PEM private key")
    tls_client_ca: str = _setting(
        "", "PEM authorities; callers must then show a certificate that one of them signed"
    )
    callers: str = _setting(
        "", "TOML file of who may call; empty: everybody on this machine, as one tenant"
    )
    watch_seconds: float = _setting(
        2.0, "time between looks at certificates and callers, which are in force once changed"
    )
    secret_file: str = _setting(
        "",
        "file of a secret, 32 bytes or more, the same on all servers; empty makes one per start",
    )
    max_in_flight_views: int = _setting(1024, "views admitted at once; more are shed")
    max_in_flight_mib: int = _setting(512, "bytes of admitted images, MiB; more are shed")
    max_moderation_calls: int = _setting(
        512, "unary calls at work at once, and as many streams; more are shed unread"
    )
    drain_seconds: float = _setting(20.0, "time given to calls in flight when stopping")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """The Prometheus port."""

    address: str = _setting("127.0.0.1:9464", "host:port of /metrics; empty turns it off")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The encoder."""

    bundle: str = _setting("", "folder of the model bundle; empty is the demo model")
    provider: str = _setting("auto", "auto, cuda or cpu; cuda fails to start without a GPU")
    threads: int = _setting(0, "threads of one encoder run; 0 is one per core")
    spinning: bool = _setting(False, "let encoder threads spin; only with cores to spare")
    max_queue_views: int = _setting(1024, "views waiting for the encoder; more are shed")
    hang_seconds: float = _setting(60.0, "an encoder run longer than this counts as failed")
    canary_seconds: float = _setting(600.0, "time between canary checks")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """The policies."""

    folder: str = _setting("", "folder of compiled *.policy.npz files; empty is the demo policy")
    default: str = _setting("", "policy of requests that name none; needed with several")
    watch_seconds: float = _setting(2.0, "time between looks at the folder")
    shadow_folder: str = _setting(
        "",
        "folder of compiled policies, each scored and counted beside the one of its name, never "
        "acted on; empty is none",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """The decoder."""

    workers: int = _setting(0, "decode worker processes; 0 is one per core")
    max_mib: int = _setting(20, "largest image accepted, MiB")
    max_megapixels: int = _setting(64, "largest picture decoded, million pixels")
    wall_seconds: float = _setting(
        8.0,
        "time one image may take in a worker, two thirds of it on the processor; "
        "less than callers wait, or they never learn that it was too long",
    )
    undecodable_per_hour: int = _setting(
        100, "undecodable images of one tenant queued for review in an hour; more are refused"
    )
    worker_memory_mib: int = _setting(1536, "address space of a worker, MiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """The review queue."""

    database: str = _setting(
        "imagesieve-data/queue.sqlite3", "file of the SQLite database, or a postgresql:// URL"
    )
    database_password_file: str = _setting(
        "", "file of the database's password; empty: PGPASSWORD, PGPASSFILE or none"
    )
    database_connections: int = _setting(
        8, "connections to PostgreSQL, and calls to the queue at work at once"
    )
    evidence: str = _setting("imagesieve-data/evidence", "folder of the original images")
    evidence_shared: bool = _setting(
        False, "the folder is the same on all servers; PostgreSQL needs it to be"
    )
    keep_decided_days: float = _setting(
        0.0, "days after its decision until an item's picture and details go; 0 keeps them"
    )
    keep_events_days: float = _setting(
        30.0, "days that decision events can be watched from a cursor; 0 keeps them"
    )

    @property
    def is_postgres(self) -> bool:
        """Whether the queue is in PostgreSQL, which several servers share."""
        return self.database.startswith(("postgresql://", "postgres://"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSettings:
    """Embeddings kept for judging again; they are personal data."""

    folder: str = _setting(
        "", "folder of kept embeddings; empty keeps none; needs the extra embeddings"
    )
    keep_days: float = _setting(30.0, "whole days that embeddings are kept; 0 keeps them")
    max_mib: int = _setting(20480, "room for all embeddings, MiB; what comes then is not kept")
    flush_seconds: float = _setting(
        300.0, "longest time in memory before the writing; a killed server loses that much"
    )
    file_views: int = _setting(
        8192, "views of one file, all in memory before the writing; about 1 KB each"
    )
    queue_views: int = _setting(
        16384, "views that wait for the writing thread; more are dropped and counted"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """The reviewers' web pages."""

    address: str = _setting("", "host:port of the pages; empty turns them off")
    origin: str = _setting(
        "",
        "how browsers name the site, for example https://review.example.com; "
        "empty: by its address, and as localhost",
    )
    accounts: str = _setting("", "TOML file of who may sign in; needed with address")
    database: str = _setting(
        "imagesieve-data/console.sqlite3", "file of sessions, reveals and preferences"
    )
    tls_cert: str = _setting("", "PEM certificate chain; with tls_key it turns TLS on")
    tls_key: str = _setting("", "PEM private key")
    insecure: bool = _setting(
        False, "allow a non-loopback address without TLS (behind a proxy that encrypts)"
    )
    proxy_header: str = _setting(
        "", "header in which a trusted proxy names who is signed in, for example X-Remote-User"
    )
    proxy_addresses: str = _setting(
        "", "addresses or networks of that proxy, separated by commas; from others it is ignored"
    )
    always_veil: bool = _setting(
        False, "pictures come blurred and grey, whatever the reviewer prefers"
    )
    session_idle_minutes: float = _setting(60.0, "a session ends when unused for so long")
    session_hours: float = _setting(12.0, "a session ends so long after signing in")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The log, one JSON object a line on standard error."""

    level: str = _setting("info", "debug, info, warning or error")
    format: str = _setting("json", "json or text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All sections."""

    server: ServerSettings = field(default_factory=ServerSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    policies: PolicySettings = field(default_factory=PolicySettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    embeddings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    log: LogSettings = field(default_factory=LogSettings)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the file (None: defaults only) and the environment. Raises ConfigError."""
    raw = _read_file(path) if path is not None else {}
    settings = Settings(**{name: _section(name, raw.pop(name, {})) for name in _sections()})
    if raw:
        raise ConfigError(f"unknown section {sorted(raw)[0]!r}; known: {', '.join(_sections())}")
    for variable in sorted(environ):
        if variable.startswith(ENV_PREFIX):
            settings = _override(settings, variable, environ[variable])
    _check(settings)
    return settings


def _sections() -> dict[str, type[Any]]:
    return get_type_hints(Settings)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _section(name: str, raw: Any) -> Any:
    kind = _sections()[name]
    if not isinstance(raw, dict):
        raise ConfigError(f"{name}: must be a table")
    hints = get_type_hints(kind)
    for key, value in raw.items():
        if key not in hints:
            raise ConfigError(f"{name}.{key}: unknown setting; known: {', '.join(hints)}")
        raw[key] = _typed(f"{name}.{key}", value, hints[key])
    return kind(**raw)


def _typed(where: str, value: Any, kind: type[Any]) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: must be {_NAMES[kind]}, not {value!r}")
    return value


_NAMES: dict[type[Any], str] = {
    str: "text", int: "a whole number", float: "a number", bool: "true or false",
}  # fmt: skip


def _override(settings: Settings, variable: str, text: str) -> Settings:
    section, _, key = variable.removeprefix(ENV_PREFIX).lower().partition("__")
    kind = _sections().get(section)
    hints = get_type_hints(kind) if kind else {}
    if key not in hints:
        raise ConfigError(f"environment variable {variable}: no such setting")
    try:
        value = text if hints[key] is str else tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise ConfigError(
            f"environment variable {variable}: must be {_NAMES[hints[key]]}, not {text!r}"
        ) from None
    value = _typed(f"environment variable {variable}", value, hints[key])
    changed = dataclasses.replace(getattr(settings, section), **{key: value})
    return dataclasses.replace(settings, **{section: changed})


def _check(settings: Settings) -> None:
    """Refuse values that no server can run with."""
    for name in _sections():
        section = getattr(settings, name)
        for entry in dataclasses.fields(section):
            value = getattr(section, entry.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
                raise ConfigError(f"{name}.{entry.name}: must not be negative")
    for name, key, choices in (
        ("model", "provider", ("auto", "cuda", "cpu")),
        ("log", "level", ("debug", "info", "warning", "error")),
        ("log", "format", ("json", "text")),
    ):
        if getattr(getattr(settings, name), key) not in choices:
            raise ConfigError(f"{name}.{key}: must be one of {', '.join(choices)}")
    if bool(settings.server.tls_cert) != bool(settings.server.tls_key):
        raise ConfigError("server.tls_cert and server.tls_key belong together")
    check_queue(settings)
    if settings.server.tls_client_ca and not settings.server.tls_cert:
        raise ConfigError("server.tls_client_ca needs server.tls_cert and server.tls_key")
    parse_address(settings.server.address, setting="server.address")
    if settings.metrics.address:
        parse_address(settings.metrics.address, setting="metrics.address")
    check_console(settings.console)
    for name, key in (
        ("images", "max_mib"), ("images", "max_megapixels"), ("images", "wall_seconds"),
        ("images", "worker_memory_mib"), ("model", "hang_seconds"), ("model", "canary_seconds"),
        ("model", "max_queue_views"), ("server", "max_in_flight_views"),
        ("server", "max_in_flight_mib"), ("server", "max_moderation_calls"),
        ("policies", "watch_seconds"), ("server", "watch_seconds"),
        ("embeddings", "max_mib"), ("embeddings", "flush_seconds"), ("embeddings", "file_views"),
        ("embeddings", "queue_views"),
        ("queue", "database_connections"),
    ):  # fmt: skip
        if getattr(getattr(settings, name), key) == 0:
            raise ConfigError(f"{name}.{key}: must be more than 0")
