"""Values that cross the port between what delivers webhooks and the queue's store.

An endpoint is one receiver of one tenant's decision events. What it has not been told is
either behind its position in the tenant's sequence, or kept as a delivery: one that is tried
again, one that waits behind it because it is about the same item, or a dead letter. Times are
seconds since the epoch by the store's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from imagesieve_server.core.review_events import DecisionEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One event that an endpoint is to be told."""

    position: int
    item_id: str
    event: DecisionEvent
    created_at: float
    kept: bool  # as a delivery; else behind the endpoint's position
    attempts: int = 0  # that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An endpoint that this server delivers, until it lets its hold run out."""

    position: int  # events up to here are told, or kept as deliveries
    gone: str  # mark of the configuration under which it answered 410; "" where it did not
    skipped: int = 0  # events that retention removed while nobody served the endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What there is to do at one endpoint."""

    fresh: tuple[Work, ...]  # behind the place asked about, in order
    blocked: frozenset[str]  # items of these that have deliveries already
    due: tuple[Work, ...]  # deliveries whose time has come, at most one an item
    next_due_in_s: float | None  # until the time of the next one comes; None: there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """One attempt that failed."""

    work: Work
    result: str  # a Result's value and the status, for people
    retry_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of some events; written in one transaction."""

    position: int  # everything up to here is told, or kept after this
    told: tuple[Work, ...] = ()  # deliveries that are done
    failed: tuple[Failed, ...] = ()
    behind: tuple[Work, ...] = ()  # fresh ones that wait for another one of the same item
    gone: str = ""  # mark of the configuration, where the endpoint answered 410
    recovered: bool = False  # it was down: what waits for its time may come at once

    @property
    def empty(self) -> bool:
        """Whether nothing but the position is in it."""
        return not (self.told or self.failed or self.behind or self.gone or self.recovered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How far an endpoint is."""

    oldest_at: float | None  # when the oldest event that it has not been told was made
    retrying: int  # deliveries, dead letters excepted
    dead: int
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event that an endpoint was not told in time."""

    tenant: str
    endpoint: str
    position: int
    item_id: str
    decision_id: str
    request_id: str
    event_id: str
    created_at: float
    dead_at: float
    attempts: int
    result: str  # of the last attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an endpoint's state is found."""

    tenant: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Who asks for an endpoint, and for how long."""

    holder: str  # one process
    ttl_s: float
    give_up_s: float  # from an event's first failure until it is a dead letter
    from_oldest: bool = False  # where a new endpoint begins: with the oldest event kept, or now


class Signal(Protocol):
    """Something that happens once."""

    async def wait(self) -> object:
        """Until it has happened."""
        ...


class Outbox(Protocol):
    """The store, as deliverers use it. Every method raises StoreUnavailable."""

    async def hold(self, endpoint: Endpoint, holding: Holding) -> Held | None:
        """Make this server the one that delivers, for ``ttl_s`` from now; None where another
        one is. Repeated, it holds on."""
        ...

    async def release(self, endpoint: Endpoint, holding: Holding) -> None:
        """Let another server go on at once."""
        ...

    async def work(self, endpoint: Endpoint, *, after: int, fresh: int, due: int) -> Page:
        """What there is to do: ``fresh`` and ``due`` are the most of each."""
        ...

    async def as_now(
        self, endpoint: Endpoint, works: Sequence[Work]
    ) -> Mapping[int, DecisionEvent]:
        """The events of these as they are told now, by position: what their uploads carried may
        have been erased since they were read."""
        ...

    async def settle(self, endpoint: Endpoint, holding: Holding, done: Settlement) -> bool:
        """Write what became of events, and hold on; False where the hold is lost, and with it
        what was to be written."""
        ...

    async def replay(self, endpoint: Endpoint, *, dead_before: float) -> int:
        """Let dead letters that died before then be tried again, in order; how many."""
        ...

    async def figures(self, endpoint: Endpoint) -> Figures: ...

    def signal(self, tenant: str) -> Signal:
        """Of the tenant's next decision at this server; to be taken before one looks."""
        ...
