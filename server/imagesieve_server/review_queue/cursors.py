"""Cursors of decision events: a place in one tenant's sequence, sealed for that tenant.

Opaque to callers and worthless with another tenant or another database, whose key differs.
What a cursor may read is decided by the caller's tenant alone; the seal keeps a place from
being taken for one of another sequence.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from imagesieve_server.core.errors import CursorExpired

_PLACE_BYTES = 8
_SEAL_BYTES = 16


def seal(key: bytes, tenant: str, position: int) -> str:
    """The cursor behind the event at ``position`` (0: before the first)."""
    place = position.to_bytes(_PLACE_BYTES, "big")
    return base64.urlsafe_b64encode(place + _seal(key, tenant, place)).decode()


def unseal(key: bytes, tenant: str, cursor: str) -> int:
    """The position. Raises CursorExpired for a cursor of another tenant or database."""
    try:
        raw = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    place, given = raw[:_PLACE_BYTES], raw[_PLACE_BYTES:]
    if not hmac.compare_digest(given, _seal(key, tenant, place)):
        raise CursorExpired("the cursor was not made by this server for this tenant")
    return int.from_bytes(place, "big")


def _seal(key: bytes, tenant: str, place: bytes) -> bytes:
    text = place + tenant.encode("utf-8", "surrogatepass")
    return hmac.new(key, text, hashlib.sha256).digest()[:_SEAL_BYTES]
