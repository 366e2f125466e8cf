"""The only place that builds the object graph: settings in, a server that can start out.

Order of start: model, policies, queue, decoders, then the ports; a server that listens is
ready. Order of stop is the reverse, so nothing is taken away from a call in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from prometheus_client import CollectorRegistry

from imagesieve_server.addresses import is_loopback
from imagesieve_server.audit_sampling import AuditSampler
from imagesieve_server.background import run_until_closed
from imagesieve_server.config import Settings, parse_address
from imagesieve_server.console_assembly import start_console
from imagesieve_server.core.errors import ConfigError, StoreUnavailable
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_POLICIES
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions, refuse_two_runtimes
from imagesieve_server.grpc_api.admission import Admission
from imagesieve_server.grpc_api.caller_authenticator import CallersAuthenticator
from imagesieve_server.grpc_api.callers import kept_callers
from imagesieve_server.grpc_api.gate import Gate
from imagesieve_server.grpc_api.health import HealthMonitor
from imagesieve_server.grpc_api.identity import Authenticator, LoopbackAuthenticator
from imagesieve_server.grpc_api.moderation_service import ModerationService
from imagesieve_server.grpc_api.pace import Pace
from imagesieve_server.grpc_api.policy_service import PolicyService
from imagesieve_server.grpc_api.review_service import ReviewService
from imagesieve_server.grpc_api.server import (
    GrpcServer,
    ServerOptions,
    Services,
    check_listening,
)
from imagesieve_server.grpc_api.tls import TlsFiles
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.images.limits import MEBI, Limits
from imagesieve_server.metrics.disk import watch_disks
from imagesieve_server.metrics.http import MetricsServer
from imagesieve_server.metrics.recorder import PrometheusMetrics
from imagesieve_server.onlookers import build_onlookers
from imagesieve_server.pipeline import Pipeline
from imagesieve_server.policy_files.reload import PolicyFolder
from imagesieve_server.queue_store import open_queue
from imagesieve_server.recent_answers import RecentAnswers
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.server_secret import Purpose, ServerSecret, load_secret
from imagesieve_server.undecodable_quota import UndecodableQuota
from imagesieve_server.upkeep import keep_of, run_upkeep

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


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Start a server and stop it on leaving. Raises StartupError subclasses."""
    refuse_two_runtimes()
    options = server_options(settings)
    check_listening(options)  # a refused address should not cost a warm-up first
    secret = load_secret(settings.server.secret_file)
    metrics = PrometheusMetrics(
        registry=CollectorRegistry(), version=metadata.version("imagesieve")
    )
    async with contextlib.AsyncExitStack() as stack:
        authenticator = _authenticator(settings, metrics, stack)
        encoder = await _encoder(settings, metrics, stack)
        policies = _policies(settings, encoder, metrics)
        queue = await _queue(settings, metrics, stack)
        audit = _audit(settings, secret, policies, queue, metrics, stack)
        onlookers = await build_onlookers(settings, policies, encoder.spec, metrics, stack)
        decoder = await _decoder(settings, encoder, secret, metrics, stack)
        pipeline = Pipeline(
            decoder=decoder,
            encoder=encoder,
            policies=policies,
            queue=queue,
            metrics=metrics,
            recent=RecentAnswers(),
            undecodable=UndecodableQuota(per_hour=settings.images.undecodable_per_hour),
            audit=audit,
            onlookers=onlookers.all,
        )
        draining = asyncio.Event()
        review = ReviewService(queue=queue, embeddings=onlookers.embeddings, draining=draining)
        server = GrpcServer(
            options=options,
            services=_services(settings, encoder, pipeline, policies, review, metrics, draining),
            gate=Gate(authenticator=authenticator, metrics=metrics),
            health=HealthMonitor(encoder=encoder, policies=policies, queue=queue, metrics=metrics),
            metrics=metrics,
            draining=draining,
        )
        _look_after(settings, policies, queue, metrics, stack)
        metrics_port = _metrics_port(settings, metrics, stack)
        console_port = await start_console(settings, queue, policies, metrics, stack)
        port = await server.start()
        stack.push_async_callback(server.stop)
        yield Running(
            port=port,
            metrics_port=metrics_port,
            console_port=console_port,
            bundle=encoder.spec.name,
            policies=tuple(policy.name for policy in policies.all()),
        )


def server_options(settings: Settings) -> ServerOptions:
    """The gRPC port's options; waits of a drain are shared out of one budget."""
    server = settings.server
    wait = min(5.0, server.drain_seconds / 4)
    tls = None
    if server.tls_cert:
        tls = TlsFiles(
            certificate=Path(server.tls_cert),
            key=Path(server.tls_key),
            client_ca=Path(server.tls_client_ca) if server.tls_client_ca else None,
        )
    if not (server.callers or server.tls_client_ca or server.insecure or _is_local(settings)):
        raise ConfigError(
            f"{server.address} can be reached from other machines, and nothing says who may call: "
            "name a callers file in server.callers, an authority in server.tls_client_ca, or say "
            "server.insecure if something in front asks"
        )
    return ServerOptions(
        address=server.address,
        tls=tls,
        watch_s=server.watch_seconds,
        insecure=server.insecure,
        max_moderation_calls=server.max_moderation_calls,
        drain_wait_s=wait,
        grace_s=server.drain_seconds - wait,
    )


def _is_local(settings: Settings) -> bool:
    return is_loopback(parse_address(settings.server.address, setting="server.address")[0])


