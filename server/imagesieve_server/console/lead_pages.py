"""What leads do with any item: look at it with its history, take it, put it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from imagesieve_server.console.database import ConsoleDatabase
from imagesieve_server.console.desk import Desk
from imagesieve_server.console.listing import Row, categories_of, listed, policy_of, with_frames
from imagesieve_server.console.look_alikes import look_alikes_of
from imagesieve_server.console.pictures import Picture, Pictures, try_picture
from imagesieve_server.console.preferences import PreferenceBook
from imagesieve_server.console.rendering import Templates
from imagesieve_server.console.sessions import Session
from imagesieve_server.console.shown import shown
from imagesieve_server.console.signing_in import field_of, for_leads, read_form
from imagesieve_server.console.similar import past_of
from imagesieve_server.core.errors import ArrowNotAllowed
from imagesieve_server.core.ports import PolicySource, ReviewGroups, ReviewQueue
from imagesieve_server.core.review import OPEN, Item, State
from imagesieve_server.core.views import Background


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadPages:
    """Handlers for leads and admins. ``clock`` gives Unix time."""

    queue: ReviewQueue
    groups: ReviewGroups
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
            decided=item.state is State.DECIDED,
            golden=item.golden,
            copy_of=item.golden_of if item.state not in OPEN else "",
            free=item.state is State.READY and item.tier in session.account.role.tiers,
            reveals=await self.database.reveals_of(tenant=session.tenant, item_id=item.item_id),
            now=self.clock(),
            alike=await look_alikes_of(self.groups, item, reader=session.account.name),
            past=await past_of(
                self.queue,
                session,
                item,
                titles=dict(categories_of(self.policies)),
                now=self.clock(),
            ),
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

    def _row(self, item: Item, session: Session, now: float) -> Row:
        policy = policy_of(self.policies, item)
        return listed(item, policy=policy, now=now, reader=session.account.name)
