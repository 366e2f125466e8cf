"""Certificates in PEM, checked before they are in force, with a handshake that they must pass.

Knows chains, keys and authorities, for whatever port listens with them; who callers are is the
port's matter. Settings are named as whoever calls says.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from imagesieve_server.core.errors import ConfigError

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A chain and its key that a port can listen with."""

    context: ssl.SSLContext
    expires: float  # Unix time at which the first certificate of the chain is over


def check_chain(chain: bytes, key: bytes, *, section: str) -> Checked:
    """Check what ``tls_cert`` and ``tls_key`` of a section of the settings hold.

    Raises ConfigError.
    """
    certificates = _CERTIFICATE.findall(chain.decode("ascii", "replace"))
    if not certificates:
        raise ConfigError(f"{section}.tls_cert: holds no PEM certificate")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def no_password() -> NoReturn:
        raise ConfigError(f"{section}.tls_key: is encrypted; store it without a password")

    try:
        with _file(chain) as chain_file, _file(key) as key_file:
            server.load_cert_chain(chain_file, key_file, password=no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"{section}.tls_key: is not the key of {section}.tls_cert") from None
        raise ConfigError(f"{section}.tls_cert, {section}.tls_key: cannot be read as PEM") from None
    above = [_ends(found) for found in _authorities(chain, where=f"{section}.tls_cert")]
    shown = _handshake(server, certificates[0], section=section)
    return Checked(context=server, expires=min([_ends(shown), *above]))


def check_authorities(pem: bytes, *, where: str) -> float:
    """When the first of the authorities is over. One that is over already does not count
    while another lives: that is how an authority is replaced. Raises ConfigError."""
    ends = [_ends(found) for found in _authorities(pem, where=where)]
    if not ends:
        raise ConfigError(f"{where}: holds no certificate of an authority")
    living = [end for end in ends if end > time.time()]
    if not living:
        raise ConfigError(f"{where}: certificate has expired")
    return min(living)


def _handshake(server: ssl.SSLContext, certificate: str, *, section: str) -> dict[str, Any]:
    """Let a caller who trusts this one certificate connect, in memory; what it was shown."""
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname = False  # the name in callers' addresses is not known here
    caller.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # no authority needed
    try:
        caller.load_verify_locations(cadata=certificate)
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        callers_end = caller.wrap_bio(back, there)
        servers_end = server.wrap_bio(there, back, server_side=True)
        for end in (callers_end, servers_end, callers_end):  # TLS 1.3: hello, answer, done
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        raise ConfigError(f"{section}.tls_cert: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise ConfigError(f"{section}.tls_cert: callers cannot connect: {error.reason}") from None
    return dict(callers_end.getpeercert() or {})


def _authorities(pem: bytes, *, where: str) -> list[dict[str, Any]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{where}: holds no PEM certificate") from None
    return [dict(found) for found in context.get_ca_certs()]


def _ends(certificate: dict[str, Any]) -> float:
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """The name of a file in memory: what is checked is what was read, and stays off the disk."""
    number = os.memfd_create("pem")
    try:
        with os.fdopen(number, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
