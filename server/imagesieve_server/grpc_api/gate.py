"""Nobody passes unknown or without the role: before a byte of the request is read.

It asks the authenticator who calls and the table of roles whether they may; it knows no
messages. A stream is asked again while it lives, or a token that was taken away would keep
what it had opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from imagesieve_server.core.errors import PermissionDenied, Unauthenticated
from imagesieve_server.grpc_api.identity import (
    Authenticator,
    Identity,
    Unproved,
    caller_of,
    set_present_identity,
    unproved,
)
from imagesieve_server.grpc_api.roles import ACCESS, Access
from imagesieve_server.grpc_api.wrapping import Call, Inner

RECHECK_S = 10.0
"""Seconds between looks at whether a stream's caller is still who began it."""


class GateMetrics(Protocol):
    """What is counted at the gate."""

    def call_refused(self, reason: str) -> None:
        """A call was not let in; ``reason`` is an ``Unproved`` or PERMISSION_DENIED."""
        ...


class Gate:
    """Lets a call in, or raises Unauthenticated or PermissionDenied."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        metrics: GateMetrics,
        access: Mapping[str, Access] = ACCESS,
        recheck_s: float = RECHECK_S,
    ) -> None:
        self._authenticator = authenticator
        self._metrics = metrics
        self._access = access
        self._recheck_s = recheck_s

    async def around(self, call: Call, inner: Inner) -> None:
        """Run the call, inside whatever translates errors."""
        identity = await self._admit(call)
        if identity is not None:
            set_present_identity(identity)
        if identity is None or call.kind == "unary":
            await inner()
            return
        async with self._still_allowed(call):
            await inner()

    async def _admit(self, call: Call) -> Identity | None:
        """Who calls; None for a method that asks nobody."""
        try:
            return await self._identify(call)
        except Unauthenticated as error:
            self._metrics.call_refused(error.metadata.get("detail", error.reason))
            raise
        except PermissionDenied as error:
            self._metrics.call_refused(error.reason)
            raise

    async def _identify(self, call: Call) -> Identity | None:
        access = self._access.get(f"/{call.service}/{call.method}")
        if access is None:
            raise PermissionDenied(f"{call.method} is not open to anybody on this server")
        if access.anonymous:
            return None
        identity = await self._authenticator.authenticate(caller_of(call.context))
        call.identity = call.identity or identity  # the log names who is refused, too
        if not identity.roles & access.roles:
            needed = ", ".join(sorted(access.roles))
            raise PermissionDenied(
                f"{call.method} needs the role {needed.replace(', ', ' or ')}",
                metadata={"method": call.method, "roles": needed},
            )
        return identity

    @asynccontextmanager
    async def _still_allowed(self, call: Call) -> AsyncIterator[None]:
        """Ask again at intervals, and end the call where the answer is no longer the same."""
        owner = asyncio.current_task()
        assert owner is not None  # gRPC runs every call in a task
        refusals: list[Unauthenticated | PermissionDenied] = []

        async def look() -> None:
            while not refusals:
                await asyncio.sleep(self._recheck_s)
                try:
                    if await self._admit(call) != call.identity:
                        raise unproved(Unproved.CHANGED, "the caller is no longer who began this")
                except (Unauthenticated, PermissionDenied) as error:
                    refusals.append(error)
                    owner.cancel()

        looking = asyncio.create_task(look())
        try:
            yield
        except asyncio.CancelledError:
            if refusals:
                owner.uncancel()
                raise refusals[0] from None
            raise
        finally:
            looking.cancel()
