"""How well people decide, for asyncio. Methods only: what they send is in ``quality_calls.py``.

The methods and parameters are those of ``QualityClient``, which explains them.
"""

from __future__ import annotations

from datetime import datetime

from imagesieve import quality_calls
from imagesieve.async_transport import AsyncTransport
from imagesieve.connection import DEFAULT_TIMEOUT_S
from imagesieve.quality_results import Golden, Quality


class AsyncQualityClient:
    """``AsyncClient.quality``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def figures(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Quality:
        """As ``QualityClient.figures``."""
        return await self._transport.run(
            quality_calls.figures(since=since, until=until, timeout_s=timeout)
        )

    async def goldens(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> tuple[Golden, ...]:
        """As ``QualityClient.goldens``."""
        return await self._transport.run(quality_calls.goldens(timeout_s=timeout))

    async def mark_golden(
        self,
        item_id: str,
        *,
        note: str = "",
        marked_by: str = "",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Golden:
        """As ``QualityClient.mark_golden``."""
        return await self._transport.run(
            quality_calls.mark_golden(item_id, note=note, marked_by=marked_by, timeout_s=timeout)
        )

    async def unmark_golden(
        self, item_id: str, *, unmarked_by: str = "", timeout: float = DEFAULT_TIMEOUT_S
    ) -> None:
        """As ``QualityClient.unmark_golden``."""
        await self._transport.run(
            quality_calls.unmark_golden(item_id, unmarked_by=unmarked_by, timeout_s=timeout)
        )
