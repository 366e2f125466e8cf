"""Certificates made on the spot: an authority, and what it signs for servers and callers."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = datetime.timedelta(hours=1)
_USAGES = {
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
}
LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes

    def write(self, certificate: Path, key: Path) -> None:
        certificate.write_bytes(self.certificate)
        key.write_bytes(self.key)


class Authority:
    """Signs with a key of its own. ``pem`` is what trusts it."""

    def __init__(
        self, name: str = "test authority", *, lives: datetime.timedelta = HOUR * 48
    ) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            _builder(min(-HOUR, lives - HOUR), lives)
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    def server(
        self, *, lives: datetime.timedelta = HOUR, begins: datetime.timedelta = -HOUR
    ) -> Issued:
        """For 127.0.0.1 and localhost. A negative life is one that is over."""
        names: list[x509.GeneralName] = [LOOPBACK, x509.DNSName("localhost")]
        return self._issue("server", names, ExtendedKeyUsageOID.SERVER_AUTH, begins, lives)

    def caller(
        self,
        name: str = "caller",
        *,
        uris: tuple[str, ...] = (),
        dns: tuple[str, ...] = (),
        emails: tuple[str, ...] = (),
        usage: str = "client",
        lives: datetime.timedelta = HOUR,
    ) -> Issued:
        """A certificate with this common name and these alternative names, for a client."""
        names: list[x509.GeneralName] = [
            *(x509.UniformResourceIdentifier(uri) for uri in uris),
            *(x509.DNSName(one) for one in dns),
            *(x509.RFC822Name(one) for one in emails),
        ]
        return self._issue(name, names, _USAGES[usage], -HOUR, lives)

    def _issue(
        self,
        name: str,
        names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        begins: datetime.timedelta,
        lives: datetime.timedelta,
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(min(begins, lives - HOUR), lives)
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(
            certificate=certificate.public_bytes(serialization.Encoding.PEM), key=_pem(key)
        )


def _builder(begin: datetime.timedelta, end: datetime.timedelta) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
