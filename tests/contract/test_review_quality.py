"""Figures of the quality of decisions, read from every store."""

from __future__ import annotations

import pytest

from helpers.review_queue import Desk
from imagesieve_server.core.quality_report import QualityReport
from imagesieve_server.core.review import Cause, Outcome
from imagesieve_server.core.review_afterwards import ReopenRequest
from imagesieve_server.review_queue import quality
from imagesieve_server.review_queue.quality import Scan

APPROVE, REJECT = Outcome.APPROVE, Outcome.REJECT
LONG_S = 10_000_000.0


def said(desk: Desk, reviewer: str, outcome: Outcome, tier: int = 1) -> None:
    desk.clock.advance(1.0)
    lease = desk.lease(reviewer=reviewer, tier=tier)
    desk.decide(lease, outcome, reviewer=reviewer)


def reported(desk: Desk, *, tenant: str = "t", look_at: int = quality.LOOK_AT) -> QualityReport:
    now = desk.clock()
    scan = Scan(tenant=tenant, since=now - LONG_S, until=now + 1.0, look_at=look_at)
    while not scan.done:
        scan.take(desk.store.read(scan.page))
    return scan.report()


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """Three pairs of which one differs, and one decision that was overturned."""
    for name, second in (("r1", REJECT), ("r2", REJECT), ("r3", APPROVE)):
        desk.keep(name, reviews_needed=2, category="red")
        said(desk, "ann", REJECT)
        said(desk, "ben", second)
    said(desk, "lea", REJECT, tier=2)
    item_id = desk.keep("r4", category="blue").item_id
    said(desk, "ann", APPROVE)
    desk.store.reopen(ReopenRequest(tenant="t", item_id=item_id, cause=Cause.APPEAL))
    said(desk, "ben", REJECT)
    return desk


def test_pairs_and_overturned_decisions_are_counted(busy: Desk) -> None:
    report = reported(busy)
    assert (report.total.table.agreed, report.total.table.pairs) == (2, 3)
    assert (report.total.decisions, report.total.contested, report.total.overturned) == (5, 1, 1)
    assert report.categories["red"].table.only_first == 1
    assert report.categories["blue"].overturned == 1
    assert report.reviewers["ann"].overturned == 1
    assert report.reviewers["ben"].table.only_second == 1, "ann rejects what ben approves"
    assert report.reviewers["lea"].decisions == 1
    assert not report.partial


def test_pages_make_no_difference(busy: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = reported(busy)
    monkeypatch.setattr(quality.page, "__kwdefaults__", {"limit": 2})
    assert reported(busy) == whole
    cut = reported(busy, look_at=4)
    assert cut.partial
    assert 0 < cut.total.table.pairs < 3


def test_words_outside_the_span_and_of_other_tenants_do_not_count(busy: Desk) -> None:
    assert reported(busy, tenant="other").reviewers == {}
    busy.clock.advance(LONG_S * 2)
    assert reported(busy).total.decisions == 0
