"""The console's certificate, replaced while it serves.

Each new connection is shown the certificate then in force; what is connected goes on. Checking is
``certificate_files``' matter.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol

from imagesieve_server.certificate_files import Checked, check_chain
from imagesieve_server.kept_files import Kept, KeptMetrics


class CertificateMetrics(KeptMetrics, Protocol):
    """What is reported of the certificate."""

    def certificate_expiry(self, certificate: str, *, at: float) -> None: ...


def kept_certificate(certificate: Path, key: Path, *, metrics: CertificateMetrics) -> Kept[Checked]:
    """The two files' content, not yet loaded."""

    def read(contents: tuple[bytes, ...]) -> Checked:
        return check_chain(contents[0], contents[1], section="console")

    return Kept(
        name="console_tls",
        paths=(certificate, key),
        read=read,
        metrics=metrics,
        applied=lambda checked: metrics.certificate_expiry("console", at=checked.expires),
    )


def listening_context(kept: Kept[Checked]) -> ssl.SSLContext:
    """What a port listens with. Only after ``kept.load``."""
    front = kept.value.context

    def show_the_present(
        connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> None:
        connection.context = kept.value.context

    # Called for each connection, also where the browser names no host.
    front.sni_callback = show_the_present
    return front
