"""The gRPC server itself: where it listens, how it starts and how it ends.

It knows transport and order of start and stop. What the services do is theirs; who builds
them is ``assembly``.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from imagesieve.v1 import (
    moderation_pb2,
    moderation_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    quality_pb2,
    quality_pb2_grpc,
    review_pb2,
    review_pb2_grpc,
)
from imagesieve_server.addresses import is_loopback
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.grpc_api.admission import AdmissionMetrics
from imagesieve_server.grpc_api.call_limit import CallLimit
from imagesieve_server.grpc_api.gate import Gate
from imagesieve_server.grpc_api.health import MODERATION, HealthMonitor
from imagesieve_server.grpc_api.in_flight import CallsInFlight
from imagesieve_server.grpc_api.interceptors import Layered, MapErrors, ObserveCalls, RpcMetrics
from imagesieve_server.grpc_api.moderation_service import ModerationService
from imagesieve_server.grpc_api.policy_service import PolicyService
from imagesieve_server.grpc_api.quality_service import QualityService
from imagesieve_server.grpc_api.review_service import ReviewService
from imagesieve_server.grpc_api.tls import TlsFiles, TlsMetrics, check_tls, credentials, kept_tls
from imagesieve_server.grpc_api.turning_away import TurningAway

log = logging.getLogger(__name__)

SETTLED_S = 0.1
"""Without a call for this long a closed port has nothing left to answer."""

MAX_PENDING_CALLS = 1 << 16
"""Calls that wait to be accepted; of each only the first 64 KiB or so are in memory."""

SERVICE_NAMES = (
    moderation_pb2.DESCRIPTOR.services_by_name["ModerationService"].full_name,
    review_pb2.DESCRIPTOR.services_by_name["ReviewService"].full_name,
    policy_pb2.DESCRIPTOR.services_by_name["PolicyService"].full_name,
    quality_pb2.DESCRIPTOR.services_by_name["QualityService"].full_name,
    "grpc.health.v1.Health",
    reflection.SERVICE_NAME,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How the server listens."""

    address: str = "127.0.0.1:50051"  # host:port, [v6]:port or unix:path; port 0: a free one
    shared_port: bool = False  # other processes of this server listen on the port as well
    tls: TlsFiles | None = None
    watch_s: float = 2.0  # between looks at the files of ``tls``
    insecure: bool = False  # listen beyond loopback without TLS
    max_receive_bytes: int = 48 * 2**20  # beyond it gRPC itself answers, without details
    max_send_bytes: int = 48 * 2**20
    max_concurrent_streams: int = 64  # per connection; whole messages are held in memory
    max_moderation_calls: int = 512  # unary, and as many streams; more are refused unread
    max_concurrent_rpcs: int = 8192  # over all connections; beyond it a bare RESOURCE_EXHAUSTED
    # Certificates of callers are looked at when they connect, so they connect again.
    client_certificate_age_s: float = 3600.0
    drain_wait_s: float = 2.0  # from NOT_SERVING to the closed port: balancers look away
    grace_s: float = 20.0  # for calls in hand once the port is closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the server serves."""

    moderation: ModerationService
    review: ReviewService
    policy: PolicyService
    quality: QualityService


class ServerMetrics(RpcMetrics, AdmissionMetrics, TlsMetrics, Protocol):
    """What a server reports."""


