"""Callers for tests whose name says their role."""

from __future__ import annotations

from typing import Any

from imagesieve_server.grpc_api.identity import Identity, Role


class ByName:
    """Whoever the call's metadata name, of tenant t, in the role that the name begins with."""

    async def authenticate(self, caller: Any) -> Identity:
        name = str(caller.metadata.get("x-name", "uploader"))
        return Identity(tenant="t", name=name, roles=frozenset({Role(name.partition("-")[0])}))


def by(name: str) -> dict[str, Any]:
    """A call's arguments to be this caller."""
    return {"metadata": (("x-name", name),)}
