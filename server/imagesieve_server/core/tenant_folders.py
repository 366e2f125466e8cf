"""A tenant's name as the name of a folder, and back. Tenant names are data: any text may come."""

from __future__ import annotations

import hashlib
import re

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
_FOLDER_NAME_MAX = 200


def folder_name(tenant: str) -> str:
    """A safe file name for a tenant; different tenants never share one.

    Lower-case letters, digits, ``_`` and ``-`` stand for themselves and every other byte of
    the UTF-8 for ``%`` and two digits, so that neither case-insensitive file systems nor
    ``..`` confuse two tenants. Very long names become ``%h`` and their sha256.
    """
    encoded = tenant.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in encoded)
    if len(name) > _FOLDER_NAME_MAX:
        return "%h" + hashlib.sha256(encoded).hexdigest()
    return name or "%"


def tenant_of(name: str) -> str | None:
    """The tenant of a folder's name; None where it tells none (very long tenants, strays)."""
    if name == "%":
        return ""
    encoded = re.sub(
        rb"%([0-9a-f]{2})",
        lambda found: bytes.fromhex(found[1].decode()),
        name.encode("utf-8", "surrogateescape"),
    )
    tenant = encoded.decode("utf-8", "replace")
    return tenant if folder_name(tenant) == name else None
