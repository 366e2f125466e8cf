"""Settings of what judges images: ports, model, policies, decoder, kept embeddings, log."""

from __future__ import annotations

from dataclasses import dataclass

from imagesieve_server.config.setting import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The gRPC port."""

    address: str = setting("127.0.0.1:50051", "host:port of the gRPC server; port 0 picks one")
    insecure: bool = setting(
        False, "allow a non-loopback address without TLS (behind a mesh that encrypts)"
    )
    tls_cert: str = setting("", "PEM certificate chain; with tls_key it turns TLS on")
    tls_key: str = setting("", "PEM private key")
    tls_client_ca: str = setting(
        "", "PEM authorities; callers must then show a certificate that one of them signed"
    )
    callers: str = setting(
        "", "TOML file of who may call; empty: everybody on this machine, as one tenant"
    )
    watch_seconds: float = setting(
        2.0, "time between looks at certificates and callers, which are in force once changed"
    )
    secret_file: str = setting(
        "",
        "file of a secret, 32 bytes or more, the same on all servers; empty makes one per start",
    )
    max_in_flight_views: int = setting(1024, "views admitted at once; more are shed")
    max_in_flight_mib: int = setting(512, "bytes of admitted images, MiB; more are shed")
    max_moderation_calls: int = setting(
        512, "unary calls at work at once, and as many streams; more are shed unread"
    )
    drain_seconds: float = setting(20.0, "time given to calls in flight when stopping")
    front_ends: int = setting(
        1,
        "processes that answer calls; more than 1 needs PostgreSQL, and the encoder then has a "
        "process of its own",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """The Prometheus port."""

    address: str = setting("127.0.0.1:9464", "host:port of /metrics; empty turns it off")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The encoder."""

    bundle: str = setting("", "folder of the model bundle; empty is the demo model")
    provider: str = setting(
        "auto",
        "auto, cuda, cpu or openvino; cuda fails to start without a GPU, openvino without the "
        "extra of that name and a processor that computes bfloat16",
    )
    threads: int = setting(
        0,
        "threads of one encoder run; 0 is 1 on a CPU, or all cores where a picture alone takes one "
        "thread longer than half a second",
    )
    spinning: bool = setting(False, "let encoder threads spin; only with cores to spare")
    sessions: int = setting(
        0,
        "batches at work at once; 0 is 2 on a GPU, as many as there are cores for on a CPU; with "
        "other than 1 thread each holds the model in memory",
    )
    max_batch: int = setting(
        0,
        "largest batch, in views, filled as far as views wait; 0 is 128 on a GPU, on a CPU 8 or, "
        "with all cores for one, 16, and smaller where a larger one gains nothing by what is "
        "measured at start",
    )
    cuda_graphs: bool = setting(
        True, "on a GPU, record the work of each batch size once and replay it"
    )
    max_queue_views: int = setting(1024, "views waiting for the encoder; more are shed")
    hang_seconds: float = setting(60.0, "an encoder run longer than this counts as failed")
    canary_seconds: float = setting(600.0, "time between canary checks")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """The policies."""

    folder: str = setting("", "folder of compiled *.policy.npz files; empty is the demo policy")
    default: str = setting("", "policy of requests that name none; needed with several")
    watch_seconds: float = setting(2.0, "time between looks at the folder")
    shadow_folder: str = setting(
        "",
        "folder of compiled policies, each scored and counted beside the one of its name, never "
        "acted on; empty is none",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """The decoder."""

    workers: int = setting(
        0, "decode worker processes beside the one for short images; 0: one per usable core"
    )
    max_mib: int = setting(20, "largest image accepted, MiB")
    max_megapixels: int = setting(64, "largest picture decoded, million pixels")
    wall_seconds: float = setting(
        8.0,
        "time one image may take in a worker, two thirds of it on the processor (by the clock "
        "thrice as much for large ones, which give way to others); "
        "less than callers wait, or they never learn that it was too long",
    )
    undecodable_per_hour: int = setting(
        100, "undecodable images of one tenant queued for review in an hour; more are refused"
    )
    cache_mib: int = setting(
        64,
        "memory for what was seen of pictures, so that equal bytes are not looked at again; "
        "MiB, 0 looks at everything",
    )
    cache_minutes: float = setting(60.0, "longest time that what was seen is kept in memory")
    worker_memory_mib: int = setting(1536, "address space of a worker, MiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSettings:
    """Embeddings kept for judging again; they are personal data."""

    folder: str = setting(
        "", "folder of kept embeddings; empty keeps none; needs the extra embeddings"
    )
    keep_days: float = setting(30.0, "whole days that embeddings are kept; 0 keeps them")
    max_mib: int = setting(20480, "room for all embeddings, MiB; what comes then is not kept")
    flush_seconds: float = setting(
        300.0, "longest time in memory before the writing; a killed server loses that much"
    )
    file_views: int = setting(
        8192, "views of one file, all in memory before the writing; about 1 KB each"
    )
    queue_views: int = setting(
        16384, "views that wait for the writing thread; more are dropped and counted"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The log, one JSON object a line on standard error."""

    level: str = setting("info", "debug, info, warning or error")
    format: str = setting("json", "json or text")
