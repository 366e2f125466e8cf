"""``core.webhook_port.Outbox`` over the store's calls: the rules of ``webhook_delivery.py``, made
awaitable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from imagesieve_server.core.review_events import DecisionEvent
from imagesieve_server.core.webhook_port import (
    Endpoint,
    Figures,
    Held,
    Holding,
    Page,
    Settlement,
    Signal,
    Work,
)
from imagesieve_server.review_queue import webhook_delivery as rules
from imagesieve_server.review_queue import webhook_letters
from imagesieve_server.review_queue.store_calls import StoreCalls


class StoreOutbox:
    """All methods belong to the event loop of ``calls``."""

    def __init__(self, *, calls: StoreCalls) -> None:
        self._calls = calls

    async def hold(self, endpoint: Endpoint, holding: Holding) -> Held | None:
        return await self._calls.call(
            "webhooks", lambda store: store.transact(lambda tx: rules.hold(tx, endpoint, holding))
        )

    async def release(self, endpoint: Endpoint, holding: Holding) -> None:
        await self._calls.call(
            "webhooks",
            lambda store: store.transact(lambda tx: rules.release(tx, endpoint, holding)),
        )

    async def work(self, endpoint: Endpoint, *, after: int, fresh: int, due: int) -> Page:
        return await self._calls.call(
            "webhooks",
            lambda store: store.read(
                lambda tx: rules.work(tx, endpoint, after=after, fresh=fresh, due=due)
            ),
        )

    async def as_now(
        self, endpoint: Endpoint, works: Sequence[Work]
    ) -> Mapping[int, DecisionEvent]:
        return await self._calls.call(
            "webhooks", lambda store: store.read(lambda tx: rules.as_now(tx, endpoint, works))
        )

    async def settle(self, endpoint: Endpoint, holding: Holding, done: Settlement) -> bool:
        return await self._calls.call(
            "webhooks",
            lambda store: store.transact(lambda tx: rules.settle(tx, endpoint, holding, done)),
        )

    async def replay(self, endpoint: Endpoint, *, dead_before: float) -> int:
        page = partial(webhook_letters.replay_all, endpoint=endpoint, dead_before=dead_before)
        replayed = 0
        while found := await self._calls.call("webhooks", lambda store: store.transact(page)):
            replayed += found
        return replayed

    async def figures(self, endpoint: Endpoint) -> Figures:
        return await self._calls.call(
            "webhooks", lambda store: store.read(lambda tx: rules.figures(tx, endpoint))
        )

    def signal(self, tenant: str) -> Signal:
        return self._calls.signal(tenant)
