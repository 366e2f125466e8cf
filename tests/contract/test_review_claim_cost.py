"""A claim looks at a few rows, whatever waits before and behind the one it takes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from helpers.review_queue import Desk, ManualClock
from helpers.sqlite_steps import steps_of
from imagesieve_server.core.review import Outcome
from imagesieve_server.review_queue import sql_claims
from imagesieve_server.review_queue.store import RuledStore

MANY = 3000
ASKED: tuple[dict[str, Any], ...] = (
    {},
    {"excluding": ("more000000", "more000001")},
    {"categories": ("violence",)},
    {"categories": ("violence", "weapons", "gore")},
    {"categories": ("violence",), "excluding": ("rare000000",)},
)


def add(desk: Desk, seed: str, *, count: int, name: str, rank: float) -> None:
    """Copies of a READY item with its decisions, behind each other in rank."""
    with desk.store.backend.write() as tx:
        item, decisions = tx.item("t", seed), tx.decisions("t", [seed])
        assert item is not None
        (evidence,) = tx.evidence("t", [item.sha256]).values()
        hashes = [hashlib.sha256(f"{name}{n}".encode()).hexdigest() for n in range(count)]
        tx.put_evidence([replace(evidence, sha256=sha256) for sha256 in hashes])
        ids = [f"{name}{n:06d}" for n in range(count)]
        tx.add_items(
            [
                replace(item, item_id=item_id, sha256=sha256, rank=rank + n * 1e-6)
                for n, (item_id, sha256) in enumerate(zip(ids, hashes, strict=True))
            ]
        )
        for item_id in ids:
            for row in decisions:
                token, decision_id = f"{row.token} {item_id}", f"{row.decision_id} {item_id}"
                tx.add_decision(replace(row, item_id=item_id, token=token, decision_id=decision_id))


def seeded(store: RuledStore, clock: ManualClock) -> tuple[Desk, str, str]:
    """A desk with twenty items of a rare category; one item that ann has reviewed and that waits
    for another person, and one that nobody has."""
    desk = Desk(store=store, clock=clock)
    reviewed = desk.keep("reviewed", category="nudity", reviews_needed=2).item_id
    desk.decide(desk.lease(), Outcome.APPROVE)
    fresh = desk.keep("fresh", category="nudity").item_id
    add(desk, desk.keep("rare", category="violence").item_id, count=20, name="rare", rank=9e9)
    return desk, reviewed, fresh


def lengthen(desk: Desk, reviewed: str, fresh: str) -> None:
    """Thousands wait before the rare ones, first those that ann may not have."""
    add(desk, reviewed, count=MANY, name="mine", rank=-2.0)
    add(desk, fresh, count=MANY, name="more", rank=-1.0)


@pytest.mark.parametrize("asked", ASKED)
def test_a_claim_costs_no_more_in_a_long_queue(
    sqlite: RuledStore, clock: ManualClock, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_claims, "LOOK_AT", 10)
    desk, reviewed, fresh = seeded(sqlite, clock)
    desk.lease(**asked)  # what is made once is not counted
    few = steps_of(sqlite, lambda: desk.lease(**asked))
    lengthen(desk, reviewed, fresh)
    many = steps_of(sqlite, lambda: desk.lease(**asked))
    assert many < 4 * few, (few, many)


@pytest.mark.postgres
@pytest.mark.parametrize("asked", ASKED)
def test_a_claim_reads_few_pages_of_a_long_queue(
    postgres: RuledStore, clock: ManualClock, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the database counts them, for each statement of a claim that looks for an item."""
    monkeypatch.setattr(sql_claims, "LOOK_AT", 10)
    desk, reviewed, fresh = seeded(postgres, clock)
    lengthen(desk, reviewed, fresh)
    engine: sa.Engine = postgres.backend._engine  # type: ignore[attr-defined]
    said: list[tuple[str, Any]] = []
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
    listen = (engine, "before_cursor_execute", lambda *event: said.append((event[2], event[3])))
    sa.event.listen(*listen)
    desk.lease(**asked)
    sa.event.remove(*listen)
    pages = 0
    looks = [each for each in said if "SKIP LOCKED" in each[0] or "lanes" in each[0]]
    assert len(looks) >= 3  # leases that are over, the heads of lanes, the item
    with engine.connect() as connection:
        for text, values in looks:
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}"
            (plan,) = connection.exec_driver_sql(explain, values).scalar_one()
            found = plan["Plan"]
            pages += found["Shared Hit Blocks"] + found["Shared Read Blocks"]
    assert pages < 200, (pages, looks)


def test_the_own_lane_is_looked_at_to_its_bound_and_others_are_not_missed(
    store: RuledStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind more of ann's reviews than are looked at she finds what ben has reviewed."""
    monkeypatch.setattr(sql_claims, "LOOK_AT", 10)
    desk, reviewed, fresh = seeded(store, clock)
    add(desk, reviewed, count=30, name="mine", rank=-2.0)
    lease = desk.lease(reviewer="ben", item_id=fresh)
    desk.decide(lease, Outcome.ESCALATE, reviewer="ben")
    assert desk.lease(tier=2).item.item_id == fresh
    his = desk.keep("his", category="nudity", reviews_needed=2).item_id
    desk.decide(desk.lease(reviewer="ben", item_id=his), Outcome.APPROVE, reviewer="ben")
    assert desk.lease(categories=("nudity",)).item.item_id == his
    assert desk.claim(categories=("nudity",)) is None
    assert desk.lease(reviewer="ben").item.item_id == "mine000000"
