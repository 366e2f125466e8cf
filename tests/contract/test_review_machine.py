"""Random walks through the queue: both stores do the same, and the promises always hold.

For longer walks set IMAGESIEVE_MACHINE_EXAMPLES=500 and IMAGESIEVE_MACHINE_STEPS=200, or run
``make machine``.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from helpers.postgres import PostgresServer
from helpers.queue_walk import Place, Walk
from helpers.review_queue import Desk, ManualClock
from imagesieve_server.core.review import Cause, Outcome
from imagesieve_server.core.review_afterwards import REOPENING
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.sqlite import open_sqlite
from imagesieve_server.review_queue.store import RuledStore

sys.path.insert(0, str(Path(__file__).parents[1] / "long"))
import machine

EXAMPLES = int(os.environ.get("IMAGESIEVE_MACHINE_EXAMPLES", "10"))
STEPS = int(os.environ.get("IMAGESIEVE_MACHINE_STEPS", "25"))
DAY = 86400.0

contents = st.sampled_from(["a", "b", "c"])
reviewers = st.sampled_from(["ann", "ben"])
indexes = st.integers(min_value=0, max_value=7)
seconds = st.sampled_from([1.0, 300.0, 601.0, 7300.0, -400.0, 2 * DAY])
ages = st.sampled_from([0.5 * DAY, 5.0, -5.0])


class QueueMachine(RuleBasedStateMachine):
    """Hypothesis chooses the steps of a ``Walk`` on memory and SQLite."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        path = self.folder / "queue.db"
        shutil.copyfile(self.template, path)
        self.clock = clock = ManualClock()
        memory = Place(Desk(store=memory_store(clock=clock), clock=clock))
        sqlite = Place(Desk(store=open_sqlite(path=path, clock=clock), clock=clock))

        def again() -> RuledStore:
            sqlite.desk.store.close()
            return open_sqlite(path=path, clock=clock)

        sqlite.restart = again
        self.walk = Walk([memory, sqlite], clock)

    def teardown(self) -> None:
        self.walk.finish()
        self.no_promise_is_broken()
        self.walk.close()
        shutil.rmtree(self.folder)

    @rule(
        number=st.integers(0, 30), content=contents, severity=st.integers(1, 4), reuse=st.booleans()
    )
    def submit(self, number: int, content: str, severity: int, reuse: bool) -> None:
        self.walk.submit(f"r{number}", content, severity, reuse)

    @rule(number=st.integers(0, 20), content=contents, severity=st.integers(1, 4))
    def sample(self, number: int, content: str, severity: int) -> None:
        self.walk.sample(f"s{number}", content, severity)

    @rule(reviewer=reviewers, tier=st.integers(1, 2), claim_id=st.integers(0, 40))
    def claim(self, reviewer: str, tier: int, claim_id: int) -> None:
        self.walk.claim(reviewer, tier, str(claim_id))

    @rule(index=indexes, reviewer=reviewers, outcome=st.sampled_from(list(Outcome)))
    def decide(self, index: int, reviewer: str, outcome: Outcome) -> None:
        self.walk.decide(index, reviewer, outcome)

    @rule(index=indexes)
    def golden(self, index: int) -> None:
        self.walk.golden(index)

    @rule(golden=st.booleans())
    def mix_in(self, golden: bool) -> None:
        self.walk.mix_in(golden)

    @rule(index=indexes)
    def release(self, index: int) -> None:
        self.walk.release(index)

    @rule(index=indexes, lease_s=st.sampled_from([60.0, 900.0, 7200.0]))
    def extend(self, index: int, lease_s: float) -> None:
        self.walk.extend(index, lease_s)

    @rule(index=indexes)
    def requeue(self, index: int) -> None:
        self.walk.requeue(index)

    @rule(index=indexes, cause=st.sampled_from(REOPENING), stale=st.booleans())
    def reopen(self, index: int, cause: Cause, stale: bool) -> None:
        self.walk.reopen(index, cause, stale)

    @rule(
        index=indexes,
        outcome=st.sampled_from([Outcome.APPROVE, Outcome.REJECT]),
        arrives=st.sampled_from(["", "a", "b"]),
    )
    def close_group(self, index: int, outcome: Outcome, arrives: str) -> None:
        self.walk.close_group(index, outcome, arrives=arrives)

    @rule(index=indexes)
    def undo_close(self, index: int) -> None:
        self.walk.undo_close(index)

    @rule(content=contents)
    def erase(self, content: str) -> None:
        self.walk.erase(content)

    @rule(older_than_s=ages)
    def retire(self, older_than_s: float) -> None:
        self.walk.retire(older_than_s)

    @rule(older_than_s=ages)
    def drop_events(self, older_than_s: float) -> None:
        self.walk.drop_events(older_than_s)

    @rule()
    def watch(self) -> None:
        self.walk.watch()

    @rule()
    def watch_late(self) -> None:
        self.walk.watch_late()

    @rule(by=seconds)
    def pass_time(self, by: float) -> None:
        self.walk.pass_time(by)

    @rule()
    def expire(self) -> None:
        self.walk.expire()

    @rule()
    def wear_out(self) -> None:
        self.walk.wear_out()

    @rule()
    def restart(self) -> None:
        self.walk.restart()

    @invariant()
    def no_promise_is_broken(self) -> None:
        assert not self.walk.violations, self.walk.examples


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


@pytest.mark.timeout(0)
@pytest.mark.postgres
def test_random_walks_keep_every_promise_in_postgresql(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """All three stores in lockstep, chosen by chance alone; `make machine` walks further."""
    clock = ManualClock()
    walk = Walk(machine.places_in(tmp_path, clock, postgres_server), clock)
    machine.go(walk, steps=EXAMPLES * STEPS, chance=random.Random(1))
    walk.close()
    assert not walk.violations, walk.examples
    assert len(walk.places) == 3
    assert walk.places[2].told
