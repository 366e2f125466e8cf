"""From the queue's database to figures: what counts as a decision, a label, an upload."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from helpers.review_queue import Desk, ManualClock
from imagesieve_server.core.errors import StoreNotUsable
from imagesieve_server.core.review import AuditCount, Cause, Outcome
from imagesieve_server.core.review_afterwards import EraseRequest, ReopenRequest
from imagesieve_server.core.verdict import ReasonCode, Verdict
from imagesieve_server.offline.from_decisions.measure import (
    CategoryResult,
    VersionResult,
    from_decisions,
)
from imagesieve_server.offline.from_decisions.report import as_json, as_text
from imagesieve_server.review_queue.read_only import sqlite_reader
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite

DAY = 86400.0
FIRST = date(2023, 11, 14)  # of the clock
APPROVE, REJECT = Outcome.APPROVE, Outcome.REJECT


def answer(*categories: str, raised: tuple[str, ...] = ()) -> str:
    return json.dumps(
        {
            "item_id": "",
            "judgement": {
                "scores": [{"category": each} for each in categories],
                "reasons": [{"code": "CATEGORY_REVIEW", "category": each} for each in raised],
            },
        }
    )


BOTH = answer("weapons", "drugs")
SAMPLE: dict[str, Any] = {
    "audit": True,
    "verdict": Verdict.ALLOW,
    "reasons": (ReasonCode.AUDIT_SAMPLE,),
    "inclusion_probability": 0.5,
    "answer": BOTH,
}
FLAG: dict[str, Any] = {"answer": answer("weapons", "drugs", raised=("weapons",))}


class Queue(Desk):
    """A desk over a file, and what is measured of it."""

    path: Path

    def sample(self, name: str, **fields: Any) -> str:
        return self.keep(name, **{**SAMPLE, **fields}).item_id

    def flagged(self, name: str, content: str = "", **fields: Any) -> str:
        return self.keep(name, content, **{**FLAG, **fields}).item_id

    def say(self, outcome: Outcome, *labels: str) -> None:
        self.decide(self.lease(), outcome, labels=labels)

    def count(self, uploads: int, **fields: Any) -> None:
        base = AuditCount(
            tenant="t", policy="demo", policy_version="p1", day=FIRST.isoformat(), band="far",
            sha256="", probability=0.5, uploads=uploads,
        )  # fmt: skip
        self.store.add_counts([replace(base, **fields)])

    def all_measured(self, *, tenant: str = "", **fields: Any) -> tuple[VersionResult, ...]:
        with contextlib.closing(sqlite_reader(path=self.path, tenant=tenant, page=3)) as reader:
            return from_decisions(reader, **fields)

    def measured(self, **fields: Any) -> VersionResult:
        (result,) = self.all_measured(**fields)
        return result


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    path = tmp_path / "queue.db"
    migrate_sqlite(path=path)
    clock = ManualClock()
    desk = Queue(store=open_sqlite(path=path, clock=clock), clock=clock)
    desk.path = path
    yield desk
    desk.store.close()


def row(result: VersionResult, category: str = "any") -> CategoryResult:
    return next(row for row in result.categories if row.category == category)


def values(result: VersionResult, category: str = "any") -> tuple[float, float]:
    """(caught, missed)"""
    estimate = row(result, category).estimate
    return estimate.caught.value, estimate.missed.value


def test_flags_and_samples_become_precision_and_recall(queue: Queue) -> None:
    for number in range(4):
        queue.flagged(f"f{number}")
        queue.say(REJECT if number < 3 else APPROVE, *(["weapons"] if number < 3 else []))
    for number in range(6):
        queue.sample(f"s{number}")
        queue.say(REJECT if number == 0 else APPROVE, *(["drugs"] if number == 0 else []))
    queue.count(12)
    found = queue.measured()
    assert (found.flagged, found.allowed) == (4, 12)
    assert values(found) == (3.0, 2.0)
    assert values(found, "weapons") == (3.0, 0.0)
    assert values(found, "drugs") == (0.0, 2.0)
    precision = row(found).precision
    assert precision is not None
    assert precision.value == 0.75
    any_recall = row(found).estimate.recall
    assert any_recall is not None
    assert any_recall.value == 0.6
    assert row(found, "drugs").estimate.recall is None, "none was caught"
    share = row(found).estimate.share
    assert share is not None
    assert share.value == 5 / 16
    assert [(b.name, b.decided, b.violating, b.allowed) for b in found.bands] == [("far", 6, 1, 12)]


def test_a_category_is_precise_about_what_it_flagged_itself(queue: Queue) -> None:
    queue.flagged("f1")
    queue.say(REJECT, "drugs")  # flagged for weapons
    found = queue.measured()
    assert row(found, "weapons").precision is not None
    assert row(found, "drugs").precision is None
    assert values(found, "drugs") == (1.0, 0.0), "and yet it was caught"


def test_a_reject_without_labels_is_of_the_category_that_was_shown(queue: Queue) -> None:
    queue.flagged("f1")
    queue.say(REJECT)
    found = queue.measured()
    assert values(found, "weapons") == (1.0, 0.0)
    assert any("have no label" in warning for warning in found.warnings)


def test_labels_that_name_no_category_count_for_none_unless_they_are_given_one(
    queue: Queue,
) -> None:
    queue.flagged("f1")
    queue.say(REJECT, "gun")
    found = queue.measured()
    assert values(found) == (0.0, 0.0)
    assert any("'gun' ×1" in warning for warning in found.warnings)
    renamed = queue.measured(aliases={"gun": "weapons"})
    assert values(renamed, "weapons") == (1.0, 0.0)
    assert renamed.warnings == (found.warnings[0],)  # that nothing was audited


def test_escalated_and_open_items_are_not_decided(queue: Queue) -> None:
    queue.sample("s1")
    queue.say(Outcome.ESCALATE)
    queue.sample("s2")
    found = queue.measured()
    assert (found.samples_waiting, found.bands[0].waiting) == (1.0, 2)
    assert any("no sample is decided yet" in warning for warning in found.warnings)
    queue.sample("s3")
    queue.say(APPROVE)
    (warning,) = (one for one in queue.measured().warnings if "not decided" in one)
    assert "66.7\u202f% of the samples are not decided" in warning


def test_the_last_decision_counts_and_a_contested_one_does_not(queue: Queue) -> None:
    item = queue.flagged("f1")
    queue.say(REJECT, "weapons")
    queue.store.reopen(ReopenRequest(tenant="t", item_id=item, cause=Cause.OVERTURN))
    assert queue.measured().flags_waiting == 1.0
    queue.decide(queue.lease(reviewer="ben"), APPROVE, reviewer="ben")
    found = queue.measured()
    assert (values(found), found.flags_waiting) == ((0.0, 0.0), 0.0)


def test_an_erased_item_says_what_a_person_had_said(queue: Queue) -> None:
    for name in ("seen", "unseen"):
        queue.sample(name)
        if name == "seen":
            queue.say(REJECT, "weapons")
        sha256 = queue.flag(name).sha256
        queue.store.erase(EraseRequest(tenant="t", sha256=sha256, reason="law", actor="ann"))
    found = queue.measured()
    assert (found.bands[0].decided, found.bands[0].waiting, found.bands[0].violating) == (1, 1, 1)
    assert values(found, "weapons")[1] == 4.0  # one of two drawn was decided, at ½


def test_a_sample_stands_for_all_its_uploads(queue: Queue) -> None:
    queue.sample("s1")
    queue.say(REJECT, "drugs")
    sha256 = queue.flag("s1").sha256
    queue.count(10)
    queue.count(7, sha256=sha256)
    assert values(queue.measured())[1] == 14.0


def test_a_sample_that_was_kept_twice_counts_once(queue: Queue) -> None:
    queue.sample("s1")
    queue.say(REJECT, "drugs")
    queue.keep("s2", "s1", **SAMPLE)
    found = queue.measured()
    assert (found.bands[0].decided, values(found)[1]) == (1, 4.0), "two uploads of one picture"


def test_a_sample_that_became_a_flag_counts_on_both_sides(queue: Queue) -> None:
    queue.sample("s1")
    queue.flagged("f1", "s1", policy_version="p2")
    queue.say(REJECT, "weapons")
    old, new = queue.all_measured()
    assert (old.version, values(old)) == ("p1", (0.0, 2.0))
    assert (new.version, values(new)) == ("p2", (1.0, 0.0))


def test_versions_are_apart_and_each_item_has_its_own_probability(queue: Queue) -> None:
    queue.sample("s1", inclusion_probability=0.1)
    queue.say(REJECT, "drugs")
    queue.sample("s2", inclusion_probability=0.5)
    queue.say(REJECT, "drugs")
    queue.sample("s3", policy_version="p2", inclusion_probability=0.2)
    queue.say(APPROVE)
    first, second = queue.all_measured()
    assert [band.probability for band in first.bands] == [0.5, 0.1]
    assert (values(first)[1], values(second)[1]) == (12.0, 0.0)


def test_a_picture_that_was_not_asked_about_a_category_did_not_slip_past_it(queue: Queue) -> None:
    queue.sample("s1", answer=answer("weapons"))
    queue.say(REJECT, "drugs")
    assert values(queue.measured())[1] == 0.0


def test_lost_samples_are_made_up_for_and_mentioned(queue: Queue) -> None:
    queue.sample("s1")
    queue.say(REJECT, "drugs")
    queue.count(8, dropped=3)
    found = queue.measured()
    assert values(found)[1] == 8.0
    assert any("3 samples were lost" in warning for warning in found.warnings)


def test_the_window_begins_at_a_day(queue: Queue) -> None:
    queue.flagged("f1")
    queue.say(REJECT, "weapons")
    queue.sample("s1")
    queue.say(REJECT, "drugs")
    sha256 = queue.flag("s1").sha256
    queue.count(4)
    queue.clock.advance(2 * DAY)
    later = date(2023, 11, 16)
    assert queue.all_measured(since=later) == ()
    queue.flagged("f2")
    queue.say(APPROVE)
    queue.count(10, day=later.isoformat())
    queue.count(3, day=later.isoformat(), sha256=sha256)
    found = queue.measured(since=later)
    assert (found.flagged, found.allowed) == (1, 10)
    assert values(found) == (0.0, 6.0), "the sample of the first day is uploaded again"


def test_policies_and_tenants_can_be_chosen(queue: Queue) -> None:
    queue.flagged("f1")
    queue.flagged("f2", policy="other")
    queue.flagged("f3", tenant="u")
    assert [r.policy for r in queue.all_measured()] == ["demo", "other"]
    assert queue.measured(policy="demo").flagged == 2
    assert queue.measured(policy="demo", tenant="u").flagged == 1
    assert queue.all_measured(policy="none") == ()


def test_without_audit_the_recall_is_said_to_be_unknown(queue: Queue) -> None:
    queue.flagged("f1")
    queue.say(REJECT, "weapons")
    found = queue.measured()
    assert row(found).estimate.recall is None
    assert "not known" in as_text([found])
    assert any("nothing was audited" in warning for warning in found.warnings)


def test_before_anybody_decided_nothing_is_claimed(queue: Queue) -> None:
    for name in "abc":
        queue.flagged(f"f{name}", name)
    queue.sample("s1")
    queue.count(1, band="near", probability=0.5)
    found = queue.measured()
    for category in ("any", "weapons"):
        estimate = row(found, category).estimate
        assert (estimate.caught.low, estimate.caught.high) == (0.0, 3.0)
        assert estimate.recall is None
        assert estimate.share is None
        assert estimate.needed is None
    assert "not known (0 to 3)" in as_text([found])
    read = json.loads(as_json([found]))
    assert read["versions"][0]["categories"][0]["estimate"]["caught"]["value"] is None
    said = " ".join(found.warnings)
    assert "no flag is decided yet" in said
    assert "no sample is decided yet" in said
    queue.say(REJECT, "weapons")  # the flags come first
    assert row(queue.measured()).estimate.recall is not None
    assert "no flag is decided" not in " ".join(queue.measured().warnings)


def test_results_are_a_table_and_json_without_what_json_cannot_say(queue: Queue) -> None:
    queue.flagged("f1")
    queue.say(REJECT, "weapons")
    queue.sample("s1")
    queue.say(REJECT, "weapons")
    found = queue.measured()
    text = as_text([found])
    assert "policy demo, version p1, since 2023-11-14" in text
    assert "an unknown number allowed" in text
    read = json.loads(as_json([found]))
    assert read["versions"][0]["categories"][0]["estimate"]["missed"]["value"] == 2.0
    nothing = json.loads(as_json([replace(found, samples_waiting=float("inf"))]))
    assert nothing["versions"][0]["samples_waiting"] is None
    assert "in the queue" in as_text([])


def test_the_server_goes_on_while_it_is_read(queue: Queue) -> None:
    """The store is open all the time; a page in the middle holds no lock."""
    for number in range(5):
        queue.flagged(f"f{number}")
    reader = sqlite_reader(path=queue.path, page=2)
    rows = reader.submissions()
    next(rows)
    queue.flagged("f5")  # would wait five seconds and fail, were the database locked
    assert sorted(r.request_id for r, _ in [*rows]) == ["f1", "f2", "f3", "f4", "f5"]
    reader.close()


@pytest.mark.parametrize("content", [None, b"", b"no database" * 100])
def test_what_is_no_queue_is_refused_and_not_made(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a queue?mode=rw.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreNotUsable):
        sqlite_reader(path=path)
    assert path.exists() is (content is not None)
