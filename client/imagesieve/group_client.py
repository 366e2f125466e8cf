"""Groups of look-alikes, blocking. Methods only: what they send is in ``group_calls.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagesieve import group_calls
from imagesieve.connection import DEFAULT_TIMEOUT_S
from imagesieve.group_results import Group, GroupClose, GroupSummary
from imagesieve.review_results import Item, Outcome
from imagesieve.transport import Transport


class GroupClient:
    """``Client.groups``: for callers with the role lead."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, limit: int = 50, timeout: float = DEFAULT_TIMEOUT_S
    ) -> tuple[GroupSummary, ...]:
        """The groups of which two or more items wait, the largest first, 100 at most."""
        return self._transport.run(group_calls.list_groups(limit=limit, timeout_s=timeout))

    def get(self, group_id: str, *, timeout: float = DEFAULT_TIMEOUT_S) -> Group:
        """One group as it is now. Raises ItemNotFound."""
        return self._transport.run(group_calls.get(group_id, timeout_s=timeout))

    def items(
        self, group_id: str, *, page_size: int = 50, timeout: float = DEFAULT_TIMEOUT_S
    ) -> Iterator[Item]:
        """A group's items in any state, by time of arrival, fetched page by page as they are
        taken; ``timeout`` is for each page."""
        page_token = ""
        while True:
            page = self._transport.run(
                group_calls.items_page(
                    group_id, page_size=page_size, page_token=page_token, timeout_s=timeout
                )
            )
            yield from page.items
            page_token = page.next_page_token
            if not page_token:
                return

    def close(
        self,
        group: Group,
        outcome: Outcome,
        *,
        labels: Sequence[str] = (),
        note: str = "",
        closed_by: str = "",
        close_id: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> GroupClose:
        """Decide on the open items of ``group`` as ``get`` has shown it, and on no others: what
        arrived later stays open. Show a person ``group.closable`` first. A large group may
        still be under way in the answer; ``get_close`` tells how far it is.

        Raises GroupChanged where an item would be closed that was not shown.
        """
        return self._transport.run(
            group_calls.close(
                group,
                outcome,
                labels=labels,
                note=note,
                closed_by=closed_by,
                close_id=close_id,
                timeout_s=timeout,
            )
        )

    def get_close(self, close_id: str, *, timeout: float = DEFAULT_TIMEOUT_S) -> GroupClose:
        """How far a close is. Raises ItemNotFound."""
        return self._transport.run(group_calls.get_close(close_id, timeout_s=timeout))

    def undo(
        self,
        close_id: str,
        *,
        note: str = "",
        undone_by: str = "",
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> GroupClose:
        """Reopen what a close has closed and nobody has decided since; repeats are safe."""
        return self._transport.run(
            group_calls.undo(close_id, note=note, undone_by=undone_by, timeout_s=timeout)
        )