class GrpcServer:
    """One listening server. ``start`` once, ``stop`` once."""

    def __init__(
        self,
        *,
        options: ServerOptions,
        services: Services,
        gate: Gate,
        health: HealthMonitor,
        metrics: ServerMetrics,
        draining: asyncio.Event,
    ) -> None:
        """``draining`` is the event that ``services.moderation`` was given; ``stop`` sets it."""
        self._options = options
        self._services = services
        self._gate = gate
        self._health = health
        self._metrics = metrics
        self._draining = draining
        self._in_flight = CallsInFlight()
        self._server: grpc.aio.Server | None = None
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen, warm the health statuses, and return the port (0 for a unix socket).

        Raises ConfigError where the address is refused or taken, or a TLS file is bad.
        """
        check_listening(self._options)
        server = self._build()
        await self._health.prepare()
        try:
            port = self._add_port(server)
        except RuntimeError:
            raise ConfigError(f"cannot listen on {self._options.address}") from None
        await server.start()
        self._server = server
        await self._health.start()
        log.info("listening", extra={"address": self._options.address, "port": port})
        return 0 if self._options.address.startswith("unix:") else port

    async def stop(self) -> None:
        """Drain: NOT_SERVING, a short wait, no more calls, the ones in hand finish."""
        if self._server is None:
            return
        server, self._server = self._server, None
        if self._watching:
            self._watching.cancel()
        await self._health.drain()
        await asyncio.sleep(self._options.drain_wait_s)
        self._draining.set()
        closing = asyncio.create_task(server.stop(self._options.grace_s))
        finished = asyncio.create_task(self._in_flight.wait_idle(settled_s=SETTLED_S))
        await asyncio.wait({closing, finished}, return_when=asyncio.FIRST_COMPLETED)
        finished.cancel()
        await server.stop(None)  # health watches and reflection never end by themselves
        await closing
        log.info("stopped")

    def _add_port(self, server: grpc.aio.Server) -> int:
        files = self._options.tls
        if files is None:
            return server.add_insecure_port(self._options.address)
        tls = kept_tls(files, metrics=self._metrics)
        tls.load()
        listening = credentials(tls, client_ca=files.client_ca is not None)
        port = server.add_secure_port(self._options.address, listening)
        self._watching = asyncio.create_task(tls.watch(every_s=self._options.watch_s))
        return port

    def _build(self) -> grpc.aio.Server:
        options = self._options
        server = grpc.aio.server(
            interceptors=[
                Layered(
                    ObserveCalls(metrics=self._metrics, in_flight=self._in_flight).around,
                    MapErrors().around,
                    self._gate.around,
                    CallLimit(
                        service=MODERATION,
                        max_calls=options.max_moderation_calls,
                        metrics=self._metrics,
                    ).around,
                    guard=TurningAway(
                        service=MODERATION,
                        check=self._services.moderation.check_unread,
                        metrics=self._metrics,
                    ),
                )
            ],
            options=[
                *_connection_age(options),
                ("grpc.max_receive_message_length", options.max_receive_bytes),
                ("grpc.max_send_message_length", options.max_send_bytes),
                ("grpc.max_concurrent_streams", options.max_concurrent_streams),
                # On, it also refuses the call that takes the place of one just answered:
                # callers who keep to the limit would see bare UNAVAILABLE by the dozen.
                ("grpc.http.overload_protection", 0),
                # Beyond 1000 calls that wait to be accepted gRPC drops some at random, and their
                # callers see a bare CANCELLED. Ours wait, and are refused with a reason.
                ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
                ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
                # A taken port is an error, not half of the calls, but for front ends of one server.
                ("grpc.so_reuseport", int(options.shared_port)),
            ],
            maximum_concurrent_rpcs=options.max_concurrent_rpcs,
        )
        services = self._services
        moderation_pb2_grpc.add_ModerationServiceServicer_to_server(services.moderation, server)
        review_pb2_grpc.add_ReviewServiceServicer_to_server(services.review, server)
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(services.policy, server)
        quality_pb2_grpc.add_QualityServiceServicer_to_server(services.quality, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, server)
        reflection.enable_server_reflection(SERVICE_NAMES, server)
        return server


def _connection_age(options: ServerOptions) -> list[tuple[str, int]]:
    if options.tls is None or options.tls.client_ca is None:
        return []
    age = round(options.client_certificate_age_s * 1000)
    # A stream is cut after a twelfth more; its caller goes on over a new connection.
    return [("grpc.max_connection_age_ms", age), ("grpc.max_connection_age_grace_ms", age // 12)]


def check_listening(options: ServerOptions) -> None:
    """Raises ConfigError where the port could not listen: without TLS only loopback may be."""
    host = _host(options.address)
    if options.tls:
        check_tls(options.tls)
        return
    if not options.insecure and host is not None and not is_loopback(host):
        raise ConfigError(
            f"{options.address} can be reached from other machines: give a certificate and a key, "
            "listen on 127.0.0.1, or say insecure if something in front encrypts"
        )


def _host(address: str) -> str | None:
    """The host of an address, None for a unix socket. Raises ConfigError."""
    if address.startswith("unix:"):
        return None
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"address {address!r} is not host:port")
    return host.strip("[]")
