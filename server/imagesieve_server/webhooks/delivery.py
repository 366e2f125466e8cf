"""One stretch of delivering to an endpoint, from the moment on that this server holds it.

What may start, and what an attempt's end means, are the core's rules; what was told and what is
tried again are the store's. Here they meet: take what is to do, send it, settle it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from imagesieve_server.core.review_events import DecisionEvent
from imagesieve_server.core.webhook_port import Held, Holding, Outbox, Page, Signal, Work
from imagesieve_server.core.webhook_rules import Breaker, Result, retry_in_s
from imagesieve_server.core.webhook_window import Window
from imagesieve_server.core.webhooks import body_of, event_id
from imagesieve_server.webhooks.endpoints import Receiver
from imagesieve_server.webhooks.sender import Answer, Sender

log = logging.getLogger(__name__)

WIDTH = 200
"""Events in hand at most: a few hundred kilobytes."""
SETTLE_AT = 64
"""Fates after which they are written, though there is more to start."""
IDLE_S = 2.0
"""Between looks for decisions of other servers."""

TRUE_S = 5.0
"""What was read longer ago is read again before it is told: an endpoint that was down for long
must not be told what was erased by law meanwhile."""

Flight = asyncio.Task[Answer]


class WebhookMetrics(Protocol):
    """What is counted here."""

    def webhook_attempt(self, endpoint: str, result: str) -> None:
        """One attempt ended; ``result`` is a Result."""
        ...


class Time(Protocol):
    """How a courier waits; tests drive it."""

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    async def wait(
        self, flights: Collection[asyncio.Task[Any]], signal: Signal, seconds: float
    ) -> None:
        """Until a flight has landed, the signal was given, or so long."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What delivers to one endpoint is made of."""

    receiver: Receiver
    outbox: Outbox
    sender: Sender
    metrics: WebhookMetrics
    time: Time
    holder: str  # names this process
    chance: Callable[[], float]  # gives numbers in [0, 1)

    @property
    def holding(self) -> Holding:
        """An attempt begins only where it ends before the hold does, so that no two servers
        tell events of one item at once."""
        return Holding(
            holder=self.holder,
            ttl_s=2 * self.receiver.timeout_s + 20.0,
            give_up_s=self.receiver.give_up_s,
            from_oldest=self.receiver.from_oldest,
        )

    @property
    def renew_s(self) -> float:
        """How long before its end a hold is renewed."""
        return self.receiver.timeout_s + 5.0

    def about(self, problem: str) -> dict[str, str]:
        """For the log."""
        return {"endpoint": self.receiver.endpoint.name, "problem": problem}


