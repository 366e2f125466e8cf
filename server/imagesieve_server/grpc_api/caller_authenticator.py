"""Believes callers by bearer token or client certificate, as the callers file has them.

A token that is sent decides, good or bad: a wrong one never falls back to the certificate of
the connection, which may be a proxy's. It keeps and writes down no token.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Iterable, Mapping

from imagesieve_server.grpc_api.callers import (
    CallerRecord,
    Callers,
    certificate_name,
    token_digest,
)
from imagesieve_server.grpc_api.identity import (
    AUTHORIZATION,
    Caller,
    Identity,
    Unproved,
    unproved,
)
from imagesieve_server.kept_files import Kept

_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]{1,512}=*)\Z")

_ALTERNATIVES = "x509_subject_alternative_name"
_TYPED = {"peer_uri": "URI", "peer_dns": "DNS"}
_COMMON_NAME = "x509_common_name"


class CallersAuthenticator:
    """The Authenticator over a callers file."""

    def __init__(
        self, *, callers: Kept[Callers], wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._callers = callers
        self._wall_clock = wall_clock

    async def authenticate(self, caller: Caller) -> Identity:
        """Raises Unauthenticated."""
        header = caller.metadata.get(AUTHORIZATION)
        if header is None:
            record = _by_certificate(self._callers.value, caller.transport)
        else:
            record = _by_token(self._callers.value, header)
        if record.expires_at is not None and self._wall_clock() >= record.expires_at:
            raise unproved(Unproved.EXPIRED, "the caller's time is over")
        return record.identity


def _by_token(callers: Callers, header: str | bytes) -> CallerRecord:
    found = _BEARER.match(header) if isinstance(header, str) else None
    if found is None:
        raise unproved(Unproved.MALFORMED, "the authorization header is not 'Bearer <token>'")
    digest = token_digest(found[1])
    record = callers.by_token.get(digest)  # its time tells of the hash, never of the token
    if record and any(hmac.compare_digest(known, digest) for known in record.token_sha256):
        return record
    raise unproved(Unproved.UNKNOWN_TOKEN, "no caller has this token")


def _by_certificate(callers: Callers, transport: Mapping[str, Iterable[bytes]]) -> CallerRecord:
    names = certificate_names(transport)
    if not any(key.startswith("x509_") for key in transport):
        raise unproved(Unproved.NO_CREDENTIALS, "neither a token nor a client certificate was sent")
    found = {name: callers.by_certificate[name] for name in names if name in callers.by_certificate}
    records = {record.identity.name: record for record in found.values()}
    if len(records) > 1:
        raise unproved(
            Unproved.AMBIGUOUS_CERTIFICATE, "the client certificate has the names of two callers"
        )
    for record in records.values():
        return record
    raise unproved(Unproved.UNKNOWN_CERTIFICATE, "no caller has a name of this client certificate")


def certificate_names(transport: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """The names a verified certificate proves, as the callers file writes them.

    The common name counts only where there are no alternative names at all: many authorities
    check those alone.
    """
    kinds = dict(_TYPED)
    if not list(transport.get(_ALTERNATIVES, ())):
        kinds[_COMMON_NAME] = "CN"
    return tuple(
        certificate_name(kind, value.decode("utf-8", "backslashreplace"))
        for key, kind in kinds.items()
        for value in transport.get(key, ())
    )
