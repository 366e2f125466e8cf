"""Decision events: one per upload, in order, from a cursor that belongs to one tenant."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from helpers.review_queue import Desk, ManualClock
from imagesieve_server.core.errors import CursorExpired, InvalidRequest
from imagesieve_server.core.review import Outcome
from imagesieve_server.core.review_events import DecisionEvent
from imagesieve_server.review_queue.sqlite import open_sqlite


def decided(desk: Desk, *names: str, **fields: str) -> None:
    for name in names:
        desk.keep(name, **fields)
        desk.decide(desk.lease(**fields))


def all_events(desk: Desk, cursor: str = "", tenant: str = "t") -> list[DecisionEvent]:
    """Everything behind the cursor, page by page; from the oldest without one."""
    found: list[DecisionEvent] = []
    while True:
        page = desk.store.events(tenant=tenant, cursor=cursor, from_oldest=not cursor)
        if not page.events:
            assert page.cursor == (found[-1].cursor if found else page.cursor)
            return found
        assert page.cursor == page.events[-1].cursor
        found += page.events
        cursor = page.cursor


def test_an_event_carries_what_its_uploader_sent(desk: Desk) -> None:
    desk.keep("r1", "picture", content_ref="post/1", uploader_ref="u/1", labels={"a": "b"})
    desk.clock.advance(1.0)
    desk.keep("r2", "picture", content_ref="post/2", surface="banner")
    record = desk.decide(desk.lease(), Outcome.REJECT, note="n")
    first, second = all_events(desk)
    assert first.decision == second.decision == record
    assert (first.request_id, first.content_ref, first.uploader_ref) == ("r1", "post/1", "u/1")
    assert first.labels == {"a": "b"}
    assert (second.request_id, second.content_ref, second.surface) == ("r2", "post/2", "banner")
    assert first.sha256 == second.sha256 == desk.flag("r1", "picture").sha256


def test_without_a_cursor_one_begins_now_or_with_the_oldest(desk: Desk) -> None:
    decided(desk, "r1")
    now = desk.store.events(tenant="t")
    assert now.events == ()
    decided(desk, "r2")
    assert [e.request_id for e in all_events(desk, now.cursor)] == ["r2"]
    assert [e.request_id for e in all_events(desk)] == ["r1", "r2"]


def test_a_cursor_stays_where_it_is_while_nothing_is_decided(desk: Desk) -> None:
    before = desk.store.events(tenant="t").cursor
    desk.keep("r1")
    page = desk.store.events(tenant="t", cursor=before)
    assert (page.events, page.cursor) == ((), before)


def test_events_come_in_pages_without_a_gap(desk: Desk) -> None:
    for number in range(120):
        desk.keep(f"r{number}", "picture")
        desk.clock.advance(0.001)
    desk.decide(desk.lease())
    page = desk.store.events(tenant="t", from_oldest=True)
    assert len(page.events) == 100
    assert [e.request_id for e in all_events(desk)] == [f"r{n}" for n in range(120)]
    middle = page.events[49].cursor
    assert [e.request_id for e in all_events(desk, middle)] == [f"r{n}" for n in range(50, 120)]


def test_tenants_have_sequences_of_their_own(desk: Desk) -> None:
    decided(desk, "r1")
    decided(desk, "r2", tenant="other")
    assert [e.request_id for e in all_events(desk)] == ["r1"]
    assert [e.request_id for e in all_events(desk, tenant="other")] == ["r2"]
    cursor = desk.store.events(tenant="t").cursor
    with pytest.raises(CursorExpired):
        desk.store.events(tenant="other", cursor=cursor)


def forged(cursor: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(cursor))
    raw[7] ^= 1
    return base64.urlsafe_b64encode(raw).decode()


def test_a_cursor_that_is_not_ours_is_refused(desk: Desk) -> None:
    decided(desk, "r1", "r2")
    cursor = desk.store.events(tenant="t").cursor
    for wrong in ("x", "é", "====", cursor[:-4], cursor + "AAAA", forged(cursor)):
        with pytest.raises(CursorExpired):
            desk.store.events(tenant="t", cursor=wrong)
    with pytest.raises(InvalidRequest):
        desk.store.events(tenant="t", cursor="\0")


def test_a_cursor_ahead_of_the_events_is_refused(desk: Desk) -> None:
    """An older copy of the database was put back: positions mean other events by now."""
    before = desk.store.backend
    decided(desk, "r1")
    with before.write() as tx:
        tx.next_positions("t", 5)
    ahead = desk.store.events(tenant="t").cursor
    with before.write() as tx:
        tx.next_positions("t", -5)
    with pytest.raises(CursorExpired, match="ahead"):
        desk.store.events(tenant="t", cursor=ahead)


def test_a_cursor_outlives_the_server(sqlite_path: Path, clock: ManualClock) -> None:
    first = Desk(store=open_sqlite(path=sqlite_path, clock=clock), clock=clock)
    decided(first, "r1")
    cursor = first.store.events(tenant="t").cursor
    first.keep("r2")
    first.store.close()
    second = Desk(store=open_sqlite(path=sqlite_path, clock=clock), clock=clock)
    second.decide(second.lease())
    assert [e.request_id for e in all_events(second, cursor)] == ["r2"]
    second.store.close()


def test_two_databases_do_not_take_each_others_cursors(
    memory: object, desk: Desk, tmp_path: Path, clock: ManualClock
) -> None:
    from imagesieve_server.review_queue.memory import memory_store

    cursor = memory_store(clock=clock).events(tenant="t").cursor
    with pytest.raises(CursorExpired):
        desk.store.events(tenant="t", cursor=cursor)