class Delivery:
    """``held_until``: by the route's clock."""

    def __init__(self, route: Route, held: Held, *, held_until: float) -> None:
        self._route = route
        self._endpoint = route.receiver.endpoint
        self._time = route.time
        self._window = Window(position=held.position, width=WIDTH)
        self._breaker = Breaker()
        self._flights: dict[Flight, Work] = {}
        self._held_until = held_until
        self._read_at = float("-inf")  # nothing in hand was read before then
        self._as_now: Mapping[int, DecisionEvent] = {}  # what was read again, by position
        self._clear_gone = bool(held.gone)
        self._gone = False
        self._recovered = False

    async def run(self) -> bool:
        """Until the hold is lost, or the endpoint wants nothing more: then True."""
        try:
            while True:
                signal = self._route.outbox.signal(self._endpoint.tenant)
                self._land()
                if not await self._settle():
                    return False
                if self._gone:
                    return True
                page = await self._take()
                await self._read_again()
                self._start()
                if not (self._window.startable == 0 and self._window.unsettled):
                    await self._time.wait(self._flights, signal, self._patience_s(page))
        finally:
            for flight in self._flights:
                flight.cancel()
            await asyncio.gather(*self._flights, return_exceptions=True)

    def _land(self) -> None:
        for flight in [flight for flight in self._flights if flight.done()]:
            work = self._flights.pop(flight)
            answer = self._answer_of(flight)
            self._route.metrics.webhook_attempt(self._endpoint.name, answer.result.value)
            if answer.told:
                self._window.told(work)
                self._recovered |= self._breaker.told()
            else:
                self._failed(work, answer)

    def _answer_of(self, flight: Flight) -> Answer:
        """A mistake of ours fails one event and not the endpoint."""
        problem = flight.exception()
        if problem is None:
            return flight.result()
        log.error("an attempt broke", extra=self._route.about(""), exc_info=problem)
        return Answer(result=Result.UNREACHABLE, detail="the attempt broke")

    def _failed(self, work: Work, answer: Answer) -> None:
        wait = retry_in_s(work.attempts + 1, chance=self._route.chance())
        self._window.failed(
            work, result=answer.words, retry_in_s=max(wait, answer.patience_s or 0.0)
        )
        said = {
            **self._route.about(answer.words),
            "event_id": self._event_id(work),
            "attempts": work.attempts + 1,
        }
        if answer.result is Result.GONE:
            self._gone = True
            log.error("endpoint is gone; it is left alone until the file changes", extra=said)
            return
        log.warning("webhook not told", extra=said)
        self._breaker.failed(
            work.item_id,
            now=self._time.monotonic(),
            chance=self._route.chance(),
            patience_s=answer.patience_s if answer.overloaded else None,
        )

    async def _settle(self) -> bool:
        """Write what is certain, where it is time to; False where the hold is lost."""
        window, now = self._window, self._time.monotonic()
        at_rest = not self._flights and not self._may_start(now)
        due = window.unsettled and (
            not window.startable or at_rest or window.unsettled >= SETTLE_AT
        )
        renew = now >= self._held_until - self._route.renew_s
        if not (due or renew or self._gone or self._recovered or self._clear_gone):
            return True
        done = window.drain(
            gone=self._route.receiver.mark if self._gone else "", recovered=self._recovered
        )
        self._recovered = self._clear_gone = False
        self._held_until = now + self._route.holding.ttl_s
        return await self._route.outbox.settle(self._endpoint, self._route.holding, done)

    async def _take(self) -> Page | None:
        """Look for more where nothing is left to start: half of it new, half of it again, so
        that many that fail do not keep new ones waiting, nor the reverse."""
        window = self._window
        if window.startable or not window.room:
            return None
        if not window.in_hand:
            self._read_at, self._as_now = self._time.monotonic(), {}
        page = await self._route.outbox.work(
            self._endpoint,
            after=window.read_to,
            fresh=window.room // 2,
            due=(window.room + 1) // 2,
        )
        window.take(page.fresh, blocked=page.blocked)
        window.retry(page.due)
        return page

    async def _read_again(self) -> None:
        """Before something is told that waited in hand, see what is kept of it now."""
        now, works = self._time.monotonic(), self._window.in_hand
        if not works or now - self._read_at < TRUE_S or not self._may_start(now):
            return
        self._as_now = await self._route.outbox.as_now(self._endpoint, works)
        self._read_at = now

    def _start(self) -> None:
        for work in self._window.start(self._may_start(self._time.monotonic())):
            self._flights[asyncio.ensure_future(self._attempt(work))] = work

    async def _attempt(self, work: Work) -> Answer:
        body = body_of(
            self._endpoint.tenant, work.position, self._as_now.get(work.position, work.event)
        )
        return await self._route.sender.send(self._event_id(work), body)

    def _may_start(self, now: float) -> int:
        if now + self._route.receiver.timeout_s >= self._held_until:
            return 0  # the store was slow; first the hold is renewed
        return self._breaker.may_start(
            in_flight=len(self._flights),
            concurrency=self._route.receiver.concurrency,
            now=now,
        )

    def _patience_s(self, page: Page | None) -> float:
        now = self._time.monotonic()
        waits = [self._held_until - self._route.renew_s - now, IDLE_S]
        if self._window.startable:
            waits[1] = self._breaker.waits_s(now=now) or IDLE_S
        elif page is not None and page.next_due_in_s:
            waits.append(page.next_due_in_s)
        return max(0.0, min(waits))

    def _event_id(self, work: Work) -> str:
        event = work.event
        return event_id(self._endpoint.tenant, event.decision.decision_id, event.request_id)
