"""The delivery of webhooks with everything real but the clock: store, HTTP, couriers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from helpers.review_queue import Desk, ManualClock
from helpers.webhook_receiver import SECRET
from imagesieve_server.core.review import Cause, Outcome
from imagesieve_server.core.review_afterwards import ReopenRequest
from imagesieve_server.core.webhook_port import Endpoint, Figures, Signal
from imagesieve_server.core.webhooks import signing_key
from imagesieve_server.review_queue.evidence_gate import EvidenceGate
from imagesieve_server.review_queue.signals import Signals
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.store_calls import StoreCalls
from imagesieve_server.review_queue.store_thread import StoreThreads
from imagesieve_server.review_queue.webhook_outbox import StoreOutbox
from imagesieve_server.webhooks.endpoints import Receiver
from imagesieve_server.webhooks.post_office import PostOffice
from imagesieve_server.webhooks.sender import HttpSender
from imagesieve_server.webhooks.where import where_of

TRUST = ssl.create_default_context()


class ManualTime:
    """Time passes where nothing is in flight, and only there: then at once.

    ``step`` is run each time before it passes; it may make decisions, or start a receiver.
    """

    def __init__(self, clock: ManualClock, step: Callable[[], Any] = lambda: None) -> None:
        self._clock = clock
        self._step = step

    def monotonic(self) -> float:
        return self._clock()

    async def sleep(self, seconds: float) -> None:
        await self._pass(seconds)

    async def wait(
        self, flights: Collection[asyncio.Task[Any]], signal: Signal, seconds: float
    ) -> None:
        if flights:
            await asyncio.wait(flights, return_when=asyncio.FIRST_COMPLETED)
        else:
            await self._pass(seconds)

    async def _pass(self, seconds: float) -> None:
        done = self._step()
        if asyncio.iscoroutine(done):
            await done
        self._clock.advance(max(seconds, 0.001))
        await asyncio.sleep(0)


@dataclass(kw_only=True)
class Counted:
    """Metrics as a list of what was said."""

    attempts: list[tuple[str, str]] = field(default_factory=list)
    figures: dict[str, Figures] = field(default_factory=dict)
    in_force: list[list[str]] = field(default_factory=list)

    def webhook_attempt(self, endpoint: str, result: str) -> None:
        self.attempts.append((endpoint, result))

    def webhook_figures(self, endpoint: str, figures: Figures) -> None:
        self.figures[endpoint] = figures

    def webhook_endpoints(self, endpoints: Any) -> None:
        self.in_force.append(list(endpoints))

    def store_commit(self, *, flags: int, seconds: float) -> None: ...

    def store_error(self, operation: str) -> None: ...

    def review_quality(self, what: str) -> None: ...

    def results(self, endpoint: str = "hook") -> list[str]:
        return [result for name, result in self.attempts if name == endpoint]


def receiver_of(url: str, *, name: str = "hook", **fields: Any) -> Receiver:
    plain: dict[str, Any] = {
        "endpoint": Endpoint(tenant="t", name=name),
        "where": where_of(url, allow_http=False),
        "keys": (signing_key(SECRET),),
        "timeout_s": 1.0,
        "from_oldest": True,
        "mark": "file 1",
    }
    return Receiver(**{**plain, **fields})


@contextlib.asynccontextmanager
async def outbox_of(store: RuledStore, metrics: Counted) -> AsyncIterator[StoreOutbox]:
    """The store's outbox; the store is not closed with it."""
    calls = StoreCalls(
        threads=StoreThreads(store=_Lent(store), metrics=metrics, max_group=64),  # type: ignore[arg-type]
        evidence_threads=1,
        gate=EvidenceGate(),
        signals=Signals(),
        metrics=metrics,
        patience_s=30.0,
    )
    yield StoreOutbox(calls=calls)
    await calls.close()


class _Lent:
    """A store that somebody else closes."""

    def __init__(self, store: RuledStore) -> None:
        self.transact, self.read = store.transact, store.read

    def close(self) -> None: ...


@contextlib.asynccontextmanager
async def office_of(
    outbox: StoreOutbox,
    metrics: Counted,
    waits: Any,
    *receivers: Receiver,
    seed: int = 1,
    sender: type[HttpSender] = HttpSender,
) -> AsyncIterator[PostOffice]:
    """A server's couriers at work."""
    office = PostOffice(
        outbox=outbox,
        make_sender=lambda receiver: sender(
            receiver=receiver, trust=TRUST, user_agent="test", wall_clock=time.time
        ),
        metrics=metrics,
        time=waits,
        chance=random.Random(seed).random,
    )
    await office.put_in_force({each.endpoint.name: each for each in receivers})
    try:
        yield office
    finally:
        await office.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait in real time, as long as the test may take."""
    while not condition():
        await asyncio.sleep(0.005)


@dataclass(kw_only=True)
class Decider:
    """Makes decisions: of new items, and again of old ones."""

    desk: Desk
    chance: random.Random
    items: list[str] = field(default_factory=list)

    def decide(self) -> None:
        if self.items and self.chance.random() < 0.5:
            item_id = self.chance.choice(self.items)
            self.desk.store.reopen(ReopenRequest(tenant="t", item_id=item_id, cause=Cause.APPEAL))
            lease = self.desk.lease(item_id=item_id, reviewer=self._somebody())
        else:
            self.items.append(self.desk.keep(f"r{len(self.items)}").item_id)
            lease = self.desk.lease(item_id=self.items[-1], reviewer=self._somebody())
        outcome = self.chance.choice([Outcome.APPROVE, Outcome.REJECT])
        self.desk.decide(lease, outcome, reviewer=lease.item.claimed_by)

    def _somebody(self) -> str:
        """Nobody judges a contested item who judged it before."""
        return f"reviewer {self.desk.claims}"

    def expected(self) -> dict[str, list[str]]:
        """Sequences by item, as a receiver should have them."""
        rows = self.desk.store.decision_events(tenant="t", after=0, limit=100_000)
        found: dict[str, list[str]] = {}
        for row in rows:
            found.setdefault(row.item_id, []).append(f"{row.position:020d}")
        return found
