"""The one secret of a server, and the keys made of it, one per purpose.

Servers that share the file choose the same frames of the same animation and, with it, answer
alike. It knows a file and HMAC; what a key is for is its user's matter. No key gives away
another or the secret.
"""

from __future__ import annotations

import enum
import hmac
import secrets
from pathlib import Path

from imagesieve_server.core.errors import ConfigError

MIN_BYTES = 32


class Purpose(enum.StrEnum):
    """What a key is for. A value never changes its meaning: it is part of the key."""

    FRAMES = "frames"  # which frames of an animation are looked at
    AUDIT = "audit"  # which allowed pictures a person looks at


class ServerSecret:
    """Bytes nobody outside the servers knows."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def key(self, purpose: Purpose) -> bytes:
        """The key of a purpose, 32 bytes."""
        return hmac.digest(self._raw, b"imagesieve/v1/" + purpose.encode(), "sha256")


def load_secret(path: str) -> ServerSecret:
    """The secret in a file, a new one for "". White space around it does not count.

    Raises ConfigError where the file cannot be read or holds less than ``MIN_BYTES``.
    """
    if not path:
        return ServerSecret(secrets.token_bytes(MIN_BYTES))
    try:
        raw = Path(path).read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"server.secret_file: {path}: {error.strerror}") from None
    if len(raw) < MIN_BYTES:
        raise ConfigError(
            f"server.secret_file: {path}: has {len(raw)} bytes, at least {MIN_BYTES} are needed; "
            "`openssl rand -hex 32` makes a good one"
        )
    return ServerSecret(raw)
