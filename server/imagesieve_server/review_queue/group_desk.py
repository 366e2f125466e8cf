"""Groups as callers see them: awaitable, orders carried out step by step beside other work.

Knows when the next step is taken and who waits for it; the rules are ``group_closing``'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from imagesieve_server.core.errors import ImagesieveError, ItemNotFound
from imagesieve_server.core.groups import (
    CloseGroupRequest,
    Group,
    GroupClose,
    GroupSummary,
    Progress,
    UndoGroupCloseRequest,
)
from imagesieve_server.core.review import ItemPage
from imagesieve_server.review_queue import checks, group_closing, group_reading
from imagesieve_server.review_queue.rows import Transaction
from imagesieve_server.review_queue.store_calls import StoreCalls

log = logging.getLogger(__name__)

WAIT_S = 5.0
"""How long an answer waits for what was ordered, seconds; what takes longer goes on after it."""
UNDER_WAY = (Progress.CLOSING, Progress.UNDOING)


class QueueGroups:
    """``core.ports.ReviewGroups`` over the store's calls. For one event loop."""

    def __init__(self, *, calls: StoreCalls, wait_s: float = WAIT_S) -> None:
        self._calls = calls
        self._wait_s = wait_s
        self._at_work: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def list(self, *, tenant: str, limit: int = 50) -> Sequence[GroupSummary]:
        work = partial(group_reading.groups, tenant=tenant, limit=limit)
        return await self._calls.call("groups", lambda store: store.read(work))

    async def get(self, *, tenant: str, group_id: str) -> Group:
        work = partial(group_reading.group, tenant=tenant, group_id=group_id)
        return await self._calls.call("groups", lambda store: store.read(work))

    async def summary(self, *, tenant: str, group_id: str) -> GroupSummary:
        work = partial(group_reading.summary, tenant=tenant, group_id=group_id)
        return await self._calls.call("groups", lambda store: store.read(work))

    async def members(
        self, *, tenant: str, group_id: str, page_size: int = 50, page_token: str = ""
    ) -> ItemPage:
        work = partial(
            group_reading.members,
            tenant=tenant,
            group_id=group_id,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._calls.call("groups", lambda store: store.read(work))

    async def close(self, request: CloseGroupRequest) -> GroupClose:
        work = partial(group_closing.order, request=request)
        ordered = await self._calls.call("close_group", lambda store: store.transact(work))
        return await self._carried_out(request.tenant, ordered)

    async def undo(self, request: UndoGroupCloseRequest) -> GroupClose:
        work = partial(group_closing.undo, request=request)
        ordered = await self._calls.call("undo_group", lambda store: store.transact(work))
        return await self._carried_out(request.tenant, ordered)

    async def get_close(self, *, tenant: str, close_id: str) -> GroupClose:
        work = partial(_get_close, tenant=tenant, close_id=close_id)
        return await self._calls.call("groups", lambda store: store.read(work))

    async def resume(self) -> int:
        """Go on with what was ordered and stopped, by whichever server; how many orders."""
        unfinished = await self._calls.call("groups", lambda store: store.read(_unfinished))
        for tenant, close_id in unfinished:
            self._begin(tenant, close_id)
        return len(unfinished)

    async def _carried_out(self, tenant: str, ordered: GroupClose) -> GroupClose:
        """The close once it is done, or as far as it is when the answer cannot wait longer."""
        if ordered.progress not in UNDER_WAY:
            return ordered
        task = self._begin(tenant, ordered.close_id)
        await asyncio.wait([task], timeout=self._wait_s)
        return await self.get_close(tenant=tenant, close_id=ordered.close_id)

    def _begin(self, tenant: str, close_id: str) -> asyncio.Task[None]:
        """One task for each close, however many wait for it."""
        key = (tenant, close_id)
        task = self._at_work.get(key)
        if task is None:
            task = self._at_work[key] = asyncio.ensure_future(self._carry_out(tenant, close_id))
            task.add_done_callback(lambda _: self._at_work.pop(key, None))
        return task

    async def _carry_out(self, tenant: str, close_id: str) -> None:
        work = partial(group_closing.step, tenant=tenant, close_id=close_id)
        try:
            while True:
                close = await self._calls.call(
                    "close_group", lambda store: store.transact(work), tells=tenant
                )
                if close.progress not in UNDER_WAY:
                    return
        except ImagesieveError as error:  # ``resume`` goes on with it
            log.warning("group close interrupted", extra={"problem": error.message})


def _get_close(tx: Transaction, *, tenant: str, close_id: str) -> GroupClose:
    checks.text("close_id", close_id, required=True)
    row = tx.close(tenant, close_id)
    if row is None:
        raise ItemNotFound("there is no group close of that id")
    return group_reading.close_of(tx, row)


def _unfinished(tx: Transaction) -> Sequence[tuple[str, str]]:
    return tx.unfinished_closes()
