"""Signing in and out, tenants, preferences."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from imagesieve_server.console.desk import Desk
from imagesieve_server.console.preferences import PreferenceBook, Preferences
from imagesieve_server.console.rendering import Templates
from imagesieve_server.console.sessions import Session, SessionMoved
from imagesieve_server.console.signing_in import (
    TOO_OFTEN,
    Forbidden,
    SigningIn,
    field_of,
    read_form,
)
from imagesieve_server.core.errors import CapacityError, DependencyError

log = logging.getLogger(__name__)


class LoginMetrics(Protocol):
    """What is counted of signing in."""

    def console_login(self, result: str) -> None:
        """Somebody tried to sign in: ok, failed or limited."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPages:
    """Handlers of what a person does with their own account."""

    signing_in: SigningIn
    desk: Desk
    book: PreferenceBook
    templates: Templates
    metrics: LoginMetrics

    async def login_page(self, request: Request) -> Response:
        return self._login(problem="", name="", after=request.query_params.get("next", ""))

    async def login(self, request: Request) -> Response:
        form = await read_form(request, None)
        name, after = field_of(form, "name", limit=256), field_of(form, "next")
        password = form.get("password", [""])[0]
        found = await self.signing_in.sign_in(request, name=name, password=password)
        if isinstance(found, str):
            self.metrics.console_login("limited" if found == TOO_OFTEN else "failed")
            return self._login(problem=found, name=name, after=after, status=403)
        self.metrics.console_login("ok")
        before = await self.signing_in.of_cookie(request)
        if before is not None:  # their cookie is replaced
            await self._end(before)
        cookie = await self.signing_in.sessions.begin(found)
        response = RedirectResponse(_own_path(after), status_code=303)
        self.signing_in.set_cookie(response, cookie)
        return response

    async def logout(self, request: Request, session: Session) -> Response:
        await read_form(request, session)
        await self._end(session)
        return self._gone()

    async def logout_everywhere(self, request: Request, session: Session) -> Response:
        await read_form(request, session)
        await self._end(session)
        await self.signing_in.sessions.end_all(session.account)
        return self._gone()

    async def change_tenant(self, request: Request, session: Session) -> Response:
        tenant = field_of(await read_form(request, session), "tenant")
        if tenant not in session.account.tenants:
            raise Forbidden("You do not review for this tenant.")
        async with self.signing_in.sessions.lock(session):
            session = await self.signing_in.sessions.again(session)
            if tenant != session.tenant:
                await self.desk.leave(session)
                await self.signing_in.sessions.change_tenant(session, tenant)
        return RedirectResponse("/review", status_code=303)

    async def preferences_page(self, request: Request, session: Session) -> Response:
        return self.templates.page(
            "preferences.html",
            session=session,
            preferences=await self.book.of(session.account.name),
            always_veil=self.book.always_veil,
            saved="saved" in request.query_params,
        )

    async def change_preferences(self, request: Request, session: Session) -> Response:
        form = await read_form(request, session)
        chosen = Preferences(
            veil="veil" in form or self.book.always_veil,
            grey="grey" in form,
            shortcuts="shortcuts" in form,
        )
        await self.book.choose(session.account.name, chosen)
        return RedirectResponse("/preferences?saved", status_code=303)

    async def _end(self, session: Session) -> None:
        """Sign out one browser. What it has in hand goes back, also what another tab takes at this
        moment; where the queue does not answer, nobody stays signed in for that."""
        async with self.signing_in.sessions.lock(session):
            try:
                await self.desk.leave(await self.signing_in.sessions.again(session))
            except SessionMoved:
                return  # it has ended already
            except (CapacityError, DependencyError) as error:
                log.warning("what was in hand comes back when its lease ends: %s", error)
            await self.signing_in.sessions.end(session)

    def _login(self, *, problem: str, name: str, after: str, status: int = 200) -> Response:
        return self.templates.page(
            "login.html", status=status, problem=problem, name=name, after=after
        )

    def _gone(self) -> Response:
        response = RedirectResponse("/login", status_code=303)
        self.signing_in.clear_cookie(response)
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
        return response


def _own_path(wanted: str) -> str:
    """Where to go after signing in: a page of this site, never another's."""
    safe = wanted.startswith("/") and not wanted.startswith("//") and wanted.isprintable()
    return wanted if safe and "\\" not in wanted else "/review"