async def _encoder(
    settings: Settings, metrics: PrometheusMetrics, stack: contextlib.AsyncExitStack
) -> Batcher:
    model = settings.model
    bundle = await asyncio.to_thread(load_bundle, Path(model.bundle or DEMO_BUNDLE))
    encoder = OnnxImageEncoder(
        bundle=bundle,
        options=RuntimeOptions(
            provider=Provider(model.provider), threads=model.threads, spinning=model.spinning
        ),
    )
    if encoder.note:
        log.warning("provider", extra={"problem": encoder.note})
    batcher = Batcher(
        encoder=encoder,
        metrics=metrics,
        options=BatcherOptions(
            max_waiting_views=model.max_queue_views,
            hang_timeout_s=model.hang_seconds,
            canary_interval_s=model.canary_seconds,
        ),
    )
    stack.push_async_callback(batcher.close)
    await batcher.start()
    metrics.model(batcher.spec)
    return batcher


def _policies(settings: Settings, encoder: Batcher, metrics: PrometheusMetrics) -> PolicyFolder:
    policies = PolicyFolder(
        folder=Path(settings.policies.folder or DEMO_POLICIES),
        default=settings.policies.default,
        spec=encoder.spec,
        metrics=metrics,
    )
    policies.load()
    return policies


async def _queue(
    settings: Settings, metrics: PrometheusMetrics, stack: contextlib.AsyncExitStack
) -> QueueWriter:
    queue = await asyncio.to_thread(open_queue, settings.queue, metrics)
    stack.push_async_callback(queue.close)
    run_until_closed(stack, run_upkeep(queue, keep=keep_of(settings.queue)))
    return queue


def _audit(
    settings: Settings,
    secret: ServerSecret,
    policies: PolicyFolder,
    queue: QueueWriter,
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
) -> AuditSampler:
    auditing = [policy.name for policy in policies.all() if policy.audit]
    if auditing and not settings.server.secret_file:
        log.warning(
            "audit samples change with every start",
            extra={"policies": auditing, "problem": "server.secret_file is not set"},
        )
    sampler = AuditSampler(key=secret.key(Purpose.AUDIT), queue=queue, metrics=metrics)
    stack.push_async_callback(sampler.close)
    run_until_closed(stack, sampler.run())
    return sampler


def _folders(settings: Settings) -> dict[str, Path]:
    """Where a full disk stops the queue, or the keeping of embeddings."""
    queue = settings.queue
    folders = {"evidence": Path(queue.evidence)}
    if not queue.is_postgres:
        folders["database"] = Path(queue.database).parent
    kept = settings.embeddings.folder
    return {**folders, "embeddings": Path(kept)} if kept else folders


async def _decoder(
    settings: Settings,
    encoder: Batcher,
    secret: ServerSecret,
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
) -> DecoderPool:
    images = settings.images
    pool = DecoderPool(
        preprocessing=encoder.spec.preprocessing,
        limits=limits_of(settings),
        workers=images.workers or os.cpu_count() or 1,
        queue_capacity=settings.server.max_in_flight_views,
        frame_key=secret.key(Purpose.FRAMES),
        metrics=metrics,
    )
    stack.push_async_callback(pool.close)
    await pool.start()
    return pool


def limits_of(settings: Settings) -> Limits:
    """What decoding one image may cost."""
    images = settings.images
    return Limits(
        bytes=images.max_mib * MEBI,
        pixels=images.max_megapixels * 1_000_000,
        wall_s=images.wall_seconds,
        cpu_s=images.wall_seconds * 2 / 3,
        memory_bytes=images.worker_memory_mib * MEBI,
    )


def _authenticator(
    settings: Settings, metrics: PrometheusMetrics, stack: contextlib.AsyncExitStack
) -> Authenticator:
    server = settings.server
    client_ca = bool(server.tls_client_ca)
    if not server.callers:
        return LoopbackAuthenticator(allow_remote=server.insecure or client_ca)
    callers = kept_callers(Path(server.callers), client_ca=client_ca, metrics=metrics)
    callers.load()
    run_until_closed(stack, callers.watch(every_s=server.watch_seconds))
    return CallersAuthenticator(callers=callers)


def _services(
    settings: Settings,
    encoder: Batcher,
    pipeline: Pipeline,
    policies: PolicyFolder,
    review: ReviewService,
    metrics: PrometheusMetrics,
    draining: asyncio.Event,
) -> Services:
    server = settings.server
    return Services(
        moderation=ModerationService(
            pipeline=pipeline,
            admission=Admission(
                metrics=metrics,
                pace=Pace(guess=encoder.rows_per_s),
                max_views=server.max_in_flight_views,
                max_bytes=server.max_in_flight_mib * MEBI,
            ),
            metrics=metrics,
            draining=draining,
            max_image_bytes=settings.images.max_mib * MEBI,
        ),
        review=review,
        policy=PolicyService(policies=policies, reloader=policies),
    )


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
) -> None:
    run_until_closed(stack, policies.watch(every_s=settings.policies.watch_seconds))
    run_until_closed(stack, _sweep_leases(queue))
    run_until_closed(stack, watch_disks(_folders(settings), metrics=metrics))


async def _sweep_leases(queue: QueueWriter) -> None:
    while True:
        await asyncio.sleep(LEASE_SWEEP_S)
        try:
            await queue.expire_leases()
        except StoreUnavailable as error:
            log.warning("leases not swept", extra={"problem": error.message})
