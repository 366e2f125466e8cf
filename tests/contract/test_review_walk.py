"""The walk's checks can fail: stores that break one promise each are caught by its name."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers import queue_walk as walk_of
from helpers.queue_walk import Place, Walk
from helpers.review_queue import Desk, ManualClock
from imagesieve_server.core.review import Flag, Recorded, State
from imagesieve_server.review_queue import chain
from imagesieve_server.review_queue.memory import MemoryBackend, MemoryTransaction, memory_store
from imagesieve_server.review_queue.rows import (
    DecisionRow,
    EventRow,
    ItemRow,
    PayloadRow,
    Transaction,
)
from imagesieve_server.review_queue.store import RuledStore

sys.path.insert(0, str(Path(__file__).parents[1] / "long"))
import machine

STEPS = 600


class Forgetful(RuledStore):
    """Acknowledges now and then a flag that it does not keep."""

    def record(self, flags: Sequence[Flag]) -> list[Any]:
        kept = super().record(flags)
        with self.backend.write() as tx:
            for flag, result in zip(flags, kept, strict=True):
                if isinstance(result, Recorded) and flag.request_id.endswith("7"):
                    tx._t.submissions.pop((flag.tenant, flag.request_id), None)  # type: ignore[attr-defined]
        return kept


class OpensTwice(MemoryTransaction):
    """Does not find the open item of the same bytes, nor minds two."""

    def open_items(self, tenant: str, sha256s: Sequence[str]) -> dict[str, ItemRow]:
        return {}


class DropsEvents(MemoryTransaction):
    """Loses each seventh event, though not its position."""

    def add_events(self, rows: Sequence[EventRow]) -> None:
        super().add_events([row for row in rows if row.position % 7])


class TellsTwice(MemoryTransaction):
    """Tells of the same decision twice, under two positions."""

    def add_events(self, rows: Sequence[EventRow]) -> None:
        super().add_events(rows)
        for row in rows[:1]:
            again = self.next_positions(row.tenant, 1)
            super().add_events([replace(row, position=again)])


class EditsDecisions(MemoryTransaction):
    """Writes another note than the one that was sealed."""

    def add_decision(self, row: DecisionRow) -> None:
        super().add_decision(replace(row, note=row.note + "!"))


class DecidesTwice(MemoryTransaction):
    """Takes a second effective decision into the round of the first."""

    def add_decision(self, row: DecisionRow) -> None:
        super().add_decision(chain.sealed(replace(row, round=1, supersedes="", hash="")))


class KeepsErased(MemoryTransaction):
    """Forgets to empty what is to be erased."""

    def change_payloads(self, rows: Sequence[PayloadRow]) -> None: ...


class LosesPictures(MemoryTransaction):
    """Gives bytes free that another item needs: all bytes have one at any time."""

    def items_of_bytes(self, tenant: str, sha256s: Sequence[str]) -> Sequence[ItemRow]:
        found = super().items_of_bytes(tenant, sha256s)
        return [row for row in found if row.state is State.EXPIRED] if self._retiring else found

    _retiring = False

    def decided_before(self, at: float, *, limit: int) -> Sequence[ItemRow]:
        self._retiring = True
        return super().decided_before(at, limit=limit)


class SkipsStates(MemoryTransaction):
    """Changes states without leaving a trace of how."""

    def add_audit(self, rows: Sequence[Any]) -> None:
        super().add_audit([row for row in rows if row.target is not State.DECIDED])


class Backend(MemoryBackend):
    """Transactions of another kind over the same dictionaries."""

    def __init__(self, *, kind: type[MemoryTransaction], clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self._kind = kind

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        with super().write() as sound:
            tx = self._kind.__new__(self._kind)
            tx.__dict__.update(sound.__dict__)
            yield tx

    read = write


def walked(store: RuledStore, clock: ManualClock) -> Walk:
    """So many steps on a sound store and on this one."""
    sound = Place(Desk(store=memory_store(clock=clock), clock=clock))
    walk = Walk([sound, Place(Desk(store=store, clock=clock))], clock)
    machine.go(walk, steps=STEPS, chance=random.Random(1))
    return walk


@pytest.mark.parametrize(
    ("kind", "caught"),
    [
        (OpensTwice, walk_of.OPENED_TWICE),
        (DropsEvents, walk_of.EVENTS),
        (TellsTwice, walk_of.EVENTS),
        (EditsDecisions, walk_of.CHAIN),
        (DecidesTwice, walk_of.DECIDED_TWICE),
        (KeepsErased, walk_of.LEAK),
        (LosesPictures, walk_of.PICTURE),
        (SkipsStates, walk_of.ARROW),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_store_that_breaks_a_promise_is_caught(
    kind: type[MemoryTransaction], caught: str, clock: ManualClock
) -> None:
    walk = walked(RuledStore(backend=Backend(kind=kind, clock=clock)), clock)
    assert walk.violations[caught]
    assert walk.examples[caught]


def test_a_store_that_loses_flags_is_caught(clock: ManualClock) -> None:
    walk = walked(Forgetful(backend=MemoryBackend(clock=clock)), clock)
    assert walk.violations[walk_of.LOST]


def test_a_store_that_differs_is_caught(clock: ManualClock) -> None:
    class Slow(RuledStore):
        def expire_leases(self) -> int:
            return 0

    walk = walked(Slow(backend=MemoryBackend(clock=clock)), clock)
    assert walk.violations[walk_of.DIFFER]


def test_a_sound_store_is_not(clock: ManualClock) -> None:
    walk = walked(memory_store(clock=clock), clock)
    assert not walk.violations, walk.examples
    assert walk.places[1].told
