"""What leads see beyond the item in hand: one item with its history, the overview.

Knows which questions the queue answers quickly, and says on the page what the figures cover.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from imagesieve_server.console.database import ConsoleDatabase
from imagesieve_server.console.desk import Desk
from imagesieve_server.console.figures import by_category, by_hour, shares
from imagesieve_server.console.listing import Row, categories_of, listed, policy_of, with_frames
from imagesieve_server.console.pictures import Picture, Pictures, try_picture
from imagesieve_server.console.preferences import PreferenceBook
from imagesieve_server.console.rendering import Templates
from imagesieve_server.console.sessions import Session
from imagesieve_server.console.shown import shown
from imagesieve_server.console.signing_in import field_of, for_leads, read_form
from imagesieve_server.core.errors import ArrowNotAllowed
from imagesieve_server.core.ports import PolicySource, ReviewQueue
from imagesieve_server.core.review import Item, ListRequest, State
from imagesieve_server.core.views import Background

PAGE: Final = 50
SAMPLE: Final = 500
"""Waiting items that the overview's figures by category are made of: the oldest."""
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadPages:
    """Handlers for leads and admins. ``clock`` gives Unix time."""

    queue: ReviewQueue
    desk: Desk
    policies: PolicySource
    pictures: Pictures
    database: ConsoleDatabase
    book: PreferenceBook
    templates: Templates
    clock: Callable[[], float]

    async def item(self, request: Request, session: Session) -> Response:
        """One item, its decisions and who saw it."""
        for_leads(session)
        item = await self.queue.get(tenant=session.tenant, item_id=request.path_params["item_id"])
        view = shown(
            item,
            policy=policy_of(self.policies, item),
            now=self.clock(),
            whole=item.state in (State.DECIDED, State.EXPIRED),
            reader=session.account.name,
        )
        worst = next((frame for frame in view.frames if frame.worst), None)
        picture = await try_picture(
            self.pictures,
            item,
            frame=worst.frame if worst else 0,
            background=Background(worst.background) if worst else Background.WHITE,
        )
        return self.templates.page(
            "item.html",
            session=session,
            row=self._row(item, session, self.clock()),
            item=with_frames(view, picture),
            picture=picture if isinstance(picture, Picture) else None,
            no_picture=picture if isinstance(picture, str) else "",
            revealed=item.item_id in session.work.revealed,
            preferences=await self.book.of(session.account.name),
            parked=item.state is State.PARKED,
            free=item.state is State.READY and item.tier in session.account.role.tiers,
            reveals=await self.database.reveals_of(tenant=session.tenant, item_id=item.item_id),
            now=self.clock(),
        )

    async def take(self, request: Request, session: Session) -> Response:
        """Take this item in hand, out of its turn."""
        for_leads(session)
        item_id = field_of(await read_form(request, session), "item_id")
        async with self.desk.sessions.lock(session):
            session = await self.desk.sessions.again(session)
            await self.desk.take(session, item_id=item_id)
        return RedirectResponse("/review", status_code=303)

    async def requeue(self, request: Request, session: Session) -> Response:
        """Put a parked item back."""
        for_leads(session)
        item_id = field_of(await read_form(request, session), "item_id")
        try:
            await self.queue.requeue(
                tenant=session.tenant, item_id=item_id, actor=session.account.name
            )
        except ArrowNotAllowed:
            pass  # somebody else was faster; the page shows how it stands
        return RedirectResponse(f"/items/{item_id}", status_code=303)

    async def overview(self, request: Request, session: Session) -> Response:
        """How the queue stands and what people did."""
        for_leads(session)
        tenant, now = session.tenant, self.clock()
        stats = await self.queue.stats(tenant=tenant)
        waiting = await self.queue.list(
            ListRequest(tenant=tenant, states=(State.READY,), page_size=SAMPLE)
        )
        parked = await self.queue.list(
            ListRequest(tenant=tenant, states=(State.PARKED,), page_size=PAGE)
        )
        deeds = await self.database.deeds(tenant=tenant, since=now - _DAY_S)
        titles = dict(categories_of(self.policies))
        oldest = stats.oldest_ready_at
        return self.templates.page(
            "overview.html",
            session=session,
            stats={state.value.capitalize(): n for state, n in stats.by_state.items()},
            oldest_s=None if oldest is None else max(0.0, stats.now - oldest),
            categories=by_category(waiting.items, titles=titles, now=stats.now),
            partial=bool(waiting.next_page_token),
            sample=SAMPLE,
            parked=[self._row(item, session, now) for item in parked.items],
            hours=by_hour([deed for deed in deeds if deed.what in _DECISIONS], now=now),
            people=shares(
                deeds,
                exposures=await self.database.exposures(tenant=tenant, since=now - _DAY_S),
            ),
        )

    def _row(self, item: Item, session: Session, now: float) -> Row:
        policy = policy_of(self.policies, item)
        return listed(item, policy=policy, now=now, reader=session.account.name)


_DECISIONS: Final = ("APPROVE", "REJECT", "ESCALATE")
