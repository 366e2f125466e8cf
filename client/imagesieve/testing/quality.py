"""Golden items in the fake server, and the figures that a test says. No gRPC and no protobuf.

Follows the server's rules as a caller sees them: what people decided can be marked, and what is
contested or erased is golden no more. Nobody is given a copy.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from imagesieve.errors import InvalidRequest, StateConflict
from imagesieve.quality_results import Golden, Quality
from imagesieve.review_results import Item, ItemState
from imagesieve.testing.queue import FakeQueue

SPAN = timedelta(days=30)
"""What figures are of where the caller names no beginning."""
_OF_PEOPLE = ("DECIDE", "FOLLOW", "REUSE_DECISION")


class FakeQuality:
    """Over the fake queue, under the same lock. ``quality`` is what a test said."""

    quality: Quality | None = None

    def __init__(self, queue: FakeQueue) -> None:
        self._queue = queue
        self._goldens: dict[str, tuple[int, Golden]] = {}  # by item_id, with the item's round

    def figures(self, since: datetime | None, until: datetime | None) -> Quality:
        until = until or datetime.now(UTC)
        since = since or until - SPAN
        if since >= until:
            raise InvalidRequest("since: must lie before until", metadata={"field": "since"})
        return replace(self.quality or Quality(), since=since, until=until)

    def goldens(self) -> tuple[Golden, ...]:
        return tuple(
            golden
            for item_id, (round_, golden) in self._goldens.items()
            if _stands(self._queue.get(item_id), round_)
        )

    def mark(self, item_id: str, *, note: str, marked_by: str) -> Golden:
        item = self._queue.get(item_id)
        known = self._goldens.get(item_id)
        if known is not None and _stands(item, known[0]):
            return known[1]
        decision = next((d for d in reversed(item.decisions) if d.effective), None)
        settled = item.state is ItemState.DECIDED and not item.attached_to
        if not settled or decision is None or decision.cause not in _OF_PEOPLE:
            raise StateConflict("only an item that people decided can be golden")
        golden = Golden(
            item_id=item_id, sha256=item.sha256, outcome=decision.outcome,
            category=item.category, labels=decision.labels, note=note, marked_by=marked_by,
            marked_at=datetime.now(UTC),
        )  # fmt: skip
        self._goldens[item_id] = (item.round, golden)
        return golden

    def unmark(self, item_id: str) -> None:
        self._queue.get(item_id)  # it must be there
        self._goldens.pop(item_id, None)


def _stands(item: Item, marked_in: int) -> bool:
    return item.state is ItemState.DECIDED and item.round == marked_in
