"""Groups of look-alikes in the review queue, as the gRPC service and the console use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from imagesieve_server.core.groups import (
    CloseGroupRequest,
    Group,
    GroupClose,
    GroupSummary,
    UndoGroupCloseRequest,
)
from imagesieve_server.core.review import ItemPage


class ReviewGroups(Protocol):
    """Every method raises StoreUnavailable where the store does not answer."""

    async def list(self, *, tenant: str, limit: int = 50) -> Sequence[GroupSummary]:
        """Groups of which two or more members wait, the largest first; looked for among the
        last to arrive. Raises InvalidRequest."""
        ...

    async def get(self, *, tenant: str, group_id: str) -> Group:
        """A group as it is now, with a snapshot to close it by. Raises ItemNotFound."""
        ...

    async def summary(self, *, tenant: str, group_id: str) -> GroupSummary:
        """How many members a group has, by state; less work than ``get``. Raises ItemNotFound."""
        ...

    async def members(
        self, *, tenant: str, group_id: str, page_size: int = 50, page_token: str = ""
    ) -> ItemPage:
        """A group's items in any state, by time of arrival. Raises InvalidRequest."""
        ...

    async def close(self, request: CloseGroupRequest) -> GroupClose:
        """Decide on the open members that were shown. When this returns the order is durable;
        a large one may still be under way, and is finished whatever happens. Repeated with the
        same id and content it returns the same close, as far as it is.

        Raises InvalidRequest, GroupChanged (not all that would be closed was shown),
        DecisionConflict (the id was used for something else).
        """
        ...

    async def undo(self, request: UndoGroupCloseRequest) -> GroupClose:
        """Reopen what a close has closed and nobody has decided since; repeats are safe.

        Raises InvalidRequest, ItemNotFound.
        """
        ...

    async def get_close(self, *, tenant: str, close_id: str) -> GroupClose:
        """How far a close is. Raises ItemNotFound."""
        ...
