"""The only place that builds the object graph: settings in, a server that can start out.

Order of start: model, policies, queue, decoders, then the ports; a server that listens is
ready. Order of stop is the reverse, so nothing is taken away from a call in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from prometheus_client import CollectorRegistry

from imagesieve_server.addresses import parse_address
from imagesieve_server.assembly.console import ReviewReads, start_console
from imagesieve_server.assembly.grpc_port import build_authenticator, build_services, server_options
from imagesieve_server.assembly.judging import (
    build_audit,
    build_content_cache,
    build_decoder,
    build_policies,
)
from imagesieve_server.assembly.shared_encoder import BehindEncoder, the_encoder
from imagesieve_server.assembly.webhooks import start_webhooks
from imagesieve_server.background import run_until_closed
from imagesieve_server.config import Settings
from imagesieve_server.content_cache import ContentCache
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.ports import EmbeddingStore, Encoder, Onlooker
from imagesieve_server.encoders.runtime import refuse_two_runtimes
from imagesieve_server.flood_watch import FloodWatch, SpikeLimits
from imagesieve_server.garbage import collected_less
from imagesieve_server.grpc_api.gate import Gate
from imagesieve_server.grpc_api.health import HealthMonitor
from imagesieve_server.grpc_api.review_service import ReviewService
from imagesieve_server.grpc_api.server import GrpcServer, ServerOptions, check_listening
from imagesieve_server.metrics.disk import watch_disks
from imagesieve_server.metrics.http import MetricsServer
from imagesieve_server.metrics.recorder import PrometheusMetrics
from imagesieve_server.onlookers import build_onlookers
from imagesieve_server.pipeline import Pipeline
from imagesieve_server.policy_files.reload import PolicyFolder
from imagesieve_server.queue_store import hear_decisions, learn_requests, open_queue
from imagesieve_server.recent_answers import RecentAnswers
from imagesieve_server.review_queue.figures import QueueFigures
from imagesieve_server.review_queue.group_desk import QueueGroups
from imagesieve_server.review_queue.quality import QueueQuality
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.server_secret import ServerSecret, load_secret
from imagesieve_server.undecodable_quota import UndecodableQuota
from imagesieve_server.upkeep import keep_of, resume_closes, run_upkeep

log = logging.getLogger(__name__)

LEASE_SWEEP_S = 15.0
"""Time between looks for leases that are over, so that figures are true while nobody claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers."""

    port: int  # of gRPC
    metrics_port: int | None  # of /metrics; None where it is turned off
    console_port: int | None  # of the reviewers' pages; None where they are turned off
    bundle: str  # the model's name
    policies: tuple[str, ...]
    registry: CollectorRegistry  # of this process's series


@contextlib.asynccontextmanager
async def running(
    settings: Settings, *, where: BehindEncoder | None = None
) -> AsyncIterator[Running]:
    """A server, or a front end of one, until it is left. Raises StartupError subclasses."""
    options = _checked_options(settings, shared_port=where is not None)
    secret = load_secret(settings.server.secret_file)
    version = metadata.version("imagesieve")
    metrics = PrometheusMetrics(registry=CollectorRegistry(), version=version)
    async with contextlib.AsyncExitStack() as stack:
        authenticator = build_authenticator(settings, metrics, stack)
        content = build_content_cache(settings, metrics)
        encoder = await the_encoder(settings, where, metrics, stack, on_down=content.clear)
        policies = build_policies(settings, encoder, metrics)
        leading = where is None or where.leading
        queue = await _queue(settings, metrics, stack, leading=leading)
        onlookers = await build_onlookers(settings, policies, encoder.spec, metrics, stack)
        pipeline = await _pipeline(
            settings, secret, encoder, policies, queue, content, onlookers.all, metrics, stack
        )
        draining = asyncio.Event()
        groups = _groups(queue, stack)
        review = _review(queue, groups, onlookers.embeddings, content, draining)
        quality = QueueQuality(calls=queue.calls)
        server = GrpcServer(
            options=options,
            services=build_services(
                settings, encoder, pipeline, policies, review, quality, metrics, draining
            ),
            gate=Gate(authenticator=authenticator, metrics=metrics),
            health=HealthMonitor(encoder=encoder, policies=policies, queue=queue, metrics=metrics),
            metrics=metrics,
            draining=draining,
        )
        _look_after(settings, policies, queue, metrics, stack, leading=leading)
        metrics_port = _metrics_port(settings, metrics, stack)
        await start_webhooks(settings, queue, metrics, stack)
        pages = _pages(queue, groups, quality)
        console_port = await start_console(settings, pages, policies, metrics, stack)
        # Before the first caller, who would wait for it: it takes as long as an image.
        stack.enter_context(collected_less())
        port = await server.start()
        stack.push_async_callback(server.stop)
        yield Running(
            port=port,
            metrics_port=metrics_port,
            console_port=console_port,
            bundle=encoder.spec.name,
            policies=tuple(policy.name for policy in policies.all()),
            registry=metrics.registry,
        )


def _checked_options(settings: Settings, *, shared_port: bool) -> ServerOptions:
    """What can be refused before anything is warmed up. Raises StartupError subclasses."""
    refuse_two_runtimes()
    options = server_options(settings, shared_port=shared_port)
    check_listening(options)
    return options


def _pages(queue: QueueWriter, groups: QueueGroups, quality: QueueQuality) -> ReviewReads:
    figures = QueueFigures(calls=queue.calls)
    return ReviewReads(queue=queue, groups=groups, figures=figures, quality=quality)


def _groups(queue: QueueWriter, stack: contextlib.AsyncExitStack) -> QueueGroups:
    groups = QueueGroups(calls=queue.calls)
    run_until_closed(stack, resume_closes(groups))
    return groups


def _review(
    queue: QueueWriter,
    groups: QueueGroups,
    embeddings: EmbeddingStore | None,
    content: ContentCache,
    draining: asyncio.Event,
) -> ReviewService:
    return ReviewService(
        queue=queue, groups=groups, embeddings=embeddings, content=content, draining=draining
    )


async def _pipeline(
    settings: Settings,
    secret: ServerSecret,
    encoder: Encoder,
    policies: PolicyFolder,
    queue: QueueWriter,
    content: ContentCache,
    onlookers: Sequence[Onlooker],
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
) -> Pipeline:
    return Pipeline(
        audit=build_audit(settings, secret, policies, queue, metrics, stack),
        decoder=await build_decoder(settings, encoder, secret, metrics, stack),
        encoder=encoder,
        policies=policies,
        queue=queue,
        metrics=metrics,
        recent=RecentAnswers(),
        content=content,
        undecodable=UndecodableQuota(per_hour=settings.images.undecodable_per_hour),
        onlookers=onlookers,
        floods=_floods(settings, metrics, stack),
    )


def _floods(
    settings: Settings, metrics: PrometheusMetrics, stack: contextlib.AsyncExitStack
) -> FloodWatch:
    flood = settings.flood
    limits = SpikeLimits(
        window_s=flood.window_seconds,
        group=flood.group_flags,
        uploader=flood.uploader_flags,
        tenant=flood.tenant_flags,
    )
    watch = FloodWatch(limits=limits, metrics=metrics)
    run_until_closed(stack, watch.run())
    return watch


async def _queue(
    settings: Settings,
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
    *,
    leading: bool,
) -> QueueWriter:
    queue = await asyncio.to_thread(open_queue, settings.queue, metrics)
    stack.push_async_callback(queue.close)
    run_until_closed(stack, hear_decisions(settings.queue, queue.wake))
    run_until_closed(stack, learn_requests(settings.queue, queue))
    if leading:
        run_until_closed(stack, run_upkeep(queue, keep=keep_of(settings.queue)))
    return queue


def _folders(settings: Settings) -> dict[str, Path]:
    """Where a full disk stops the queue, or the keeping of embeddings. A bucket is no disk."""
    queue = settings.queue
    folders = {} if queue.evidence_is_bucket else {"evidence": Path(queue.evidence)}
    if not queue.is_postgres:
        folders["database"] = Path(queue.database).parent
    kept = settings.embeddings.folder
    return {**folders, "embeddings": Path(kept)} if kept else folders


def _metrics_port(
    settings: Settings, metrics: PrometheusMetrics, stack: contextlib.AsyncExitStack
) -> int | None:
    if not settings.metrics.address:
        return None
    host, port = parse_address(settings.metrics.address, setting="metrics.address")
    server = MetricsServer(registry=metrics.registry, host=host, port=port)
    stack.callback(server.stop)
    return server.port


def _look_after(
    settings: Settings,
    policies: PolicyFolder,
    queue: QueueWriter,
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
    *,
    leading: bool,
) -> None:
    run_until_closed(stack, policies.watch(every_s=settings.policies.watch_seconds))
    if leading:
        run_until_closed(stack, _sweep_leases(queue))
        run_until_closed(stack, watch_disks(_folders(settings), metrics=metrics))


async def _sweep_leases(queue: QueueWriter) -> None:
    while True:
        await asyncio.sleep(LEASE_SWEEP_S)
        try:
            await queue.expire_leases()
        except StoreUnavailable as error:
            log.warning("leases not swept", extra={"problem": error.message})
