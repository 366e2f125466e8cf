"""Which categories come to a person: theirs to choose, for as long as they are signed in."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from imagesieve_server.console.desk import Desk
from imagesieve_server.console.listing import categories_of
from imagesieve_server.console.rendering import Templates
from imagesieve_server.console.sessions import Session
from imagesieve_server.console.signing_in import read_form
from imagesieve_server.core.ports import PolicySource

_MAX: Final = 100  # categories that a claim names at most


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoicePage:
    """The handlers."""

    desk: Desk
    policies: PolicySource
    templates: Templates

    async def page(self, request: Request, session: Session) -> Response:
        """Every category of the policies in force, and what has none."""
        return self.templates.page(
            "choose.html",
            session=session,
            categories=[*categories_of(self.policies), ("", "Unsorted: no picture, or not scored")],
            chosen=session.work.categories,
        )

    async def choose(self, request: Request, session: Session) -> Response:
        """What is in hand stays there; the next one is of what was chosen."""
        form = await read_form(request, session)
        known = {id for id, _ in categories_of(self.policies)} | {""}
        chosen = tuple(dict.fromkeys(id for id in form.get("category", []) if id in known))
        chosen = () if len(chosen) == len(known) else chosen[:_MAX]
        async with self.desk.sessions.lock(session):
            session = await self.desk.sessions.again(session)
            work = dataclasses.replace(session.work, categories=chosen, nothing=False)
            await self.desk.sessions.save(session, work)
        return RedirectResponse("/review", status_code=303)
