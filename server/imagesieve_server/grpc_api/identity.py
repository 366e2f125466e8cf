"""Who calls. The tenant comes from here and from nowhere else.

It knows a call's peer address, metadata and transport identity; it knows no messages. Other
ways to prove an identity (tokens, client certificates) are further Authenticators. Who may
call what is ``roles.py``; where it is enforced is ``gate.py``.
"""

from __future__ import annotations

import enum
import functools
import urllib.parse
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from imagesieve_server.addresses import is_loopback
from imagesieve_server.core.errors import Unauthenticated

DEFAULT_TENANT = "default"
AUTHORIZATION = "authorization"

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a call shows of its caller, before anything is believed."""

    peer: str  # gRPC's form, for example ipv4:127.0.0.1:40312 or unix:/run/x.sock
    metadata: Mapping[str, str | bytes]  # lower-case keys; of a repeated key the last value
    transport: Mapping[str, Iterable[bytes]]  # TLS properties of the peer; empty without TLS


class Role(enum.StrEnum):
    """What a caller is there for."""

    UPLOADER = "uploader"  # asks about images
    REVIEWER = "reviewer"  # claims, looks, decides
    LEAD = "lead"  # settles what reviewers differ on or escalate, and sees how well they decide
    POLICY = "policy"  # reads and reloads policies
    ADMIN = "admin"  # looks after a tenant's records


ALL_ROLES = frozenset(Role)


class Unproved(enum.StrEnum):
    """Why a call was not believed: ErrorInfo's ``detail``, and a label of the metrics."""

    NO_CREDENTIALS = "NO_CREDENTIALS"  # neither a token nor a client certificate
    MALFORMED = "MALFORMED"  # an authorization header that is no bearer token
    UNKNOWN_TOKEN = "UNKNOWN_TOKEN"  # a token that no caller has
    UNKNOWN_CERTIFICATE = "UNKNOWN_CERTIFICATE"  # no name of the certificate is a caller's
    AMBIGUOUS_CERTIFICATE = "AMBIGUOUS_CERTIFICATE"  # its names belong to several callers
    EXPIRED = "EXPIRED"  # the caller is known, and its time is over
    CHANGED = "CHANGED"  # a stream's caller is no longer who began it
    NOT_LOCAL = "NOT_LOCAL"  # a caller from elsewhere, where only this machine is served


def unproved(detail: Unproved, message: str) -> Unauthenticated:
    """The error of a call that was not believed."""
    return Unauthenticated(message, metadata={"detail": detail.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who calls, proved."""

    tenant: str
    name: str = ""  # the person or service; "" where only the tenant is known
    roles: frozenset[Role] = ALL_ROLES


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
        self._everybody = Identity(tenant=DEFAULT_TENANT)

    async def authenticate(self, caller: Caller) -> Identity:
        if not self._allow_remote and not is_local_peer(caller.peer):
            raise unproved(
                Unproved.NOT_LOCAL, "only callers on the server's own machine are accepted"
            )
        return self._everybody


_PRESENT: ContextVar[Identity] = ContextVar("imagesieve_identity")
"""gRPC runs each call in a context of its own, and hands it on from interceptor to method."""


def set_present_identity(identity: Identity) -> None:
    """Say who makes the call in hand. Only the gate does."""
    _PRESENT.set(identity)


def present_identity() -> Identity:
    """Who makes the call in hand. Raises LookupError where the gate was not passed."""
    return _PRESENT.get()


def caller_of(context: Context) -> Caller:
    """What a call's context shows of its caller.

    Raises Unauthenticated for several authorization headers: which one counts would depend on
    who reads them.
    """
    pairs = [(str(key), value) for key, value in context.invocation_metadata() or ()]
    if sum(key == AUTHORIZATION for key, _ in pairs) > 1:
        raise unproved(Unproved.MALFORMED, "several authorization headers")
    return Caller(
        peer=context.peer(), metadata=dict(pairs), transport=dict(context.auth_context() or {})
    )


@functools.lru_cache(maxsize=1024)  # a connection's is the same for all of its calls
def is_local_peer(peer: str) -> bool:
    """Whether gRPC's peer string names this machine."""
    scheme, _, rest = peer.partition(":")
    if scheme == "unix":
        return True
    if scheme not in ("ipv4", "ipv6"):
        return False
    host = urllib.parse.unquote(rest).rpartition(":")[0].strip("[]")
    return is_loopback(host)
