"""The look beside the servers: all rows, page by page, on every database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.review_queue import Desk, ManualClock
from imagesieve_server.core.review import AuditCount, Outcome
from imagesieve_server.offline.from_decisions.measure import from_decisions
from imagesieve_server.review_queue.read_only import QueueReader, sqlite_reader
from imagesieve_server.review_queue.store import RuledStore

COUNT = AuditCount(
    tenant="t", policy="demo", policy_version="p1", day="2023-11-14", band="far", sha256="",
    probability=0.5, uploads=9,
)  # fmt: skip


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[RuledStore, QueueReader]]:
    """A store, and a reader of its database."""
    store: RuledStore = request.getfixturevalue(request.param)
    if request.param == "sqlite":
        path: Path = request.getfixturevalue("sqlite_path")
        reader = sqlite_reader(path=path, page=2)
    else:
        from helpers.postgres import engine_for_test

        url: str = request.getfixturevalue("postgres_url")
        reader = QueueReader(engine=engine_for_test(url), place="test", page=2)
    with contextlib.closing(reader):
        yield store, reader


def test_every_row_is_read_once(both: tuple[RuledStore, QueueReader], clock: ManualClock) -> None:
    store, reader = both
    desk = Desk(store=store, clock=clock)
    for number in range(5):
        desk.keep(f"f{number}", tenant="tu"[number % 2])
        clock.advance(1.0)
    for _ in range(3):
        desk.decide(desk.lease(), Outcome.APPROVE)
    store.add_counts([COUNT])
    assert sorted(row.request_id for row, _ in reader.submissions()) == [
        f"f{number}" for number in range(5)
    ]
    assert [answer for _, answer in reader.submissions(policy="another")] == []
    assert len({row.item_id for row in reader.items()}) == len(list(reader.items())) == 5
    assert [row.outcome for row in reader.decisions()] == [Outcome.APPROVE] * 3
    assert list(reader.counts()) == [COUNT]
    (result,) = from_decisions(reader)
    assert (result.flagged, result.allowed, result.flags_waiting) == (5, 9, 0.4)
