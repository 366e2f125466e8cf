"""A courier for each endpoint in force, and how far each one is."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time as clock
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.webhook_port import Figures, Outbox, Signal
from imagesieve_server.webhooks.courier import run_courier
from imagesieve_server.webhooks.delivery import Route, Time, WebhookMetrics
from imagesieve_server.webhooks.endpoints import Receiver, Receivers
from imagesieve_server.webhooks.sender import Sender

log = logging.getLogger(__name__)

FIGURES_S = 15.0
"""Between looks at how far each endpoint is."""


class OfficeMetrics(WebhookMetrics, Protocol):
    """What is counted of all endpoints."""

    def webhook_endpoints(self, endpoints: Sequence[str]) -> None:
        """These and no others are in force."""
        ...

    def webhook_figures(self, endpoint: str, figures: Figures) -> None:
        """How far one of them is."""
        ...


class RealTime:
    """Waits as long as it says."""

    def monotonic(self) -> float:
        return clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(
        self, flights: Collection[asyncio.Task[Any]], signal: Signal, seconds: float
    ) -> None:
        """See ``courier.Time``."""
        given = asyncio.ensure_future(signal.wait())
        try:
            await asyncio.wait(
                {*flights, given}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            given.cancel()


class PostOffice:
    """``make_sender`` makes what tells one endpoint; ``time`` is how couriers wait. ``holder``
    names this process among those that may deliver; empty: a name that nobody else has."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        make_sender: Callable[[Receiver], Sender],
        metrics: OfficeMetrics,
        time: Time,
        holder: str = "",
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._make_sender = make_sender
        self._metrics = metrics
        self._time = time
        self._chance = chance
        self._holder = holder or secrets.token_hex(16)
        self._at_work: dict[str, tuple[Receiver, asyncio.Task[None]]] = {}

    async def put_in_force(self, receivers: Receivers) -> None:
        """Deliver to these from now on, and to no others. What did not change goes on."""
        gone = [
            name for name, (before, _) in self._at_work.items() if receivers.get(name) != before
        ]
        await self._stop(gone)
        for name, receiver in receivers.items():
            if name not in self._at_work:
                self._at_work[name] = (receiver, self._start(receiver))
        self._metrics.webhook_endpoints(sorted(receivers))

    async def count(self) -> None:
        """Report how far each endpoint is, now and then. Runs until cancelled."""
        while True:
            for name, (receiver, _) in list(self._at_work.items()):
                try:
                    figures = await self._outbox.figures(receiver.endpoint)
                except StoreUnavailable as problem:
                    log.warning("webhooks not counted", extra={"problem": problem.message})
                    break
                if name in self._at_work:
                    self._metrics.webhook_figures(name, figures)
            await self._time.sleep(FIGURES_S)

    async def close(self) -> None:
        """Stop; what was being told is told again by whoever goes on."""
        await self._stop(list(self._at_work))

    def _start(self, receiver: Receiver) -> asyncio.Task[None]:
        route = Route(
            receiver=receiver,
            outbox=self._outbox,
            sender=self._make_sender(receiver),
            metrics=self._metrics,
            time=self._time,
            holder=self._holder,
            chance=self._chance,
        )
        task = asyncio.create_task(run_courier(route), name=f"webhooks to {receiver.endpoint.name}")
        task.add_done_callback(_say_if_broken)
        return task

    async def _stop(self, names: Sequence[str]) -> None:
        tasks = [self._at_work.pop(name)[1] for name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _say_if_broken(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        log.error("delivery broke and has ended", extra={"work": task.get_name()}, exc_info=problem)
