"""Random walks through the queue: both stores do the same, and the promises always hold.

For longer walks set IMAGESIEVE_MACHINE_EXAMPLES=500 and IMAGESIEVE_MACHINE_STEPS=200.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from helpers.review_queue import Desk, ManualClock
from imagesieve_server.core.errors import RequestError
from imagesieve_server.core.review import OPEN, Item, Lease, ListRequest, Outcome, State, arrow
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.sqlite import open_sqlite

EXAMPLES = int(os.environ.get("IMAGESIEVE_MACHINE_EXAMPLES", "10"))
STEPS = int(os.environ.get("IMAGESIEVE_MACHINE_STEPS", "25"))

contents = st.sampled_from(["a", "b", "c"])
reviewers = st.sampled_from(["ann", "ben"])
indexes = st.integers(min_value=0, max_value=7)
seconds = st.sampled_from([1.0, 300.0, 601.0, 7300.0, -400.0])


def plain(item: Item) -> dict[str, Any]:
    """What both stores must agree on; ids are each store's own."""
    return {
        "sha256": item.sha256,
        "state": item.state,
        "verdict": item.verdict,
        "rank": item.rank,
        "due": item.due_at,
        "submissions": item.submissions,
        "tier": item.tier,
        "expiries": item.expiries,
        "claimed_by": item.claimed_by,
        "lease_until": item.lease_until,
        "said": [(d.outcome, d.effective, d.reviewer, d.decided_at) for d in item.decisions],
        "earlier": item.earlier and item.earlier.outcome,
    }


