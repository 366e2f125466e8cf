"""The server's certificate, checked before it is in force and replaced while it serves.

gRPC takes whatever it is given and fails each handshake later, so everything that can be
wrong is found here first: with a handshake in memory that the certificate must pass. It knows
PEM files; who callers are is ``callers.py``'s.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import grpc

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.kept_files import Kept, KeptMetrics, read_contents

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_ED25519 = b"MC4CAQAwBQYDK2Vw"  # how every such key begins in PEM


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files. With ``client_ca`` callers must show a certificate that it signed."""

    certificate: Path  # the chain, the server's own first
    key: Path
    client_ca: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """In the order in which ``read_tls`` takes their contents."""
        return (self.certificate, self.key, *([self.client_ca] if self.client_ca else []))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the files came to."""

    configuration: grpc.ServerCertificateConfiguration
    expires: Mapping[str, float]  # Unix time by role: server, client_ca


class TlsMetrics(KeptMetrics, Protocol):
    """What is reported of certificates."""

    def certificate_expiry(self, certificate: str, *, at: float) -> None:
        """A certificate came into force that is valid until Unix time ``at``."""
        ...


def kept_tls(files: TlsFiles, *, metrics: TlsMetrics) -> Kept[Tls]:
    """The files' content, not yet loaded."""

    def applied(tls: Tls) -> None:
        for certificate, at in tls.expires.items():
            metrics.certificate_expiry(certificate, at=at)

    return Kept(name="tls", paths=files.paths(), read=read_tls, metrics=metrics, applied=applied)


def check_tls(files: TlsFiles) -> Tls:
    """The files as a port would listen with them. Raises ConfigError."""
    return read_tls(read_contents(files.paths()))


def credentials(tls: Kept[Tls], *, client_ca: bool) -> grpc.ServerCredentials:
    """What a port listens with: each new connection gets the certificate then in force."""
    fetch: Callable[[], Any] = lambda: tls.value.configuration  # noqa: E731
    return grpc.dynamic_ssl_server_credentials(
        tls.value.configuration, fetch, require_client_authentication=client_ca
    )


def read_tls(contents: tuple[bytes, ...]) -> Tls:
    """Check chain, key and, where there is one, the callers' authority. Raises ConfigError."""
    chain, key, *client_ca = contents
    expires = {"server": _check_server(chain, key)}
    for authority in client_ca:
        expires["client_ca"] = _check_authority(authority)
    configuration = grpc.ssl_server_certificate_configuration(
        [(key, chain)], root_certificates=client_ca[0] if client_ca else None
    )
    return Tls(configuration=configuration, expires=expires)


def _check_server(chain: bytes, key: bytes) -> float:
    """When the first certificate of the chain, or one above it, is over."""
    certificates = _CERTIFICATE.findall(chain.decode("ascii", "replace"))
    if not certificates:
        raise ConfigError("server.tls_cert: holds no PEM certificate")
    if _ED25519 in key:
        raise ConfigError("server.tls_key: gRPC does not take Ed25519 keys; make an EC or RSA key")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        with _file(chain) as chain_file, _file(key) as key_file:
            server.load_cert_chain(chain_file, key_file, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError("server.tls_key: is not the key of server.tls_cert") from None
        raise ConfigError("server.tls_cert, server.tls_key: cannot be read as PEM") from None
    above = [_ends(found) for found in _authorities(chain, where="server.tls_cert")]
    return min([_ends(_handshake(server, certificates[0])), *above])


def _handshake(server: ssl.SSLContext, certificate: str) -> dict[str, Any]:
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
        raise ConfigError(f"server.tls_cert: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise ConfigError(f"server.tls_cert: callers cannot connect: {error.reason}") from None
    return dict(callers_end.getpeercert() or {})


def _check_authority(pem: bytes) -> float:
    """When the first of the authorities is over. One that is over already does not count
    while another lives: that is how an authority is replaced."""
    ends = [_ends(found) for found in _authorities(pem, where="server.tls_client_ca")]
    if not ends:
        raise ConfigError("server.tls_client_ca: holds no certificate of an authority")
    living = [end for end in ends if end > time.time()]
    if not living:
        raise ConfigError("server.tls_client_ca: certificate has expired")
    return min(living)


def _authorities(pem: bytes, *, where: str) -> list[dict[str, Any]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{where}: holds no PEM certificate") from None
    return [dict(found) for found in context.get_ca_certs()]


def _ends(certificate: dict[str, Any]) -> float:
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))


def _no_password() -> NoReturn:
    raise ConfigError("server.tls_key: is encrypted; store it without a password")


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
