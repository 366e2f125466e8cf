"""People's words of a span, with the items they are about, for figures of their quality.

Reads a page at a time, along an index by time. Knows rows; what they say is ``core/quality.py``'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from imagesieve_server.core.golden import Golden, GoldenRequest
from imagesieve_server.core.quality import Case, Said, facts_of
from imagesieve_server.core.quality_report import QualityReport, QualityTally
from imagesieve_server.core.review import Outcome
from imagesieve_server.review_queue.quality_rows import CaseReads, SaidAfter
from imagesieve_server.review_queue.rows import DecisionRow, ItemRow
from imagesieve_server.review_queue.store_calls import StoreCalls

PAGE = 500
"""Words of one transaction."""
LOOK_AT = 200_000
"""Words that a report looks at, at most: the rest is left out, and the report says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some words, each with its item's case; ``after`` is where the next page begins."""

    cases: tuple[tuple[Case, str], ...]
    after: SaidAfter | None  # None: there are no more


def page(
    tx: CaseReads, *, tenant: str, since: float, until: float, after: SaidAfter | None,
    limit: int = PAGE,
) -> Page:  # fmt: skip
    """The words of [since, until), seconds since the epoch, by time."""
    words = tx.said_between(tenant, since=since, until=until, after=after, limit=limit)
    item_ids = sorted({word.item_id for word in words})
    items = tx.items(tenant, item_ids)
    said: dict[str, list[DecisionRow]] = defaultdict(list)
    for row in tx.decisions(tenant, item_ids):
        said[row.item_id].append(row)
    known = _known(tx, tenant, list(items.values()))
    cases = {
        item_id: _case(items[item_id], said[item_id], known.get(item_id)) for item_id in item_ids
    }
    last = (words[-1].decided_at, words[-1].decision_id) if len(words) == limit else None
    return Page(cases=tuple((cases[word.item_id], word.decision_id) for word in words), after=last)


class Scan:
    """A report in the making: ask for pages and take them until it is done."""

    def __init__(self, *, tenant: str, since: float, until: float, look_at: int = LOOK_AT) -> None:
        self._tenant = tenant
        self._since = since
        self._until = until
        self._look_at = look_at
        self._tally = QualityTally()
        self._after: SaidAfter | None = None
        self._seen = 0
        self.done = False

    def page(self, tx: CaseReads) -> Page:
        """The next page."""
        return page(
            tx, tenant=self._tenant, since=self._since, until=self._until, after=self._after
        )

    def take(self, found: Page) -> None:
        """Count a page."""
        for case, decision_id in found.cases:
            for fact in facts_of(case, decision_id):
                self._tally.add(fact)
        self._seen += len(found.cases)
        self._after = found.after
        self.done = found.after is None or self._seen >= self._look_at

    def report(self) -> QualityReport:
        """What the pages said."""
        partial = self._after is not None
        return self._tally.report(since=self._since, until=self._until, partial=partial)


class QueueQuality:
    """``core.ports.ReviewQuality`` over the store that ``calls`` reach."""

    def __init__(self, *, calls: StoreCalls, look_at: int = LOOK_AT) -> None:
        self._calls = calls
        self._look_at = look_at

    async def quality(self, *, tenant: str, since: float, until: float) -> QualityReport:
        """A page for each turn of the store's thread, so that uploads come in between."""
        scan = Scan(tenant=tenant, since=since, until=until, look_at=self._look_at)
        while not scan.done:
            scan.take(await self._calls.call("quality", lambda store: store.read(scan.page)))
        return scan.report()

    async def mark_golden(self, request: GoldenRequest) -> Golden:
        return await self._calls.call("golden", lambda store: store.mark_golden(request))

    async def unmark_golden(self, request: GoldenRequest) -> None:
        await self._calls.call("golden", lambda store: store.unmark_golden(request))

    async def goldens(self, *, tenant: str) -> Sequence[Golden]:
        return await self._calls.call("golden", lambda store: store.goldens_listed(tenant))


def case_of(tx: CaseReads, tenant: str, item_id: str) -> Case:
    """One item, which exists, with all words on it."""
    item = tx.items(tenant, [item_id])[item_id]
    known = _known(tx, tenant, [item]).get(item_id)
    return _case(item, list(tx.decisions(tenant, [item_id])), known)


def _known(tx: CaseReads, tenant: str, items: Sequence[ItemRow]) -> dict[str, Outcome]:
    """The right answers of those items that are copies of golden ones."""
    copies = {item.item_id: item.golden_of for item in items if item.golden_of is not None}
    found = tx.goldens(tenant, sorted(set(copies.values())))
    return {item_id: found[golden_id].outcome for item_id, golden_id in copies.items()}


def _case(item: ItemRow, said: list[DecisionRow], known: Outcome | None) -> Case:
    return Case(
        known=known,
        category=item.category,
        round=item.round,
        said=tuple(
            Said(
                decision_id=row.decision_id,
                reviewer=row.reviewer,
                round=row.round,
                tier=row.tier,
                outcome=row.outcome,
                cause=row.cause,
                effective=row.effective,
                supersedes=row.supersedes,
                decided_at=row.decided_at,
            )
            for row in said
        ),
    )
