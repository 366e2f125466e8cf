"""The review queue, blocking. Methods only: what they send is in ``review_calls.py``.

Every method raises an ``ImagesieveError``; ``timeout`` is in seconds for all attempts
together. All of them are safe to repeat.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from imagesieve import review_calls
from imagesieve.connection import DEFAULT_TIMEOUT_S
from imagesieve.errors import Unavailable
from imagesieve.review_results import (
    Decision,
    DecisionEvent,
    Erasure,
    Item,
    ItemState,
    Lease,
    Outcome,
    QueueStats,
    ReopenCause,
)
from imagesieve.transport import Transport
from imagesieve.watching import Watch


class ReviewClient:
    """``Client.review``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def claim(
        self,
        *,
        reviewer: str = "",
        categories: Sequence[str] = (),
        tier: int = 0,
        lease_s: int = 0,
        include_image: bool = False,
        item_id: str = "",
        claim_id: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Lease | None:
        """Lease the most urgent item; None where nothing is ready.

        ``reviewer`` may be empty only where the server knows who calls.
        ``categories`` and ``tier`` narrow the choice (empty: any; 0: the first tier); "" among
        the categories stands for items without one. ``item_id`` takes this item and no other,
        out of its turn: for callers with the role lead, as are tiers above the first.
        ``lease_s`` is in seconds, 0 for the server's default of ten minutes. The same
        ``claim_id`` returns the same lease while it lives; one is made where it is None.
        """
        return self._transport.run(
            review_calls.claim(
                reviewer=reviewer,
                categories=categories,
                tier=tier,
                lease_s=lease_s,
                include_image=include_image,
                item_id=item_id,
                claim_id=claim_id,
                timeout_s=timeout,
            )
        )

    def extend(
        self, item_id: str, token: str, *, lease_s: int = 0, timeout: float = DEFAULT_TIMEOUT_S
    ) -> datetime | None:
        """Prolong a lease by ``lease_s`` seconds; gives its new end. Raises LeaseLost."""
        return self._transport.run(
            review_calls.extend(item_id, token, lease_s=lease_s, timeout_s=timeout)
        )

    def release(self, item_id: str, token: str, *, timeout: float = DEFAULT_TIMEOUT_S) -> Item:
        """Give a claimed item back undecided. Raises LeaseLost."""
        return self._transport.run(review_calls.release(item_id, token, timeout_s=timeout))

    def decide(
        self,
        item_id: str,
        token: str,
        outcome: Outcome,
        *,
        labels: Sequence[str] = (),
        note: str = "",
        reviewer: str = "",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Decision:
        """Record a decision; repeated with the same content it gives the same record.

        Raises LeaseLost, and DecisionConflict where the token decided otherwise before.
        """
        return self._transport.run(
            review_calls.decide(
                item_id,
                token,
                outcome,
                labels=labels,
                note=note,
                reviewer=reviewer,
                timeout_s=timeout,
            )
        )

    def get(
        self, item_id: str, *, include_image: bool = False, timeout: float = DEFAULT_TIMEOUT_S
    ) -> Item:
        """One item, with the original bytes where asked for. Raises ItemNotFound."""
        return self._transport.run(
            review_calls.get(item_id, include_image=include_image, timeout_s=timeout)
        )

    def list(
        self,
        *,
        states: Sequence[ItemState] = (),
        category: str = "",
        reason: str = "",
        min_age_s: float = 0.0,
        max_age_s: float = 0.0,
        page_size: int = 50,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Iterator[Item]:
        """Items, fetched page by page as they are taken; ``timeout`` is for each page.

        Without ``states`` all open ones. ``reason`` is a code such as UNDECODABLE; ages are
        seconds since the item arrived, 0 for no bound.
        """
        page_token = ""
        while True:
            page = self._transport.run(
                review_calls.list_page(
                    states=states,
                    category=category,
                    reason=reason,
                    min_age_s=min_age_s,
                    max_age_s=max_age_s,
                    page_size=page_size,
                    page_token=page_token,
                    timeout_s=timeout,
                )
            )
            yield from page.items
            page_token = page.next_page_token
            if not page_token:
                return

    def stats(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> QueueStats:
        """How many items stand where."""
        return self._transport.run(review_calls.stats(timeout_s=timeout))

    def requeue(self, item_id: str, *, timeout: float = DEFAULT_TIMEOUT_S) -> Item:
        """Put a parked item back into the queue; one that is open already stays as it is.

        Raises StateConflict where it is decided.
        """
        return self._transport.run(review_calls.requeue(item_id, timeout_s=timeout))

    def reopen(
        self,
        item_id: str,
        cause: ReopenCause,
        *,
        decision_id: str = "",
        note: str = "",
        reopened_by: str = "",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Item:
        """Have a decided item reviewed again, in a new round; the decision stays on record.

        ``decision_id`` names the contested decision, for example from its event: where it is
        not in effect any more nothing changes, so a repeat is safe. Without one it is the
        decision in effect. Where another item with the same bytes is open, the item is
        returned attached to that one, whose decision will count for both.

        Raises StateConflict where the picture has been removed.
        """
        return self._transport.run(
            review_calls.reopen(
                item_id,
                cause,
                decision_id=decision_id,
                note=note,
                reopened_by=reopened_by,
                timeout_s=timeout,
            )
        )

    def erase(
        self,
        *,
        reason: str,
        sha256: str = "",
        item_id: str = "",
        erased_by: str = "",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Erasure:
        """Delete a picture and what came with its uploads, by law: for administrators.

        Give the ``sha256`` of its bytes or the ``item_id`` of an item that has them. Every item
        of these bytes is rejected with cause LEGAL_DELETE, whoever holds it. ``reason`` stays
        on record. Repeated, it gives the same.
        """
        return self._transport.run(
            review_calls.erase(
                sha256=sha256,
                item_id=item_id,
                reason=reason,
                erased_by=erased_by,
                timeout_s=timeout,
            )
        )

    def watch(
        self,
        *,
        cursor: str = "",
        from_oldest: bool = False,
        save: Callable[[str], None] | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Iterator[DecisionEvent]:
        """Decisions as they are made, one event for each upload. Ends when the client is closed.

        An interrupted watch goes on by itself where it stood: every decision comes at least
        once, those of one item in order. It begins behind ``cursor``; without one from now on
        or, with ``from_oldest``, from the oldest event that the server keeps. ``save`` is
        called with a new cursor once everything before it has been dealt with, that is, when
        the next event is asked for: keep the last one to go on after a restart. ``timeout`` is
        for the first contact only, seconds.

        Raises CursorExpired where the server no longer keeps what comes after the cursor.
        """
        watch = Watch(cursor=cursor, from_oldest=from_oldest, save=save, timeout_s=timeout)
        while not self._transport.closed:
            try:
                for cursor, event in self._transport.stream(watch.call()):
                    watch.reached()
                    if event is not None:
                        yield event
                    watch.done_with(cursor)
            except Unavailable as error:
                watch.failed(error)
            if not self._transport.closed:
                time.sleep(watch.pause())
