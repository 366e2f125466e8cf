"""Builds what judges an image: encoder, policies, decoders, audit samples."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from imagesieve_server.audit_sampling import AuditSampler
from imagesieve_server.background import run_until_closed
from imagesieve_server.config import Settings
from imagesieve_server.content_cache import ContentCache
from imagesieve_server.core.ports import Encoder
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_POLICIES
from imagesieve_server.encoders.batcher import Batcher, BatcherOptions
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.opening import ServingOptions, open_encoders
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.images.limits import MEBI, Limits
from imagesieve_server.metrics.recorder import PrometheusMetrics
from imagesieve_server.policy_files.reload import PolicyFolder
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.server_secret import Purpose, ServerSecret
from imagesieve_server.usable_cores import usable_cores

log = logging.getLogger(__name__)


async def build_encoder(
    settings: Settings,
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
    *,
    on_down: Callable[[], None],
) -> Batcher:
    """A warm encoder behind its batcher. Raises StartupError."""
    model = settings.model
    bundle = await asyncio.to_thread(load_bundle, Path(model.bundle or DEMO_BUNDLE))
    serving = await asyncio.to_thread(open_encoders, bundle, serving_options(settings))
    if serving.note:
        log.warning("provider", extra={"problem": serving.note})
    batcher = Batcher(
        encoder=serving.encoders[0],
        beside=serving.encoders[1:],
        metrics=metrics,
        options=BatcherOptions(
            max_waiting_views=model.max_queue_views,
            hang_timeout_s=model.hang_seconds,
            canary_interval_s=model.canary_seconds,
            one_device=serving.one_device,
            always_fill=model.max_batch > 0,
            tell_after_s=0.05,
        ),
        on_down=on_down,
    )
    stack.push_async_callback(batcher.close)
    await batcher.start()
    log.info("encoder warm", extra={"batch_that_pays": batcher.batch_that_pays})
    metrics.model(batcher.spec)
    return batcher


def serving_options(settings: Settings) -> ServingOptions:
    """How the settings say to open the image encoder."""
    model = settings.model
    return ServingOptions(
        runtime=RuntimeOptions(
            provider=Provider(model.provider),
            threads=model.threads,
            spinning=model.spinning,
            cuda_graphs=model.cuda_graphs,
        ),
        sessions=model.sessions,
        max_batch=model.max_batch,
    )


def build_content_cache(settings: Settings, metrics: PrometheusMetrics) -> ContentCache:
    """What remembers what was seen of pictures."""
    return ContentCache(
        max_bytes=settings.images.cache_mib * MEBI,
        max_age_s=settings.images.cache_minutes * 60,
        metrics=metrics,
    )


def build_policies(
    settings: Settings, encoder: Encoder, metrics: PrometheusMetrics
) -> PolicyFolder:
    """The policies in force, loaded. Raises StartupError."""
    policies = PolicyFolder(
        folder=Path(settings.policies.folder or DEMO_POLICIES),
        default=settings.policies.default,
        spec=encoder.spec,
        metrics=metrics,
    )
    policies.load()
    return policies


def build_audit(
    settings: Settings,
    secret: ServerSecret,
    policies: PolicyFolder,
    queue: QueueWriter,
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
) -> AuditSampler:
    """What keeps samples of ALLOWs, running until ``stack`` ends."""
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


async def build_decoder(
    settings: Settings,
    encoder: Encoder,
    secret: ServerSecret,
    metrics: PrometheusMetrics,
    stack: contextlib.AsyncExitStack,
) -> DecoderPool:
    """The decode workers, started."""
    images = settings.images
    pool = DecoderPool(
        preprocessing=encoder.spec.preprocessing,
        limits=limits_of(settings),
        workers=images.workers or usable_cores(),
        one_for_short=True,
        queue_capacity=settings.server.max_in_flight_views,
        frame_key=secret.key(Purpose.FRAMES),
        metrics=metrics,
    )
    stack.push_async_callback(pool.close)
    await pool.start()
    await pool.settled()
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
