"""Figures for leads and for caps on exposure: counted alike by every backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple
from typing import Any

from helpers.review_queue import Desk
from imagesieve_server.core.review import Cause, Outcome
from imagesieve_server.core.review_afterwards import EraseRequest, ReopenRequest
from imagesieve_server.core.review_figures import (
    DecidedCount,
    Judged,
    TakenCount,
    Waiting,
    precision,
)
from imagesieve_server.review_queue import figures
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.figures import QueueFigures
from imagesieve_server.review_queue.store import RuledStore
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.testing import RecordingMetrics

HOUR = 3600.0


def waiting(desk: Desk, **limits: int) -> Waiting:
    return desk.store.read(lambda tx: figures.waiting(tx, "t", **limits))


def judged(desk: Desk, *, since: float = 0.0, until: float = 9e9, **limits: int) -> Judged:
    return desk.store.read(lambda tx: figures.judged(tx, "t", since=since, until=until, **limits))


def told(desk: Desk) -> list[tuple[object, ...]]:
    return [astuple(count) for count in judged(desk).counts]


@asynccontextmanager
async def reading(desk: Desk) -> AsyncIterator[QueueFigures]:
    """The figures as the console asks for them."""
    writer = QueueWriter(
        store=NotClosed(desk.store),  # type: ignore[arg-type]
        evidence=MemoryEvidence(),
        metrics=RecordingMetrics(),
    )
    try:
        yield QueueFigures(calls=writer.calls)
    finally:
        await writer.close()


async def decided(desk: Desk, *, since: float) -> Sequence[DecidedCount]:
    async with reading(desk) as found:
        return await found.decided(tenant="t", since=since, until=since + 2 * HOUR)


async def taken(desk: Desk, *, tenant: str = "t", **asked: Any) -> Sequence[TakenCount]:
    async with reading(desk) as found:
        return await found.taken(tenant=tenant, **asked)


class NotClosed:
    """A store that goes on after one of its writers."""

    def __init__(self, store: RuledStore) -> None:
        self._store = store

    def close(self) -> None:
        """It is the test's to close."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def say(desk: Desk, request_id: str, outcome: Outcome = Outcome.REJECT, **fields: object) -> str:
    """Keep a flag and decide it."""
    given = {"labels": fields.pop("labels", ()), "reviewer": fields.pop("reviewer", "ann")}
    item = desk.keep(request_id, **fields).item_id
    lease = desk.lease(item_id=item, reviewer=given["reviewer"])
    desk.decide(lease, outcome, **given)
    desk.clock.advance(1.0)
    return item


# --- what waits ------------------------------------------------------------------------------


def test_what_waits_is_counted_by_category(desk: Desk) -> None:
    start = desk.clock()
    desk.keep("r1", category="a", severity=4)  # due half an hour after its arrival
    desk.clock.advance(2 * HOUR)
    desk.keep("r2", category="a", severity=4)
    desk.keep("r3", category="a", severity=1)
    desk.keep("r4", category="")
    desk.keep("leased", category="b")
    desk.lease(categories=("b",))
    desk.keep("theirs", category="a", tenant="other")
    none, a = waiting(desk).counts
    assert (none.category, none.items, none.overdue, none.due_soon) == ("", 1, 0, 0)
    assert (a.category, a.items, a.told, a.overdue, a.due_soon) == ("a", 3, 3, 1, 1)
    assert a.oldest_at == start
    assert waiting(desk).now == desk.clock()
    assert not waiting(desk).partial


def test_of_blind_items_the_number_alone_is_told(desk: Desk) -> None:
    desk.keep("r1", category="a", severity=4, blind=True)
    desk.clock.advance(2 * HOUR)
    (count,) = waiting(desk).counts
    assert (count.items, count.told, count.overdue, count.oldest_at) == (1, 0, 0, None)


def test_an_item_that_was_reopened_waits_since_then(desk: Desk) -> None:
    item = say(desk, "r1")
    desk.clock.advance(HOUR)
    desk.store.reopen(ReopenRequest(tenant="t", item_id=item, cause=Cause.APPEAL))
    assert waiting(desk).counts[0].oldest_at == desk.clock()


def test_of_very_many_the_oldest_are_counted(desk: Desk) -> None:
    for n in range(5):
        desk.keep(f"r{n}", category="old" if n < 3 else "new")
        desk.clock.advance(1.0)
    found = waiting(desk, look_at=4)
    assert [(count.category, count.items) for count in found.counts] == [("new", 1), ("old", 3)]
    assert found.partial


# --- what people said ------------------------------------------------------------------------