class QueueMachine(RuleBasedStateMachine):
    """The same commands go to both stores; ``acknowledged`` is the callers' memory."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        shutil.copyfile(self.template, self.folder / "queue.db")
        self.clock = ManualClock()
        sqlite = open_sqlite(path=self.folder / "queue.db", clock=self.clock)
        self.desks = [
            Desk(store=memory_store(clock=self.clock), clock=self.clock),
            Desk(store=sqlite, clock=self.clock),
        ]
        self.acknowledged: dict[str, tuple[str, ...]] = {}  # request_id: content, item ids
        self.leases: list[tuple[Lease, ...]] = []

    def teardown(self) -> None:
        self.desks[1].store.close()
        shutil.rmtree(self.folder)

    def both(self, command: Callable[[Desk, int], Any]) -> list[Any]:
        """Run on each store; both succeed, or both fail with the same error."""
        results: list[Any] = []
        for place, desk in enumerate(self.desks):
            try:
                results.append(command(desk, place))
            except RequestError as problem:
                results.append(type(problem))
        failed = [isinstance(result, type) for result in results]
        assert failed[0] == failed[1], results
        if failed[0]:
            assert results[0] is results[1]
        return results

    def leased(self, index: int) -> tuple[Lease, ...] | None:
        return self.leases[index % len(self.leases)] if self.leases else None

    @rule(number=st.integers(0, 30), content=contents, severity=st.integers(1, 4))
    def submit(self, number: int, content: str, severity: int) -> None:
        name = f"r{number}"
        # Whole seconds pass elsewhere, so no two ranks tie; ties go by random item ids.
        self.clock.advance(0.001)
        needed = 2 if severity == 4 else 1
        results = self.both(
            lambda desk, _: desk.keep(name, content, severity=severity, reviews_needed=needed)
        )
        known = self.acknowledged.get(name)
        if isinstance(results[0], type):
            assert known is not None
            assert known[0] != content
            return
        ids = (content, *(result.item_id for result in results))
        assert self.acknowledged.setdefault(name, ids) == ids
        assert all(result.repeated == (known is not None) for result in results)

    @rule(reviewer=reviewers, tier=st.integers(1, 2), claim_id=st.integers(0, 40))
    def claim(self, reviewer: str, tier: int, claim_id: int) -> None:
        results = self.both(
            lambda desk, _: desk.claim(reviewer=reviewer, tier=tier, claim_id=str(claim_id))
        )
        assert (results[0] is None) == (results[1] is None)
        if isinstance(results[0], Lease):
            assert plain(results[0].item) == plain(results[1].item)
            self.leases.append(tuple(results))

    @rule(index=indexes, reviewer=reviewers, outcome=st.sampled_from(list(Outcome)))
    def decide(self, index: int, reviewer: str, outcome: Outcome) -> None:
        if leases := self.leased(index):
            self.both(lambda desk, i: desk.decide(leases[i], outcome, reviewer=reviewer).effective)

    @rule(index=indexes)
    def release(self, index: int) -> None:
        if leases := self.leased(index):
            results = self.both(
                lambda desk, i: (
                    desk.store.release(
                        tenant="t", item_id=leases[i].item.item_id, token=leases[i].token
                    ).state
                )
            )
            assert results[0] == results[1]

    @rule(index=indexes, lease_s=st.sampled_from([60.0, 900.0, 7200.0]))
    def extend(self, index: int, lease_s: float) -> None:
        if leases := self.leased(index):
            self.both(
                lambda desk, i: desk.store.extend(
                    tenant="t",
                    item_id=leases[i].item.item_id,
                    token=leases[i].token,
                    lease_s=lease_s,
                )
            )

    @rule(index=indexes)
    def requeue(self, index: int) -> None:
        if leases := self.leased(index):
            self.both(
                lambda desk, i: desk.store.requeue(tenant="t", item_id=leases[i].item.item_id).state
            )

    @rule(by=seconds)
    def pass_time(self, by: float) -> None:
        self.clock.advance(by)

    @rule()
    def expire(self) -> None:
        results = self.both(lambda desk, _: desk.store.expire_leases())
        assert results[0] == results[1]

    @rule()
    def wear_out(self) -> None:
        """Five forgotten leases: the short way to PARKED."""
        for _ in range(5):
            self.both(lambda desk, _: desk.claim() is None)
            self.clock.advance(7300.0)
            self.both(lambda desk, _: desk.store.expire_leases())

    @invariant()
    def both_hold_the_same_and_the_promises_hold(self) -> None:
        everything = ListRequest(tenant="t", states=tuple(State), page_size=500)
        lists = [list(desk.store.list(everything).items) for desk in self.desks]
        key = lambda item: (item.enqueued_at, item.sha256)  # noqa: E731
        assert [plain(i) for i in sorted(lists[0], key=key)] == [
            plain(i) for i in sorted(lists[1], key=key)
        ]
        for place, items in enumerate(lists):
            self.promises(place, items)

    def promises(self, place: int, items: list[Item]) -> None:
        desk = self.desks[place]
        opened = Counter(item.sha256 for item in items if item.state in OPEN)
        assert all(count == 1 for count in opened.values()), "one open item per bytes"
        kept = Counter(ids[1 + place] for ids in self.acknowledged.values())
        assert kept == Counter({item.item_id: item.submissions for item in items})
        events = desk.store.decision_events(tenant="t", after=0, limit=10_000)
        assert [event.position for event in events] == list(range(1, len(events) + 1))
        told = Counter(event.request_id for event in events)
        for item in items:
            effective = [d for d in item.decisions if d.effective]
            assert len(effective) == (1 if item.state is State.DECIDED else 0)
            mine = [name for name, ids in self.acknowledged.items() if item.item_id in ids]
            expected = 1 if item.state is State.DECIDED else 0
            assert all(told[name] == expected for name in mine), "each uploader is told once"
            assert desk.store.chain_problems(tenant="t", item_id=item.item_id) == ()
            steps = desk.store.history(tenant="t", item_id=item.item_id)
            assert steps[-1].target is item.state
            for step in steps:
                drawn = arrow(step.source, step.cause)
                assert drawn is not None
                assert drawn.target is step.target


@pytest.mark.timeout(0)
def test_random_walks_keep_every_promise(migrated: Path) -> None:
    QueueMachine.template = migrated
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
