"""Legal deletion and retention: what goes, what stays, and that nobody is left in the dark."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
import sqlalchemy as sa

from helpers.review_queue import Desk, ManualClock
from imagesieve_server.core.answer import Answer, from_json, to_json
from imagesieve_server.core.errors import (
    ArrowNotAllowed,
    CursorExpired,
    InvalidRequest,
    ItemNotFound,
    LeaseLost,
)
from imagesieve_server.core.review import OPEN, Cause, Outcome, Recorded, State
from imagesieve_server.core.review_afterwards import EraseRequest, Erasure, ReopenRequest
from imagesieve_server.core.verdict import Judgement, Verdict
from imagesieve_server.review_queue.store import RuledStore

DAY = 86400.0


def sha_of(desk: Desk, content: str) -> str:
    return desk.flag("x", content).sha256


def erase(desk: Desk, content: str = "picture", **fields: Any) -> Erasure:
    asked: dict[str, Any] = {"sha256": sha_of(desk, content), "actor": "law", "reason": "order 7"}
    return desk.store.erase(EraseRequest(**{"tenant": "t", **asked, **fields}))


def bring(desk: Desk, state: State, content: str = "picture") -> str:
    """An item of these bytes brought to ``state``; its id."""
    kept = desk.keep("r1", content)
    if state is State.LEASED:
        desk.lease()
    elif state is State.PARKED:
        desk.park()
    elif state in (State.DECIDED, State.EXPIRED):
        desk.decide(desk.lease(), Outcome.APPROVE)
        if state is State.EXPIRED:
            desk.store.retire(older_than_s=-1.0, limit=10)
    assert desk.item(kept.item_id).state is state
    return kept.item_id


@pytest.mark.parametrize("state", list(State))
def test_erasure_is_a_recorded_decision_from_every_state(desk: Desk, state: State) -> None:
    item_id = bring(desk, state)
    before = desk.item(item_id).decisions
    (record,) = erase(desk).decisions
    item = desk.item(item_id)
    assert item.state is State.EXPIRED
    assert item.decisions == (*before, record)
    assert (record.outcome, record.cause) == (Outcome.REJECT, Cause.LEGAL_DELETE)
    assert (record.reviewer, record.note, record.effective) == ("law", "order 7", True)
    assert record.supersedes == (before[-1].decision_id if before else "")
    assert desk.store.chain_problems(tenant="t", item_id=item_id) == ()
    events = desk.store.events(tenant="t", from_oldest=True).events
    assert events[-1].decision == record
    assert (events[-1].request_id, events[-1].content_ref) == ("r1", "")


def test_a_live_token_is_fenced_out(desk: Desk) -> None:
    desk.keep("r1", "picture")
    lease = desk.lease()
    erase(desk)
    with pytest.raises(LeaseLost):
        desk.decide(lease)
    with pytest.raises(LeaseLost):
        desk.store.release(tenant="t", item_id=lease.item.item_id, token=lease.token)


def test_what_came_with_every_submission_is_emptied(desk: Desk) -> None:
    for name in ("r1", "r2"):
        answer = to_json(answer_of(desk, name))
        desk.keep(name, "picture", answer=answer, uploader_ref="mallory", content_ref="post/1")
    erase(desk)
    with desk.store.backend.read() as tx:
        payloads = tx.payloads("t", ["r1", "r2"])
    for payload in payloads.values():
        assert (payload.surface, payload.content_ref, payload.uploader_ref) == ("", "", "")
        assert payload.labels == {}
        kept = from_json(payload.answer)
        assert (kept.uploader_ref, kept.labels, kept.judgement.scores) == ("", {}, ())
        assert kept.judgement.verdict is Verdict.REVIEW
        assert "mallory" not in repr(payload)


def answer_of(desk: Desk, request_id: str) -> Answer:
    return Answer(
        request_id=request_id,
        sha256=sha_of(desk, "picture"),
        judgement=Judgement(verdict=Verdict.REVIEW, reasons=(), scores=(), degraded=False),
        policy="demo",
        policy_version="p1",
        model_version="m1",
        surface="avatar",
        content_ref="post/1",
        uploader_ref="mallory",
        labels={"name": "mallory"},
    )


def test_a_repeated_request_still_gets_its_verdict(desk: Desk) -> None:
    kept = desk.keep("r1", "picture", answer='{"verdict":"REVIEW","uploader_ref":"mallory"}')
    erase(desk)
    again = desk.keep("r1", "picture")
    assert (again.item_id, again.repeated) == (kept.item_id, True)
    assert json.loads(again.answer)["verdict"] == "REVIEW"
    assert "mallory" not in again.answer


def test_a_repeated_erasure_gives_the_same(desk: Desk) -> None:
    item_id = bring(desk, State.READY)
    first = erase(desk)
    desk.clock.advance(10.0)
    assert erase(desk, reason="again") == first
    assert erase(desk, sha256="", item_id=item_id) == first
    assert len(desk.store.events(tenant="t", from_oldest=True).events) == 1


def test_all_items_of_the_bytes_go_and_nothing_else(desk: Desk) -> None:
    desk.keep("r1", "picture")
    desk.decide(desk.lease())
    desk.keep("r2", "picture")
    other = desk.keep("r3", "another")
    foreign = desk.keep("r4", "picture", tenant="other")
    assert len(erase(desk).decisions) == 2
    assert desk.item(other.item_id).state is State.READY
    found = desk.store.get(tenant="other", item_id=foreign.item_id)
    assert (found.state, found.uploader_ref) == (State.READY, "u1")


def test_an_attached_item_is_erased_with_the_open_one(desk: Desk) -> None:
    desk.keep("r1", "picture")
    first = desk.decide(desk.lease(), Outcome.APPROVE)
    desk.keep("r2", "picture")
    asked = ReopenRequest(tenant="t", item_id=first.item_id, cause=Cause.APPEAL, note="mine")
    desk.store.reopen(asked)
    erase(desk)
    item = desk.item(first.item_id)
    assert (item.state, item.attached_to, item.opening_note) == (State.EXPIRED, "", "")
    assert item.decisions[-1].supersedes == first.decision_id


def test_erased_bytes_that_come_again_go_to_a_person_who_is_told(desk: Desk) -> None:
    bring(desk, State.READY)
    (record,) = erase(desk).decisions
    kept = desk.keep("r2", "picture", reuse_decision=True)
    item = desk.item(kept.item_id)
    assert item.state is State.READY
    assert item.earlier == record
    assert item.uploader_ref == "u1"
    assert len(erase(desk).decisions) == 2


def test_what_cannot_be_erased_is_refused(desk: Desk) -> None:
    bring(desk, State.READY)
    for wrong in ({"sha256": "f" * 64}, {"tenant": "other"}):
        with pytest.raises(ItemNotFound):
            erase(desk, **wrong)
    with pytest.raises(ItemNotFound):
        erase(desk, sha256="", item_id="none")
    for fields in ({"sha256": ""}, {"item_id": "x"}, {"sha256": "xyz"}, {"reason": ""}):
        with pytest.raises(InvalidRequest):
            erase(desk, **fields)


# --- retention ---


def test_retention_takes_decided_items_past_their_time_and_nothing_else(desk: Desk) -> None:
    desk.keep("r1")
    old = desk.decide(desk.lease())
    desk.clock.advance(2 * DAY)
    desk.keep("r2")
    young = desk.decide(desk.lease())
    opened = [desk.keep(f"o{n}").item_id for n in range(2)]
    desk.lease()
    desk.clock.advance(DAY)
    free = desk.store.retire(older_than_s=2 * DAY, limit=10)
    assert free == [("t", sha_of(desk, "r1"))]
    gone = desk.item(old.item_id)
    assert (gone.state, gone.decisions) == (State.EXPIRED, (old,)), "the record stays"
    assert (gone.uploader_ref, gone.labels) == ("", {})
    assert desk.item(young.item_id).state is State.DECIDED
    assert all(desk.item(item_id).state in OPEN for item_id in opened)
    assert desk.store.retire(older_than_s=2 * DAY, limit=10) == []


def test_retention_goes_in_bounded_steps(desk: Desk) -> None:
    for number in range(5):
        desk.keep(f"r{number}")
        desk.decide(desk.lease())
        desk.clock.advance(1.0)
    taken = [len(desk.store.retire(older_than_s=0.0, limit=2)) for _ in range(4)]
    assert taken == [2, 2, 1, 0]


def test_bytes_that_another_item_needs_stay(desk: Desk) -> None:
    desk.keep("r1", "picture")
    first = desk.decide(desk.lease())
    desk.keep("r2", "picture")
    assert desk.store.retire(older_than_s=-1.0, limit=10) == []
    assert desk.item(first.item_id).state is State.EXPIRED
    assert desk.store.unreferenced("t", [sha_of(desk, "picture")]) == []
    assert desk.item(desk.lease().item.item_id).earlier == first, "the next reviewer is told"


def test_a_contested_item_is_kept_while_it_waits(desk: Desk) -> None:
    desk.keep("r1", "picture")
    first = desk.decide(desk.lease())
    desk.keep("r2", "picture")
    asked = ReopenRequest(tenant="t", item_id=first.item_id, cause=Cause.APPEAL)
    desk.store.reopen(asked)
    desk.store.retire(older_than_s=-1.0, limit=10)
    assert desk.item(first.item_id).state is State.DECIDED


def test_bytes_nobody_refers_to_are_named(desk: Desk) -> None:
    desk.keep("r1")
    unknown = "0" * 64
    known = sha_of(desk, "r1")
    assert desk.store.unreferenced("t", [known, unknown]) == [unknown]
    assert desk.store.unreferenced("other", [known]) == [known]
    desk.decide(desk.lease())
    desk.store.retire(older_than_s=-1.0, limit=10)
    assert desk.store.unreferenced("t", [known]) == [known]
    desk.keep("r2", "r1")
    assert desk.store.unreferenced("t", [known]) == []


# --- events past their time ---


def test_events_past_their_time_go_and_their_cursors_expire(desk: Desk) -> None:
    cursors = [desk.store.events(tenant="t").cursor]
    for number in range(3):
        desk.keep(f"r{number}")
        desk.decide(desk.lease())
        cursors.append(desk.store.events(tenant="t").cursor)
        desk.clock.advance(DAY)
    assert desk.store.drop_events(older_than_s=1.5 * DAY, limit=10) == 2
    for cursor in cursors[:2]:
        with pytest.raises(CursorExpired):
            desk.store.events(tenant="t", cursor=cursor)
    for start in ({"cursor": cursors[2]}, {"from_oldest": True}):
        page = desk.store.events(tenant="t", **start)  # type: ignore[arg-type]
        assert [e.request_id for e in page.events] == ["r2"]
    assert desk.store.drop_events(older_than_s=1.5 * DAY, limit=10) == 0


def test_a_quiet_tenants_cursor_lives_on(desk: Desk) -> None:
    desk.keep("r1")
    desk.decide(desk.lease())
    cursor = desk.store.events(tenant="t").cursor
    desk.clock.advance(100 * DAY)
    assert desk.store.drop_events(older_than_s=DAY, limit=10) == 1
    assert desk.store.events(tenant="t", cursor=cursor).events == ()
    desk.keep("r2")
    desk.decide(desk.lease())
    assert len(desk.store.events(tenant="t", cursor=cursor).events) == 1


def test_events_go_in_bounded_steps_and_never_from_the_middle(desk: Desk) -> None:
    for number in range(4):
        desk.keep(f"r{number}")
        desk.decide(desk.lease())
        desk.clock.advance(-DAY if number == 1 else 1.0)  # the clock was set back
    steps = [desk.store.drop_events(older_than_s=DAY / 2, limit=1) for _ in range(3)]
    assert steps == [0, 0, 0], "the first one is young, so those behind it stay"
    desk.clock.advance(3 * DAY)
    steps = [desk.store.drop_events(older_than_s=DAY, limit=3) for _ in range(3)]
    assert steps == [3, 1, 0]


def test_an_expired_item_is_not_opened_again(desk: Desk) -> None:
    item_id = bring(desk, State.EXPIRED)
    with pytest.raises(ArrowNotAllowed):
        desk.store.reopen(ReopenRequest(tenant="t", item_id=item_id, cause=Cause.UNDO))


def test_a_picture_with_more_uploads_than_one_statement_takes_values_is_erased(
    sqlite: RuledStore, clock: ManualClock
) -> None:
    """What is bounded at 250 000 or 32 766 in SQLite, at 65 535 in PostgreSQL, is here at 900."""
    desk = Desk(store=sqlite, clock=clock)
    for begin in range(0, 1000, 250):
        uploads = [desk.flag(f"r{begin + n}", "picture") for n in range(250)]
        assert all(isinstance(one, Recorded) for one in sqlite.record(uploads))
    engine: sa.Engine = sqlite.backend._engine  # type: ignore[attr-defined]

    def bound(connection: sqlite3.Connection, *_: object) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 900)

    sa.event.listen(engine, "checkout", bound)
    (record,) = erase(desk).decisions
    assert desk.item(record.item_id).state is State.EXPIRED
    kept = sqlite.read(lambda tx: tx.payloads("t", ["r0", "r499", "r500", "r999"])).values()
    assert [payload.content_ref for payload in kept] == [""] * 4
