"""Builds what answers on the gRPC port: its options, who may call, the services."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from imagesieve_server.addresses import is_loopback, parse_address
from imagesieve_server.background import run_until_closed
from imagesieve_server.config import Settings
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.ports import ReviewQuality
from imagesieve_server.grpc_api.admission import Admission
from imagesieve_server.grpc_api.caller_authenticator import CallersAuthenticator
from imagesieve_server.grpc_api.callers import kept_callers
from imagesieve_server.grpc_api.identity import Authenticator, LoopbackAuthenticator
from imagesieve_server.grpc_api.moderation_service import ModerationService
from imagesieve_server.grpc_api.pace import Pace
from imagesieve_server.grpc_api.policy_service import PolicyService
from imagesieve_server.grpc_api.quality_service import QualityService
from imagesieve_server.grpc_api.review_service import ReviewService
from imagesieve_server.grpc_api.server import (
    ServerOptions,
    Services,
)
from imagesieve_server.grpc_api.tls import TlsFiles
from imagesieve_server.images.limits import MEBI
from imagesieve_server.metrics.recorder import PrometheusMetrics
from imagesieve_server.pipeline import Pipeline
from imagesieve_server.policy_files.reload import PolicyFolder
from imagesieve_server.shared_encoder.service import PacedEncoder


def server_options(settings: Settings, *, shared_port: bool = False) -> ServerOptions:
    """The gRPC port's options; waits of a drain are shared out of one budget. Others may listen
    on a ``shared_port`` as well."""
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
        shared_port=shared_port,
        tls=tls,
        watch_s=server.watch_seconds,
        insecure=server.insecure,
        max_moderation_calls=server.max_moderation_calls,
        drain_wait_s=wait,
        grace_s=server.drain_seconds - wait,
    )


def _is_local(settings: Settings) -> bool:
    return is_loopback(parse_address(settings.server.address, setting="server.address")[0])


def build_authenticator(
    settings: Settings, metrics: PrometheusMetrics, stack: contextlib.AsyncExitStack
) -> Authenticator:
    """Who may call, kept up to date from the callers file."""
    server = settings.server
    client_ca = bool(server.tls_client_ca)
    if not server.callers:
        return LoopbackAuthenticator(allow_remote=server.insecure or client_ca)
    callers = kept_callers(Path(server.callers), client_ca=client_ca, metrics=metrics)
    callers.load()
    run_until_closed(stack, callers.watch(every_s=server.watch_seconds))
    return CallersAuthenticator(callers=callers)


def build_services(
    settings: Settings,
    encoder: PacedEncoder,
    pipeline: Pipeline,
    policies: PolicyFolder,
    review: ReviewService,
    quality: ReviewQuality,
    metrics: PrometheusMetrics,
    draining: asyncio.Event,
) -> Services:
    """The services over what judges and what keeps."""
    server = settings.server
    return Services(
        moderation=ModerationService(
            pipeline=pipeline,
            admission=Admission(
                metrics=metrics,
                pace=Pace(guess=encoder.rows_per_s),
                max_views=server.max_in_flight_views,
                max_bytes=server.max_in_flight_mib * MEBI,
                tell_after_s=0.05,
            ),
            metrics=metrics,
            draining=draining,
            max_image_bytes=settings.images.max_mib * MEBI,
        ),
        review=review,
        policy=PolicyService(policies=policies, reloader=policies),
        quality=QualityService(quality=quality),
    )
