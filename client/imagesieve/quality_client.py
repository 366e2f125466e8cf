"""How well people decide, blocking. Methods only: what they send is in ``quality_calls.py``.

Every method raises PermissionDenied for callers without the role lead or admin, and the other
``ImagesieveError``s; ``timeout`` is in seconds for all attempts together. All of them are safe
to repeat.
"""

from __future__ import annotations

from datetime import datetime

from imagesieve import quality_calls
from imagesieve.connection import DEFAULT_TIMEOUT_S
from imagesieve.quality_results import Golden, Quality
from imagesieve.transport import Transport


class QualityClient:
    """``Client.quality``: for callers with the role lead or admin."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def figures(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Quality:
        """Agreement of second reviews, answers to golden items and overturned decisions of what
        people said from ``since`` (None: 30 days before) up to ``until`` (None: now).

        Raises ValueError for a time without a zone.
        """
        return self._transport.run(
            quality_calls.figures(since=since, until=until, timeout_s=timeout)
        )

    def goldens(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> tuple[Golden, ...]:
        """The golden items, the first marked first, a thousand at most."""
        return self._transport.run(quality_calls.goldens(timeout_s=timeout))

    def mark_golden(
        self,
        item_id: str,
        *,
        note: str = "",
        marked_by: str = "",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Golden:
        """Make a decided item golden: the decision in effect is the right answer, and reviewers
        get copies of it. Repeated it returns the same. ``note`` is for other leads;
        ``marked_by`` may be empty where the server knows who calls.

        Raises ItemNotFound, StateConflict where people have not decided it.
        """
        return self._transport.run(
            quality_calls.mark_golden(item_id, note=note, marked_by=marked_by, timeout_s=timeout)
        )

    def unmark_golden(
        self, item_id: str, *, unmarked_by: str = "", timeout: float = DEFAULT_TIMEOUT_S
    ) -> None:
        """Give no more copies of an item; what was answered still counts. Raises ItemNotFound."""
        self._transport.run(
            quality_calls.unmark_golden(item_id, unmarked_by=unmarked_by, timeout_s=timeout)
        )
