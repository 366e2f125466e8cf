"""Who calls. The tenant comes from here and from nowhere else.

It knows a call's peer address, metadata and transport identity; it knows no messages. Other
ways to prove an identity (tokens, client certificates) are further Authenticators.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from imagesieve_server.core.errors import Unauthenticated

DEFAULT_TENANT = "default"

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a call shows of its caller, before anything is believed."""

    peer: str  # gRPC's form, for example ipv4:127.0.0.1:40312 or unix:/run/x.sock
    metadata: Mapping[str, str | bytes]  # lower-case keys; of a repeated key the last value
    transport: Mapping[str, Iterable[bytes]]  # TLS properties of the peer; empty without TLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who calls, proved."""

    tenant: str
    name: str = ""  # the person or service; "" where only the tenant is known


class Authenticator(Protocol):
    """Proves who calls."""

    async def authenticate(self, caller: Caller) -> Identity:
        """Raises Unauthenticated."""
        ...


class LoopbackAuthenticator:
    """Everybody on this machine is the one tenant ``default``, without a name.

    ``allow_remote`` extends that to callers from elsewhere: for operators who chose to run
    without authentication behind something that has it.
    """

    def __init__(self, *, allow_remote: bool = False) -> None:
        self._allow_remote = allow_remote

    async def authenticate(self, caller: Caller) -> Identity:
        if not self._allow_remote and not is_local_peer(caller.peer):
            raise Unauthenticated("only callers on the server's own machine are accepted")
        return Identity(tenant=DEFAULT_TENANT)


def caller_of(context: Context) -> Caller:
    """What a call's context shows of its caller."""
    metadata = {str(key): value for key, value in context.invocation_metadata() or ()}
    return Caller(
        peer=context.peer(), metadata=metadata, transport=dict(context.auth_context() or {})
    )


def is_local_peer(peer: str) -> bool:
    """Whether gRPC's peer string names this machine."""
    scheme, _, rest = peer.partition(":")
    if scheme == "unix":
        return True
    if scheme not in ("ipv4", "ipv6"):
        return False
    host = urllib.parse.unquote(rest).rpartition(":")[0].strip("[]")
    return is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
