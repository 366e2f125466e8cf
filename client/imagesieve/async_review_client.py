"""The review queue, for asyncio. Methods only: what they send is in ``review_calls.py``.

The methods and parameters are those of ``ReviewClient``, which explains them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime

from imagesieve import review_calls
from imagesieve.async_transport import AsyncTransport
from imagesieve.connection import DEFAULT_TIMEOUT_S
from imagesieve.errors import Unavailable
from imagesieve.review_results import (
    Decision,
    DecisionEvent,
    Erasure,
    Item,
    ItemState,
    Lease,
    Outcome,
    QueueStats,
    ReopenCause,
)
from imagesieve.watching import Watch


class AsyncReviewClient:
    """``AsyncClient.review``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def claim(
        self,
        *,
        reviewer: str = "",
        categories: Sequence[str] = (),
        tier: int = 0,
        lease_s: int = 0,
        include_image: bool = False,
        item_id: str = "",
        claim_id: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Lease | None:
        """As ``ReviewClient.claim``."""
        return await self._transport.run(
            review_calls.claim(
                reviewer=reviewer,
                categories=categories,
                tier=tier,
                lease_s=lease_s,
                include_image=include_image,
                item_id=item_id,
                claim_id=claim_id,
                timeout_s=timeout,
            )
        )

    async def extend(
        self, item_id: str, token: str, *, lease_s: int = 0, timeout: float = DEFAULT_TIMEOUT_S
    ) -> datetime | None:
        """As ``ReviewClient.extend``."""
        return await self._transport.run(
            review_calls.extend(item_id, token, lease_s=lease_s, timeout_s=timeout)
        )

    async def release(
        self, item_id: str, token: str, *, timeout: float = DEFAULT_TIMEOUT_S
    ) -> Item:
        """As ``ReviewClient.release``."""
        return await self._transport.run(review_calls.release(item_id, token, timeout_s=timeout))

    async def decide(
        self,
        item_id: str,
        token: str,
        outcome: Outcome,
        *,
        labels: Sequence[str] = (),
        note: str = "",
        reviewer: str = "",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Decision:
        """As ``ReviewClient.decide``."""
        return await self._transport.run(
            review_calls.decide(
                item_id,
                token,
                outcome,
                labels=labels,
                note=note,
                reviewer=reviewer,
                timeout_s=timeout,
            )
        )

    async def get(
        self, item_id: str, *, include_image: bool = False, timeout: float = DEFAULT_TIMEOUT_S
    ) -> Item:
        """As ``ReviewClient.get``."""
        return await self._transport.run(
            review_calls.get(item_id, include_image=include_image, timeout_s=timeout)
        )

    async def list(
        self,
        *,
        states: Sequence[ItemState] = (),
        category: str = "",
        reason: str = "",
        min_age_s: float = 0.0,
        max_age_s: float = 0.0,
        page_size: int = 50,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> AsyncIterator[Item]:
        """As ``ReviewClient.list``."""
        page_token = ""
        while True:
            page = await self._transport.run(
                review_calls.list_page(
                    states=states,
                    category=category,
                    reason=reason,
                    min_age_s=min_age_s,
                    max_age_s=max_age_s,
                    page_size=page_size,
                    page_token=page_token,
                    timeout_s=timeout,
                )
            )
            for item in page.items:
                yield item
            page_token = page.next_page_token
            if not page_token:
                return

    async def stats(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> QueueStats:
        """As ``ReviewClient.stats``."""
        return await self._transport.run(review_calls.stats(timeout_s=timeout))

    async def requeue(self, item_id: str, *, timeout: float = DEFAULT_TIMEOUT_S) -> Item:
        """As ``ReviewClient.requeue``."""
        return await self._transport.run(review_calls.requeue(item_id, timeout_s=timeout))

    async def reopen(
        self,
        item_id: str,
        cause: ReopenCause,
        *,
        decision_id: str = "",
        note: str = "",
        reopened_by: str = "",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Item:
        """As ``ReviewClient.reopen``."""
        return await self._transport.run(
            review_calls.reopen(
                item_id,
                cause,
                decision_id=decision_id,
                note=note,
                reopened_by=reopened_by,
                timeout_s=timeout,
            )
        )

    async def erase(
        self,
        *,
        reason: str,
        sha256: str = "",
        item_id: str = "",
        erased_by: str = "",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Erasure:
        """As ``ReviewClient.erase``."""
        return await self._transport.run(
            review_calls.erase(
                sha256=sha256,
                item_id=item_id,
                reason=reason,
                erased_by=erased_by,
                timeout_s=timeout,
            )
        )

    async def watch(
        self,
        *,
        cursor: str = "",
        from_oldest: bool = False,
        save: Callable[[str], None] | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> AsyncIterator[DecisionEvent]:
        """As ``ReviewClient.watch``."""
        watch = Watch(cursor=cursor, from_oldest=from_oldest, save=save, timeout_s=timeout)
        while not self._transport.closed:
            try:
                async with aclosing(self._transport.stream(watch.call())) as answers:
                    async for cursor, event in answers:
                        watch.reached()
                        if event is not None:
                            yield event
                        watch.done_with(cursor)
            except Unavailable as error:
                watch.failed(error)
            if not self._transport.closed:
                await asyncio.sleep(watch.pause())
