"""Counts, as decisions are made, what they say about quality: the metrics beside the figures.

Best effort: a decision that is recorded is never refused because it could not be counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.quality import Fact, GoldenAnswer, Judged, Pair, facts_of
from imagesieve_server.core.review import DecideRequest, DecisionRecord
from imagesieve_server.review_queue.quality import case_of
from imagesieve_server.review_queue.rows import Transaction
from imagesieve_server.review_queue.store import ReviewStore

REMEMBERED = 10_000
"""Decisions that are known to be counted: a repeated call counts once."""


class QualityCounts:
    """Counts for one server. All calls come from the store's threads."""

    def __init__(self, *, count: Callable[[str], None]) -> None:
        self._count = count
        self._counted: OrderedDict[str, None] = OrderedDict()

    def decide(self, store: ReviewStore, request: DecideRequest) -> DecisionRecord:
        """Record the decision and count it. Raises what ``store.decide`` does."""
        record = store.decide(request)
        if record.decision_id not in self._counted:
            self._counted[record.decision_id] = None
            while len(self._counted) > REMEMBERED:
                self._counted.popitem(last=False)
            try:
                for what in store.read(lambda tx: tuple(_said(tx, request.tenant, record))):
                    self._count(what)
            except StoreUnavailable:
                pass  # recorded it is; the figures are read from the record
        return record


def _said(tx: Transaction, tenant: str, record: DecisionRecord) -> Iterator[str]:
    """What the decision says by itself, and of the one that it supersedes."""
    case = case_of(tx, tenant, record.item_id)
    for fact in facts_of(case, record.decision_id):
        yield from _word(fact, contested=False)
    if record.supersedes and case.known is None:
        for fact in facts_of(case, record.supersedes):
            yield from _word(fact, contested=True)


def _word(fact: Fact, *, contested: bool) -> Iterator[str]:
    if isinstance(fact, Judged):
        if contested and fact.contested:
            yield "overturned" if fact.overturned else "upheld"
    elif contested:
        return
    elif isinstance(fact, Pair):
        yield "agreed" if fact.first_rejects == fact.second_rejects else "differed"
    elif isinstance(fact, GoldenAnswer):
        yield {True: "golden_right", False: "golden_wrong", None: "golden_passed"}[fact.right]
