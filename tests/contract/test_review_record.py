"""How flags arrive: idempotence by request_id, joining by bytes, and groups."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from helpers.review_queue import Desk
from imagesieve_server.core.errors import InvalidRequest, ItemNotFound, RequestIdReused
from imagesieve_server.core.review import (
    AuditCount,
    Cause,
    ListRequest,
    Outcome,
    Recorded,
    State,
    rank_allowance_s,
)
from imagesieve_server.core.review_afterwards import EraseRequest
from imagesieve_server.core.verdict import ReasonCode, Verdict
from imagesieve_server.review_queue.recording import Asked

AUDIT: dict[str, Any] = {
    "audit": True,
    "verdict": Verdict.ALLOW,
    "reasons": (ReasonCode.AUDIT_SAMPLE,),
    "severity": 1,
    "score": 0.1,
    "category": "",
    "inclusion_probability": 0.01,
}


def test_a_flag_becomes_a_ready_item_with_all_that_it_carried(desk: Desk) -> None:
    recorded = desk.keep("r1", "picture", severity=3, score=0.7)
    item = desk.item(recorded.item_id)
    sent = desk.flag("r1", "picture", severity=3, score=0.7)
    for name in ("tenant", "sha256", "verdict", "policy", "policy_version", "model_version"):
        assert getattr(item, name) == getattr(sent, name), name
    for name in ("reasons", "category", "severity", "score", "media_type", "size_bytes"):
        assert getattr(item, name) == getattr(sent, name), name
    for name in ("surface", "content_ref", "uploader_ref", "labels"):
        assert getattr(item, name) == getattr(sent, name), name
    assert item.state is State.READY
    assert item.enqueued_at == desk.clock()
    assert item.rank == desk.clock() - rank_allowance_s(severity=3, score=0.7)
    assert item.due_at == desk.clock() + 7200.0
    assert (item.submissions, item.round, item.tier, item.expiries) == (1, 1, 1, 0)
    assert not recorded.repeated
    assert not recorded.joined


def test_the_store_adds_only_the_items_id_to_the_answer(desk: Desk) -> None:
    recorded = desk.keep("r1", answer='{"request_id":"r1","item_id":"","new":[1,null]}')
    expected = {"request_id": "r1", "item_id": recorded.item_id, "new": [1, None]}
    assert json.loads(recorded.answer) == expected
    assert desk.item(recorded.item_id).answer == recorded.answer


def test_a_repeated_request_gets_the_first_answer_and_no_second_item(desk: Desk) -> None:
    first = desk.keep("r1", "picture")
    again = desk.keep("r1", "picture", answer='{"item_id":"","other":true}', severity=4)
    assert again == Recorded(item_id=first.item_id, answer=first.answer, repeated=True)
    item = desk.item(first.item_id)
    assert (item.submissions, item.severity) == (1, 2)


def test_a_known_request_id_with_other_content_is_refused(desk: Desk) -> None:
    desk.keep("r1", "picture")
    with pytest.raises(RequestIdReused):
        desk.keep("r1", "another picture")


def test_a_repeat_after_the_decision_still_gets_the_first_answer(desk: Desk) -> None:
    first = desk.keep("r1", "picture")
    desk.decide(desk.lease())
    again = desk.keep("r1", "picture")
    assert (again.item_id, again.answer, again.repeated) == (first.item_id, first.answer, True)


def test_the_answer_of_a_request_is_found_by_tenant_id_and_digest(desk: Desk) -> None:
    kept = desk.keep("r1", "picture")
    theirs = desk.keep("r2", "picture", tenant="u")
    digest = desk.flag("r1", "picture").request_digest
    asked = [("t", "r1", digest), ("t", "r2", digest), ("t", "r1", "other"), ("u", "r2", digest),
             ("u", "r1", digest), ("t", "r1", digest)]  # fmt: skip
    found = desk.store.answers_of(
        [Asked(tenant=tenant, request_id=name, digest=given) for tenant, name, given in asked]
    )
    assert found[0] == Recorded(item_id=kept.item_id, answer=kept.answer, repeated=True)
    assert found[1] is None
    assert isinstance(found[2], RequestIdReused)
    assert found[3] == Recorded(item_id=theirs.item_id, answer=theirs.answer, repeated=True)
    assert found[4] is None
    assert found[5] == found[0]
    assert desk.store.answers_of([]) == []


def test_kept_requests_are_listed_page_by_page(desk: Desk) -> None:
    names = [("t", "r1"), ("t", "r2"), ("t", "r\N{LATIN SMALL LETTER E WITH ACUTE}"), ("u", "r0")]
    for tenant, request_id in reversed(names):
        desk.keep(request_id, tenant=tenant)
    found: list[tuple[str, str]] = []
    while page := desk.store.requests_after(found[-1] if found else ("", ""), 2):
        assert len(page) <= 2
        found += page
    assert sorted(found) == sorted(names), "each once, whatever the database's order is"


def test_the_same_bytes_join_the_open_item(desk: Desk) -> None:
    first = desk.keep("r1", "picture")
    second = desk.keep("r2", "picture", policy_version="p2")
    assert second.item_id == first.item_id
    assert second.joined
    assert json.loads(second.answer)["request_id"] == "r2"
    item = desk.item(first.item_id)
    assert item.submissions == 2
    assert item.policy_version == "p1", "the item shows its first submission"


def test_a_join_improves_rank_and_due_time_and_never_worsens_them(desk: Desk) -> None:
    kept = desk.keep("r1", "picture", severity=2, score=0.5)
    before = desk.item(kept.item_id)
    desk.clock.advance(60.0)
    desk.keep("r2", "picture", severity=1, score=0.1)
    milder = desk.item(kept.item_id)
    assert (milder.rank, milder.due_at) == (before.rank, before.due_at)
    desk.keep("r3", "picture", severity=4, score=1.0)
    worse = desk.item(kept.item_id)
    assert worse.rank == desk.clock() - rank_allowance_s(severity=4, score=1.0)
    assert worse.due_at == desk.clock() + 1800.0
    assert worse.enqueued_at == before.enqueued_at


def test_a_join_keeps_the_strongest_verdict(desk: Desk) -> None:
    kept = desk.keep("r1", "picture", verdict=Verdict.REVIEW)
    desk.keep("r2", "picture", verdict=Verdict.BLOCK)
    desk.keep("r3", "picture", verdict=Verdict.REVIEW)
    assert desk.item(kept.item_id).verdict is Verdict.BLOCK


def test_an_audit_sample_that_a_flag_joins_becomes_that_flag(desk: Desk) -> None:
    kept = desk.keep("r1", "picture", **AUDIT)
    desk.keep("r2", "picture", severity=3, score=0.9)
    item = desk.item(kept.item_id)
    assert item.reasons == (ReasonCode.CATEGORY_REVIEW,)
    assert (item.verdict, item.severity, item.category) == (Verdict.REVIEW, 3, "weapons")
    assert json.loads(item.answer)["request_id"] == "r2"


def test_an_audit_sample_that_joins_a_flag_leaves_it_a_flag(desk: Desk) -> None:
    kept = desk.keep("r1", "picture", severity=3)
    before = desk.item(kept.item_id)
    sample = desk.keep("r2", "picture", **AUDIT)
    assert (sample.item_id, sample.joined) == (kept.item_id, True)
    assert desk.item(kept.item_id) == before, "it adds nothing"
    desk.decide(desk.lease())
    assert len(desk.store.decision_events(tenant="t", after=0, limit=9)) == 2, "both are told"


def test_a_sample_waits_as_the_mildest_flag_does_and_shows_its_category(desk: Desk) -> None:
    kept = desk.keep("r1", "picture", **{**AUDIT, "severity": 4, "category": "weapons"})
    item = desk.item(kept.item_id)
    assert (item.severity, item.category) == (4, "weapons")
    assert item.rank == desk.clock() - rank_allowance_s(severity=1, score=0.0)
    desk.clock.advance(60.0)
    desk.keep("r2", "another picture", severity=1, score=0.0)
    assert desk.lease().item.item_id == kept.item_id, "nor does it starve"


def test_a_sample_of_decided_bytes_counts_under_that_decision(desk: Desk) -> None:
    first = desk.keep("r1", "picture")
    desk.decide(desk.lease())
    decided = desk.item(first.item_id)
    sample = desk.keep("r2", "picture", **AUDIT)
    assert (sample.item_id, sample.joined) == (first.item_id, True)
    assert desk.item(first.item_id) == decided
    other = desk.keep("r3", "picture", **AUDIT, policy="another")
    assert desk.item(other.item_id).state is State.READY, "it was not asked about that policy"


def test_a_sample_of_erased_bytes_goes_to_a_person(desk: Desk) -> None:
    first = desk.keep("r1", "picture")
    sha256 = desk.item(first.item_id).sha256
    desk.store.erase(EraseRequest(tenant="t", sha256=sha256, reason="the law", actor="ann"))
    sample = desk.keep("r2", "picture", **AUDIT)
    assert sample.item_id != first.item_id
    assert desk.item(sample.item_id).state is State.READY


def test_a_sample_is_not_told_of_its_item_when_it_is_repeated(desk: Desk) -> None:
    kept = desk.keep("r1", "picture", **AUDIT)
    assert json.loads(kept.answer)["item_id"] == ""
    again = desk.keep("r1", "picture", **AUDIT)
    assert (again.item_id, again.answer, again.repeated) == ("", kept.answer, True)


def test_what_is_withheld_once_stays_withheld(desk: Desk) -> None:
    plain = desk.keep("r1", "picture")
    assert not desk.item(plain.item_id).blind
    desk.keep("r2", "picture", blind=True)
    desk.keep("r3", "picture")
    assert desk.item(plain.item_id).blind


def test_counts_add_up_by_all_that_they_are_of(desk: Desk) -> None:
    count = AuditCount(
        tenant="t", policy="demo", policy_version="p1", day="2026-11-21", band="far", sha256="",
        probability=0.01, uploads=3, dropped=1,
    )  # fmt: skip
    of_picture = replace(count, sha256="ab", uploads=1, dropped=0)
    other_rate = replace(count, probability=0.02)
    elsewhere = replace(count, tenant="u")
    desk.store.add_counts([count, of_picture, other_rate, elsewhere])
    desk.store.add_counts([replace(count, uploads=2, dropped=0), of_picture])
    assert list(desk.store.counts(tenant="t")) == [
        replace(count, uploads=5),
        other_rate,
        replace(of_picture, uploads=2),
    ]
    assert list(desk.store.counts(tenant="u")) == [elsewhere]


@pytest.mark.parametrize("state", [State.READY, State.LEASED, State.PARKED])
def test_bytes_join_an_item_in_any_open_state_without_changing_it(desk: Desk, state: State) -> None:
    first = desk.keep("r1", "picture")
    if state is State.LEASED:
        lease = desk.lease()
    if state is State.PARKED:
        desk.park()
    joined = desk.keep("r2", "picture")
    assert joined.item_id == first.item_id
    assert desk.item(first.item_id).state is state
    if state is State.LEASED:
        desk.decide(lease)


def test_decided_bytes_open_a_new_item_that_shows_the_old_decision(desk: Desk) -> None:
    first = desk.keep("r1", "picture")
    decision = desk.decide(desk.lease(), Outcome.REJECT, note="seen")
    second = desk.keep("r2", "picture")
    assert second.item_id != first.item_id
    assert not second.joined
    item = desk.item(second.item_id)
    assert item.earlier == decision
    assert item.decisions == ()
    assert desk.item(first.item_id).earlier is None
    assert desk.lease().item.earlier == decision, "the reviewer who claims it sees it too"


def test_tenants_do_not_meet(desk: Desk) -> None:
    mine = desk.keep("r1", "picture")
    theirs = desk.keep("r1", "picture", tenant="other")
    assert not theirs.joined
    assert not theirs.repeated
    assert theirs.item_id != mine.item_id
    with pytest.raises(ItemNotFound):
        desk.store.get(tenant="other", item_id=mine.item_id)


def test_a_group_is_recorded_as_its_flags_one_by_one_would_be(desk: Desk) -> None:
    desk.keep("old", "known bytes")
    results = desk.store.record(
        [
            desk.flag("r1", "a"),
            desk.flag("r2", "a"),
            desk.flag("r1", "a"),
            desk.flag("r1", "b"),
            desk.flag("r3", "known bytes"),
            desk.flag("r1", "a", tenant="other"),
            desk.flag("r4", "c"),
        ]
    )
    assert [getattr(r, "joined", None) for r in results] == [
        False, True, False, None, True, False, False,
    ]  # fmt: skip
    kept = [r for r in results if isinstance(r, Recorded)]
    assert [r.repeated for r in kept] == [False, False, True, False, False, False]
    assert isinstance(results[3], RequestIdReused)
    assert len({r.item_id for r in kept}) == 4
    assert desk.item(kept[0].item_id).submissions == 2


@pytest.mark.parametrize(
    "bad",
    [
        {"tenant": ""},
        {"request_id": ""},
        {"sha256": "ABC"},
        {"severity": 5},
        {"severity": 0},
        {"size_bytes": -1},
        {"size_bytes": 2**70},
        {"answer": "not json"},
        {"answer": "[]"},
        {"content_ref": "nul \x00 byte"},
        {"labels": {"key": "lone \ud800 surrogate"}},
        {"reviews_needed": 0},
        {"inclusion_probability": math.nan},
    ],
    ids=lambda bad: "-".join(bad),
)
def test_one_bad_flag_never_fails_its_mates(desk: Desk, bad: dict[str, Any]) -> None:
    first, refused, last = desk.store.record(
        [desk.flag("r1"), desk.flag(**{"request_id": "r2", **bad}), desk.flag("r3")]
    )
    assert isinstance(refused, InvalidRequest)
    for good in (first, last):
        assert isinstance(good, Recorded)
        assert desk.item(good.item_id).state is State.READY
    page = desk.store.list(ListRequest(tenant="t"))
    assert len(page.items) == 2


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_kept_as_the_worst(desk: Desk, score: float) -> None:
    kept = desk.keep("r1", score=score)
    assert desk.item(kept.item_id).score == 1.0


def test_every_new_item_begins_its_history(desk: Desk) -> None:
    kept = desk.keep("r1", "a")
    desk.keep("r2", "a")
    (begun,) = desk.store.history(tenant="t", item_id=kept.item_id)
    assert (begun.source, begun.target, begun.cause) == (None, State.READY, Cause.ENQUEUE)


def test_an_empty_group_is_nothing(desk: Desk) -> None:
    assert desk.store.record([]) == []
