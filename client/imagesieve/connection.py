"""Where a client connects and how it proves who it is. Builds settings, opens nothing.

A token travels as ``authorization: Bearer …`` with every call. Over plaintext it could be
read on the way, so it is refused there unless the target is this machine or the caller says
that something else (a service mesh) encrypts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc

from imagesieve.retry import MAX_IMAGE_BYTES, channel_options, is_loopback
from imagesieve.tls_files import PemFile, credentials_of

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_TIMEOUT_S = 10.0
_URLS = ("http://", "https://", "grpc://", "grpcs://")

Token: TypeAlias = str | Callable[[], str]
"""A bearer token, or a function that gives the present one before each call. The function
must not block; what it raises reaches the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Everything needed to open a channel and to send a call on it."""

    target: str
    credentials: grpc.ChannelCredentials | None  # None: plaintext
    token: Token | None = field(repr=False)
    wait_for_ready: bool
    max_image_bytes: int
    options: tuple[tuple[str, str | int], ...]

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The metadata of one call."""
        if self.token is None:
            return ()
        token = self.token if isinstance(self.token, str) else self.token()
        _check_token(token)
        return (("authorization", f"Bearer {token}"),)


def connection(
    target: str,
    *,
    tls: bool = False,
    credentials: grpc.ChannelCredentials | None = None,
    ca_file: PemFile | None = None,
    cert_file: PemFile | None = None,
    key_file: PemFile | None = None,
    token: Token | None = None,
    allow_plaintext_token: bool = False,
    wait_for_ready: bool = False,
    max_image_bytes: int = MAX_IMAGE_BYTES,
) -> Connection:
    """Check the settings of a client.

    Raises ValueError for a URL as target, for a cap below one byte, for a token that would travel
    in the clear or could not be sent, and for unusable files; OSError for unreadable ones.
    """
    if target.lower().startswith(_URLS):
        raise ValueError(
            f"{target} is a URL; a target is host:port, for example {DEFAULT_TARGET}; "
            "TLS is turned on by tls=True or a ca_file (--tls, --ca-file)"
        )
    if max_image_bytes < 1:
        raise ValueError(f"max_image_bytes must be at least 1, not {max_image_bytes}")
    if isinstance(token, str):
        _check_token(token)
    if any(file is not None for file in (ca_file, cert_file, key_file)):
        if credentials is not None:
            raise ValueError("give credentials or files, not both")
        credentials = credentials_of(ca_file=ca_file, cert_file=cert_file, key_file=key_file)
    if tls and credentials is None:
        credentials = grpc.ssl_channel_credentials()
    exposed = token is not None and credentials is None and not is_loopback(target)
    if exposed and not allow_plaintext_token:
        raise ValueError(
            f"a token to {target} would travel unencrypted; use tls=True, or "
            "allow_plaintext_token=True where a service mesh encrypts"
        )
    return Connection(
        target=target,
        credentials=credentials,
        token=token,
        wait_for_ready=wait_for_ready,
        max_image_bytes=max_image_bytes,
        options=tuple(channel_options(target, max_image_bytes=max_image_bytes)),
    )


def _check_token(token: str) -> None:
    """Its text never stands in the error, which may be logged."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("the token is empty or has a character that no header can carry")
