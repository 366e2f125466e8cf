"""The server's certificate, checked before it is in force and replaced while it serves.

gRPC takes whatever it is given and fails each handshake later, so everything that can be
wrong is found first, by ``certificate_files``. It knows what gRPC wants; who callers are is
``callers.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc

from imagesieve_server.certificate_files import check_authorities, check_chain
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.kept_files import Kept, KeptMetrics, read_contents

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
    if _ED25519 in key:
        raise ConfigError("server.tls_key: gRPC does not take Ed25519 keys; make an EC or RSA key")
    expires = {"server": check_chain(chain, key, section="server").expires}
    for authority in client_ca:
        expires["client_ca"] = check_authorities(authority, where="server.tls_client_ca")
    configuration = grpc.ssl_server_certificate_configuration(
        [(key, chain)], root_certificates=client_ca[0] if client_ca else None
    )
    return Tls(configuration=configuration, expires=expires)
