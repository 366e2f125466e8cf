"""How a channel behaves: retries, limits, keepalive, proxies. Numbers and why, no channel.

Retries are gRPC's own, by service config, so the blocking and the asyncio client retry alike
and the call's timeout spans all attempts. Only UNAVAILABLE is retried, and every method is
safe to repeat: Moderate by request_id, Claim by claim_id, Decide by token, the rest by nature.
A server steers this with ``grpc-retry-pushback-ms``; −1 ends the attempts at once.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any

MIB = 1024 * 1024
MAX_IMAGE_BYTES = 20 * MIB
"""The server's default cap on one image."""
MESSAGE_BYTES = 48 * MIB
"""The largest message either side takes; above every cap, so that the named error answers."""
ENVELOPE_BYTES = MIB
"""Room for everything in a request that is not the image."""

MAX_ATTEMPTS = 5  # gRPC's own upper limit
INITIAL_BACKOFF_S = 0.2
MAX_BACKOFF_S = 2.0
BACKOFF_MULTIPLIER = 2


def service_config() -> str:
    """The channel's service config as JSON."""
    config: dict[str, Any] = {
        # Replicas are equal, so calls are spread over every address of the target and a retry
        # reaches another replica. With one address this is the same as having no balancer.
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],  # every method
                "retryPolicy": {
                    "maxAttempts": MAX_ATTEMPTS,
                    "initialBackoff": f"{INITIAL_BACKOFF_S}s",
                    "maxBackoff": f"{MAX_BACKOFF_S}s",
                    "backoffMultiplier": BACKOFF_MULTIPLIER,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        # After about fifty failures without successes between them, first attempts only: many
        # clients that all retry keep a struggling server down.
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.5},
    }
    return json.dumps(config)


def channel_options(target: str, *, max_image_bytes: int) -> list[tuple[str, str | int]]:
    """Options for a channel to ``target`` that can carry images of ``max_image_bytes``."""
    options: list[tuple[str, str | int]] = [
        ("grpc.enable_retries", 1),
        ("grpc.service_config", service_config()),
        # gRPC keeps 256 KiB of a request for its retries by default, and a larger request is
        # silently never retried. This is a limit, not an allocation.
        ("grpc.per_rpc_retry_buffer_size", max(MESSAGE_BYTES, max_image_bytes + ENVELOPE_BYTES)),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),  # originals come back for review
        # Pings find a dead peer while a call is open. Idle channels send none: servers count
        # those as abuse.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 0),
        # gRPC would otherwise wait up to two minutes before it looks for a restarted server.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.primary_user_agent", "imagesieve-client"),
    ]
    if is_loopback(target):
        # With http_proxy set, gRPC sends even 127.0.0.1 to the proxy.
        options.append(("grpc.enable_http_proxy", 0))
    return options


def is_loopback(target: str) -> bool:
    """Whether a gRPC target names this machine: a loopback address, localhost or a socket."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = _host(target)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _host(target: str) -> str:
    for scheme in ("dns:///", "ipv4:", "ipv6:", "dns:"):
        target = target.removeprefix(scheme)
    if target.startswith("["):
        return target[1:].partition("]")[0]
    if target.count(":") > 1:  # a bare IPv6 address
        return target
    return target.partition(":")[0].lower()
