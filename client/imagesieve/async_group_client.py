"""Groups of look-alikes, for asyncio. Methods only: what they send is in ``group_calls.py``.

The methods and parameters are those of ``GroupClient``, which explains them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from imagesieve import group_calls
from imagesieve.async_transport import AsyncTransport
from imagesieve.connection import DEFAULT_TIMEOUT_S
from imagesieve.group_results import Group, GroupClose, GroupSummary
from imagesieve.review_results import Item, Outcome


class AsyncGroupClient:
    """``AsyncClient.groups``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(
        self, *, limit: int = 50, timeout: float = DEFAULT_TIMEOUT_S
    ) -> tuple[GroupSummary, ...]:
        """As ``GroupClient.list``."""
        return await self._transport.run(group_calls.list_groups(limit=limit, timeout_s=timeout))

    async def get(self, group_id: str, *, timeout: float = DEFAULT_TIMEOUT_S) -> Group:
        """As ``GroupClient.get``."""
        return await self._transport.run(group_calls.get(group_id, timeout_s=timeout))

    async def items(
        self, group_id: str, *, page_size: int = 50, timeout: float = DEFAULT_TIMEOUT_S
    ) -> AsyncIterator[Item]:
        """As ``GroupClient.items``."""
        page_token = ""
        while True:
            page = await self._transport.run(
                group_calls.items_page(
                    group_id, page_size=page_size, page_token=page_token, timeout_s=timeout
                )
            )
            for item in page.items:
                yield item
            page_token = page.next_page_token
            if not page_token:
                return

    async def close(
        self,
        group: Group,
        outcome: Outcome,
        *,
        labels: Sequence[str] = (),
        note: str = "",
        closed_by: str = "",
        close_id: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> GroupClose:
        """As ``GroupClient.close``."""
        return await self._transport.run(
            group_calls.close(
                group,
                outcome,
                labels=labels,
                note=note,
                closed_by=closed_by,
                close_id=close_id,
                timeout_s=timeout,
            )
        )

    async def get_close(self, close_id: str, *, timeout: float = DEFAULT_TIMEOUT_S) -> GroupClose:
        """As ``GroupClient.get_close``."""
        return await self._transport.run(group_calls.get_close(close_id, timeout_s=timeout))

    async def undo(
        self,
        close_id: str,
        *,
        note: str = "",
        undone_by: str = "",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> GroupClose:
        """As ``GroupClient.undo``."""
        return await self._transport.run(
            group_calls.undo(close_id, note=note, undone_by=undone_by, timeout_s=timeout)
        )
