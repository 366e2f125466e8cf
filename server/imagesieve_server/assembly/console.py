"""Starts the reviewers' console beside the gRPC port, where the settings ask for it.

What needs the console's libraries is imported late, so that a server without the console
loads nothing of it.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagesieve_server.addresses import parse_address
from imagesieve_server.background import run_until_closed
from imagesieve_server.config import ConsoleSettings, Settings
from imagesieve_server.core.ports import (
    PolicySource,
    ReviewFigures,
    ReviewGroups,
    ReviewQuality,
    ReviewQueue,
)
from imagesieve_server.core.views import Preprocessing
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.images.limits import MEBI, Limits
from imagesieve_server.kept_files import Kept
from imagesieve_server.metrics.recorder import PrometheusMetrics
from imagesieve_server.queue_store import PAGES_CONNECTIONS, pages_engine
from imagesieve_server.usable_cores import usable_cores

if TYPE_CHECKING:
    from imagesieve_server.certificate_files import Checked
    from imagesieve_server.console.build import ConsoleOptions
    from imagesieve_server.console.database import ConsoleDatabase
    from imagesieve_server.console.web_server import WebOptions

PREVIEW_PX = 1280
DAY_S = 86400.0
_WAITING = 64  # previews; beyond it a page says so and is loaded again


@dataclass(frozen=True, slots=True)
class PreviewMetrics:
    """Deaths of the previews' worker count as any other; how busy it is, is not the uploads'."""

    metrics: PrometheusMetrics

    def decode_workers(self, *, busy: int, alive: int) -> None:
        """Not counted: the series says how many images can be decoded at once."""

    def decode_worker_died(self, reason: str) -> None:
        self.metrics.decode_worker_died(reason)

    def image_quarantined(self) -> None:
        self.metrics.image_quarantined()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewReads:
    """The review queue as the pages use it."""

    queue: ReviewQueue
    groups: ReviewGroups
    figures: ReviewFigures
    quality: ReviewQuality


async def start_console(
    settings: Settings,
    review: ReviewReads,
    policies: PolicySource,
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
) -> int | None:
    """Start it, to be stopped with ``stack``, and return the port; None where it is turned off.

    Raises StartupError.
    """
    if not settings.console.address:
        return None
    from imagesieve_server.console.accounts import kept_accounts
    from imagesieve_server.console.build import build_console
    from imagesieve_server.console.forgetting import forget_record
    from imagesieve_server.console.passwords import Passwords
    from imagesieve_server.console.web_server import WebServer

    console = settings.console
    accounts = kept_accounts(Path(console.accounts), metrics=metrics)
    accounts.load()
    run_until_closed(stack, accounts.watch(every_s=settings.server.watch_seconds))
    certificate = _certificate(settings, metrics, stack)
    web = WebServer(options=web_options(console), certificate=certificate)
    port = web.bind()
    stack.push_async_callback(web.stop)
    database = console_database(settings)
    stack.push_async_callback(database.close)
    if console.keep_record_days:
        keep_s = console.keep_record_days * DAY_S
        run_until_closed(stack, forget_record(database, keep_s=keep_s, clock=time.time))
    app = build_console(
        options=console_options(console, port=port),
        accounts=lambda: accounts.value,
        queue=review.queue,
        groups=review.groups,
        figures=review.figures,
        quality=review.quality,
        policies=policies,
        previews=await _previews(settings, metrics, stack),
        database=database,
        passwords=Passwords(),
        metrics=metrics,
    )
    await web.start(app)
    stack.push_async_callback(web.stop)  # before what it needs goes
    return port


def console_database(settings: Settings) -> ConsoleDatabase:
    """A file beside SQLite; with PostgreSQL the queue's database, so that a session is at home at
    every server. Raises StartupError."""
    from imagesieve_server.console.database import ConsoleDatabase, open_database

    if settings.queue.is_postgres:
        return ConsoleDatabase(engine=pages_engine(settings.queue), threads=PAGES_CONNECTIONS)
    return open_database(Path(settings.console.database))


def _certificate(
    settings: Settings, metrics: PrometheusMetrics, stack: contextlib.AsyncExitStack
) -> Kept[Checked] | None:
    """The pages' certificate, looked at again as the gRPC port's is. Raises ConfigError."""
    from imagesieve_server.console.certificate import kept_certificate

    console = settings.console
    if not console.tls_cert:
        return None
    kept = kept_certificate(Path(console.tls_cert), Path(console.tls_key), metrics=metrics)
    kept.load()
    run_until_closed(stack, kept.watch(every_s=settings.server.watch_seconds))
    return kept


def web_options(console: ConsoleSettings) -> WebOptions:
    """Where the console listens. Raises ConfigError."""
    from imagesieve_server.console.web_server import WebOptions

    host, port = parse_address(console.address, setting="console.address")
    return WebOptions(
        host=host,
        port=port,
        insecure=console.insecure,
    )


def console_options(console: ConsoleSettings, *, port: int) -> ConsoleOptions:
    """What the site must know; ``port`` is the one it listens on."""
    from imagesieve_server.console.build import ConsoleOptions
    from imagesieve_server.console.exposure import Limits
    from imagesieve_server.console.signing_in import proxy_of

    scheme = "https" if console.tls_cert else "http"
    host = parse_address(console.address, setting="console.address")[0]
    names = {host, "localhost", "127.0.0.1"}
    origins = {f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}" for name in names}
    if console.origin:
        origins = {console.origin.rstrip("/").lower()}
    return ConsoleOptions(
        origins=frozenset(origins),
        secure=all(origin.startswith("https:") for origin in origins),
        proxy=proxy_of(header=console.proxy_header, addresses=console.proxy_addresses),
        always_veil=console.always_veil,
        limits=Limits(severe=console.severe_per_day, urgent=console.urgent_per_day),
        break_after_s=console.break_after_minutes * 60,
        idle_s=console.session_idle_minutes * 60,
        absolute_s=console.session_hours * 3600,
    )


async def _previews(
    settings: Settings, metrics: PrometheusMetrics, stack: contextlib.AsyncExitStack
) -> DecoderPool:
    """A pool of its own: uploads never wait for reviewers, nor reviewers for uploads."""
    images = settings.images
    pool = DecoderPool(
        preprocessing=Preprocessing(size=1),  # of views, which are not asked for here
        limits=Limits(
            bytes=images.max_mib * MEBI,
            pixels=images.max_megapixels * 1_000_000,
            wall_s=images.wall_seconds,
            cpu_s=images.wall_seconds * 2 / 3,
            memory_bytes=images.worker_memory_mib * MEBI,
        ),
        workers=min(2, usable_cores()),
        queue_capacity=_WAITING,
        max_views=1,
        preview_side=PREVIEW_PX,
        metrics=PreviewMetrics(metrics),
    )
    stack.push_async_callback(pool.close)
    await pool.start()
    await pool.settled()
    return pool
