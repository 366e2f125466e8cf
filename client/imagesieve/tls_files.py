"""TLS of a client from PEM files, checked before the first call. Opens no connection.

gRPC accepts any bytes and fails each handshake later, so what is wrong is said here.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import NoReturn, TypeAlias

import grpc

PemFile: TypeAlias = str | os.PathLike[str]


def credentials_of(
    *,
    ca_file: PemFile | None = None,
    cert_file: PemFile | None = None,
    key_file: PemFile | None = None,
) -> grpc.ChannelCredentials:
    """Trusts the authorities in ``ca_file``, the system's roots without one; shows the
    certificate chain in ``cert_file``, nothing without one.

    The files are read now: a client made later sees a replaced certificate. Raises ValueError
    where they cannot be used, OSError where one cannot be read.
    """
    if (cert_file is None) != (key_file is None):
        raise ValueError("cert_file and key_file belong together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    roots = chain = key = None
    if ca_file is not None:
        roots = Path(ca_file).read_bytes()
        try:
            context.load_verify_locations(cadata=roots.decode("ascii", "replace"))
        except (ssl.SSLError, ValueError):
            raise ValueError(f"{ca_file}: holds no PEM certificate") from None
    if cert_file is not None and key_file is not None:
        chain, key = Path(cert_file).read_bytes(), Path(key_file).read_bytes()
        _check_pair(context, cert_file, key_file)
    return grpc.ssl_channel_credentials(roots, key, chain)


def _check_pair(context: ssl.SSLContext, cert_file: PemFile, key_file: PemFile) -> None:
    def no_password() -> NoReturn:
        raise ValueError(f"{key_file}: is encrypted; store it without a password")

    try:
        context.load_cert_chain(cert_file, key_file, password=no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{key_file}: is not the key of {cert_file}") from None
        raise ValueError(f"{cert_file}, {key_file}: cannot be read as PEM") from None
