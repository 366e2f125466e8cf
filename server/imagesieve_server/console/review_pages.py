"""The claim-review-next loop as pages.

Knows forms and redirects: what a form changed is seen on the page after it, so that going
back or loading again never repeats it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from imagesieve_server.console.database import ConsoleDatabase, Reveal
from imagesieve_server.console.desk import LOST, Desk
from imagesieve_server.console.listing import categories_of, policy_of, with_frames
from imagesieve_server.console.look_alikes import look_alikes_of
from imagesieve_server.console.pictures import NoPicture, Picture, Pictures, try_picture
from imagesieve_server.console.preferences import PreferenceBook
from imagesieve_server.console.rendering import Templates
from imagesieve_server.console.sessions import Session
from imagesieve_server.console.shown import shown
from imagesieve_server.console.signing_in import Forbidden, Form, field_of, read_form
from imagesieve_server.console.similar import may_see_veiled, past_of
from imagesieve_server.core.errors import InvalidRequest
from imagesieve_server.core.ports import PolicySource, ReviewGroups, ReviewQueue
from imagesieve_server.core.review import Item, Outcome, State
from imagesieve_server.core.views import Background

LOOP = "/review"


class ReviewMetrics(Protocol):
    """What is counted of reviewing."""

    def console_reveal(self, how: str) -> None:
        """A person saw a picture unveiled: asked (for it) or shown (it never was veiled)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPages:
    """Handlers of the loop. ``clock`` gives Unix time."""

    queue: ReviewQueue
    groups: ReviewGroups
    policies: PolicySource
    desk: Desk
    pictures: Pictures
    database: ConsoleDatabase
    book: PreferenceBook
    templates: Templates
    metrics: ReviewMetrics
    clock: Callable[[], float]

    async def page(self, request: Request, session: Session) -> Response:
        """The item in hand, or what there is to do."""
        async with self.desk.sessions.lock(session):
            session = await self.desk.sessions.again(session)
            session, lease = await self.desk.in_hand(session)
            session, message = await self.desk.told(session)
            if lease is not None:
                session = await self._show_unveiled(session, lease.item)
        if lease is None:
            return await self._empty(session, message)
        return await self._item(session, lease.item, message=message)

    async def next(self, request: Request, session: Session) -> Response:
        await read_form(request, session)
        return await self._then(session, self._take)

    async def decide(self, request: Request, session: Session) -> Response:
        form = await read_form(request, session)
        outcome = field_of(form, "outcome").upper()
        if outcome not in [known.value for known in Outcome]:
            raise Forbidden("The form does not say what was decided.")

        async def work(session: Session) -> Session:
            try:
                session = await self.desk.decide(
                    session,
                    item_id=field_of(form, "item_id"),
                    outcome=Outcome(outcome),
                    labels=labels_of(form) if outcome == Outcome.REJECT else (),
                    note=field_of(form, "note", limit=2000),
                )
            except InvalidRequest as error:
                told = dataclasses.replace(session.work, message=sentence(error.problem))
                return await self.desk.sessions.save(session, told)
            return await self._take(session)

        return await self._then(session, work)

    async def skip(self, request: Request, session: Session) -> Response:
        item_id = field_of(await read_form(request, session), "item_id")

        async def work(session: Session) -> Session:
            return await self._take(await self.desk.skip(session, item_id=item_id))

        return await self._then(session, work)

    async def take_skipped(self, request: Request, session: Session) -> Response:
        await read_form(request, session)

        async def work(session: Session) -> Session:
            return await self._take(await self.desk.take_skipped(session))

        return await self._then(session, work)

    async def undo(self, request: Request, session: Session) -> Response:
        await read_form(request, session)
        return await self._then(session, self.desk.undo)

    async def extend(self, request: Request, session: Session) -> Response:
        """A page says that its reviewer is still there; it is told whether the item is, too."""
        item_id = field_of(await read_form(request, session), "item_id")
        async with self.desk.sessions.lock(session):
            session = await self.desk.sessions.again(session)
            session, lease = await self.desk.in_hand(session)
        if lease is None or lease.item.item_id != item_id:
            return JSONResponse({"kept": False, "message": LOST})
        return JSONResponse({"kept": True, "seconds": lease.lease_until - self.clock()})

    async def reveal(self, request: Request, session: Session) -> Response:
        """Put on record that the person sees the picture; only then it can be fetched."""
        item_id = field_of(await read_form(request, session), "item_id")
        item = await self._visible(session, item_id)
        async with self.desk.sessions.lock(session):
            session = await self.desk.sessions.again(session)
            await self.record(session, item, how="asked")
        if request.headers.get("accept", "").startswith("application/json"):
            return JSONResponse({"revealed": True})
        in_hand = item_id == session.work.item_id
        return RedirectResponse(LOOP if in_hand else f"/items/{item.item_id}", status_code=303)

    async def picture(self, request: Request, session: Session) -> Response:
        """The preview, veiled or, once revealed, clear; never the file itself."""
        item = await self._visible(session, request.path_params["item_id"])
        clear = "clear" in request.query_params
        if clear and item.item_id not in session.work.revealed:
            raise Forbidden("The picture was not revealed.")
        frame, background = _which(request)
        try:
            picture = await self.pictures.picture(item, frame=frame, background=background)
        except NoPicture as error:
            return Response(str(error), status_code=404, media_type="text/plain")
        return Response(picture.clear if clear else picture.veiled, media_type="image/jpeg")

    async def veiled(self, request: Request, session: Session) -> Response:
        """The veiled picture of an item that was shown beside the one in hand."""
        item_id = request.path_params["item_id"]
        if not may_see_veiled(session, item_id, request.query_params.get("proof", "")):
            raise Forbidden("You do not have this item in hand.")
        item = await self.queue.get(tenant=session.tenant, item_id=item_id)
        picture = await try_picture(self.pictures, item, frame=0, background=Background.WHITE)
        if isinstance(picture, str):
            return Response(picture, status_code=404, media_type="text/plain")
        return Response(picture.veiled, media_type="image/jpeg")

    async def _item(self, session: Session, item: Item, *, message: str) -> Response:
        shown_item = shown(item, policy=policy_of(self.policies, item), now=self.clock())
        worst = next((frame for frame in shown_item.frames if frame.worst), None)
        picture = await try_picture(
            self.pictures,
            item,
            frame=worst.frame if worst else 0,
            background=Background(worst.background) if worst else Background.WHITE,
        )
        stats = await self.queue.stats(tenant=session.tenant)
        return self.templates.page(
            "review.html",
            session=session,
            item=with_frames(shown_item, picture),
            picture=picture if isinstance(picture, Picture) else None,
            no_picture=picture if isinstance(picture, str) else "",
            revealed=item.item_id in session.work.revealed,
            preferences=await self.book.of(session.account.name),
            message=message,
            waiting=stats.by_state.get(State.READY, 0),
            can_escalate=session.work.tier < 3,
            alike=await look_alikes_of(self.groups, item),
            past=await past_of(
                self.queue,
                session,
                item,
                titles=dict(categories_of(self.policies)),
                now=self.clock(),
            ),
        )

    async def _empty(self, session: Session, message: str) -> Response:
        stats = await self.queue.stats(tenant=session.tenant)
        return self.templates.page(
            "empty.html",
            session=session,
            message=message,
            preferences=await self.book.of(session.account.name),
            waiting=stats.by_state.get(State.READY, 0),
            skipped=len(session.work.skipped),
        )

    async def _take(self, session: Session) -> Session:
        session, _ = await self.desk.next(session)
        return session

    async def _then(
        self, session: Session, work: Callable[[Session], Awaitable[Session]]
    ) -> Response:
        """Change what is in hand, one request at a time, and go to the loop's page."""
        async with self.desk.sessions.lock(session):
            await work(await self.desk.sessions.again(session))
        return RedirectResponse(LOOP, status_code=303)

    async def _show_unveiled(self, session: Session, item: Item) -> Session:
        """A person who chose to see pictures at once sees this one: on record, too."""
        preferences = await self.book.of(session.account.name)
        if preferences.veil or item.item_id in session.work.revealed:
            return session
        return await self.record(session, item, how="shown")

    async def record(self, session: Session, item: Item, *, how: str) -> Session:
        """Keep that the person sees the picture; for whoever holds the session's lock."""
        reveal = Reveal(
            at=self.clock(),
            account=session.account.name,
            tenant=session.tenant,
            item_id=item.item_id,
            sha256=item.sha256,
            how=how,
        )
        await self.database.add_reveal(reveal)
        self.metrics.console_reveal(how)
        return await self.desk.revealed(session, item.item_id)

    async def _visible(self, session: Session, item_id: str) -> Item:
        """An item that the person may look at: the one in hand, or, for leads, any of the
        tenant. Raises Forbidden, ItemNotFound."""
        account = session.account
        if item_id != session.work.item_id and not account.role.leads:
            raise Forbidden("You do not have this item in hand.")
        item = await self.queue.get(tenant=session.tenant, item_id=item_id)
        # What the session has in hand, somebody else may have by now.
        theirs = item.state is State.LEASED and item.claimed_by == account.name
        if not theirs and not account.role.leads:
            raise Forbidden("You do not have this item in hand any more.")
        return item


def labels_of(form: Form) -> tuple[str, ...]:
    """The labels of a form, each once."""
    return tuple(dict.fromkeys(label[:64] for label in form.get("label", []) if label))[:32]


def _which(request: Request) -> tuple[int, Background]:
    frame = request.query_params.get("frame", "0")
    number = int(frame) if frame.isdecimal() and len(frame) < 6 else 0
    black = request.query_params.get("background") == Background.BLACK
    return number, Background.BLACK if black else Background.WHITE


def sentence(problem: str) -> str:
    """What was wrong with a request, for a person."""
    return problem[:1].upper() + problem[1:] + "."