def test_every_word_counts_in_its_hour(desk: Desk) -> None:
    """Second words, escalations and decisions undone since then, too: they were made."""
    start = desk.clock()
    say(desk, "r1", Outcome.ESCALATE)
    item = say(desk, "r2")
    desk.store.reopen(ReopenRequest(tenant="t", item_id=item, cause=Cause.UNDO))
    desk.clock.advance(HOUR)
    say(desk, "r3", Outcome.APPROVE, reviewer="bob")
    say(desk, "r4")
    assert [astuple(count) for count in asyncio.run(decided(desk, since=start))] == [
        (0, "ann", Outcome.ESCALATE, 1),
        (0, "ann", Outcome.REJECT, 1),
        (1, "ann", Outcome.REJECT, 1),
        (1, "bob", Outcome.APPROVE, 1),
    ]


def test_a_span_begins_with_its_first_moment_and_ends_before_its_last(desk: Desk) -> None:
    at = desk.clock()
    say(desk, "r1")
    for since, until, many in ((at, at + 1, 1), (at - 1, at, 0), (at - HOUR, at + HOUR, 1)):
        span = {"since": since, "until": until}
        counts = desk.store.read(lambda tx, span=span: tx.decided_counts("t", **span))
        assert sum(count.decisions for count in counts) == many
        assert sum(c.items for c in judged(desk, since=since, until=until).counts) == many


def test_decisions_without_a_look_are_nobodys_work(desk: Desk) -> None:
    """The law's word, and one that is used again, count neither as work nor as precision."""
    say(desk, "r1", content="bytes")
    desk.keep("again", "bytes", reuse_decision=True)
    desk.keep("r2")
    desk.store.erase(
        EraseRequest(tenant="t", reason="law", sha256=desk.flag("r2").sha256, actor="lea")
    )
    now = desk.clock()
    counts = desk.store.read(lambda tx: tx.decided_counts("t", since=now - HOUR, until=now + 1))
    assert sum(count.decisions for count in counts) == 1
    assert sum(count.items for count in judged(desk).counts) == 1


# --- precision -------------------------------------------------------------------------------


def test_flags_are_judged_by_the_decision_in_effect(desk: Desk) -> None:
    say(desk, "r1", labels=("weapons",))
    say(desk, "r2", Outcome.APPROVE)
    undone = say(desk, "r3")
    changed = say(desk, "r4")
    for item in (undone, changed):
        desk.store.reopen(ReopenRequest(tenant="t", item_id=item, cause=Cause.UNDO))
    desk.decide(desk.lease(item_id=changed, reviewer="bob"), Outcome.APPROVE, reviewer="bob")
    assert told(desk) == [
        ("weapons", Outcome.APPROVE, (), 2),
        ("weapons", Outcome.REJECT, ("weapons",), 1),
    ]


def test_an_item_of_two_reviews_counts_once(desk: Desk) -> None:
    item = desk.keep("r1", reviews_needed=2).item_id
    for reviewer in ("ann", "bob"):
        desk.decide(desk.lease(item_id=item, reviewer=reviewer), reviewer=reviewer)
        desk.clock.advance(1.0)
    assert told(desk) == [("weapons", Outcome.REJECT, (), 1)]


def test_samples_and_what_no_category_flagged_have_no_precision(desk: Desk) -> None:
    say(desk, "sample", audit=True)
    say(desk, "undecodable", category="")
    assert told(desk) == []


def test_of_very_many_the_last_are_judged(desk: Desk) -> None:
    for n in range(4):
        say(desk, f"r{n}", category=f"c{n}")
    found = judged(desk, look_at=2)
    assert [count.category for count in found.counts] == ["c2", "c3"]
    assert found.partial
    assert not judged(desk, look_at=5).partial


def test_a_flag_is_confirmed_by_a_rejection_under_its_label_or_under_none(desk: Desk) -> None:
    for n, labels in enumerate([("weapons", "drugs"), (), ("drugs",)]):
        say(desk, f"r{n}", labels=labels)
    say(desk, "r9", Outcome.APPROVE)
    share = precision(judged(desk).counts)["weapons"]
    assert (share.events, share.of) == (2, 4)


# --- what was taken in hand ------------------------------------------------------------------


def test_items_taken_in_hand_are_counted_once_each(desk: Desk) -> None:
    first = desk.keep("r1", severity=4).item_id
    desk.keep("r2", severity=1)
    for _ in range(3):
        lease = desk.lease(item_id=first)
        desk.store.release(tenant="t", item_id=first, token=lease.token)
    desk.clock.advance(10.0)
    since = desk.clock()
    desk.lease(item_id=first)
    desk.lease(reviewer="bob")
    everybody = asyncio.run(taken(desk, since=0.0))
    assert [astuple(count) for count in everybody] == [("ann", 4, 1), ("bob", 1, 1)]
    bob = asyncio.run(taken(desk, since=since, reviewer="bob"))
    assert [astuple(count) for count in bob] == [("bob", 1, 1)]
    assert asyncio.run(taken(desk, since=desk.clock() + 1.0)) == []
    assert asyncio.run(taken(desk, since=0.0, tenant="other")) == []
