"""The console's site: which address does what, and what holds for all of them.

Knows routes, roles and how failures look; what a page does is in ``review_pages.py``,
``account_pages.py`` and ``lead_pages.py``.
"""

from __future__ import annotations

import logging
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from imagesieve_server.console.account_pages import AccountPages
from imagesieve_server.console.choice_page import ChoicePage
from imagesieve_server.console.group_pages import GroupPages
from imagesieve_server.console.guard import Guard
from imagesieve_server.console.lead_pages import LeadPages
from imagesieve_server.console.overview_page import OverviewPage
from imagesieve_server.console.quality_pages import QualityPages
from imagesieve_server.console.queue_page import QueuePage
from imagesieve_server.console.rendering import STATIC, Templates
from imagesieve_server.console.review_pages import ReviewPages
from imagesieve_server.console.sessions import Session, SessionMoved
from imagesieve_server.console.signing_in import Forbidden, SigningIn
from imagesieve_server.console.static_files import BuildFiles
from imagesieve_server.core.errors import (
    CapacityError,
    DependencyError,
    InvalidRequest,
    ItemNotFound,
)

log = logging.getLogger(__name__)

Handler = Callable[[Request, Session], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The parts of the site."""

    signing_in: SigningIn
    account: AccountPages
    review: ReviewPages
    lead: LeadPages
    listed: QueuePage
    groups: GroupPages
    choice: ChoicePage
    overview: OverviewPage
    quality: QualityPages
    templates: Templates
    origins: frozenset[str]

    def app(self) -> ASGIApp:
        """The whole as one ASGI application."""
        account, review, lead = self.account, self.review, self.lead
        routes = [
            Route("/", _home),
            Route("/login", account.login_page),
            Route("/login", account.login, methods=["POST"]),
            self._post("/logout", account.logout),
            self._post("/logout-everywhere", account.logout_everywhere),
            self._post("/tenant", account.change_tenant),
            self._get("/preferences", account.preferences_page),
            self._post("/preferences", account.change_preferences),
            self._get("/review", review.page),
            self._post("/review/next", review.next),
            self._post("/review/decide", review.decide),
            self._post("/review/skip", review.skip),
            self._post("/review/take-skipped", review.take_skipped),
            self._post("/review/undo", review.undo),
            self._post("/review/extend", review.extend),
            self._post("/review/reveal", review.reveal),
            self._get("/items/{item_id}/picture", review.picture),
            self._get("/items/{item_id}/veiled", review.veiled),
            self._get("/queue", self.listed.items),
            self._get("/choose", self.choice.page),
            self._post("/choose", self.choice.choose),
            self._post("/items/take", lead.take),
            self._get("/items/{item_id}", lead.item),
            self._post("/items/requeue", lead.requeue),
            *self._of_groups(),
            self._get("/overview", self.overview.page),
            self._get("/quality", self.quality.page),
            self._post("/items/golden", self.quality.mark),
            self._post("/items/golden/end", self.quality.unmark),
            Mount("/static", BuildFiles(STATIC, build=self.templates.build)),
        ]
        handlers = {
            Forbidden: self._forbidden,
            SessionMoved: _moved,
            ItemNotFound: self._missing,
            InvalidRequest: self._missing,  # an address with what no id has in it
            CapacityError: self._busy,
            DependencyError: self._busy,
            HTTPException: self._http,
            Exception: self._broken,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]
        return Guard(app, origins=self.origins, secure=self.signing_in.secure)

    def _of_groups(self) -> list[Route]:
        return [
            self._get("/groups", self.groups.list),
            self._get("/groups/{group_id}", self.groups.page),
            self._post("/groups/confirm", self.groups.confirm),
            self._post("/groups/close", self.groups.close),
            self._post("/groups/undo", self.groups.undo),
            self._post("/groups/reveal", self.groups.reveal),
        ]

    def _get(self, path: str, handler: Handler) -> Route:
        return Route(path, self._signed_in(handler))

    def _post(self, path: str, handler: Handler) -> Route:
        return Route(path, self._signed_in(handler), methods=["POST"])

    def _signed_in(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            session, cookie = await self.signing_in.session(request)
            if session is None:
                return _to_login(request)
            response = await handler(request, session)
            if cookie:
                self.signing_in.set_cookie(response, cookie)
            return response

        return endpoint

    async def _forbidden(self, request: Request, error: Forbidden) -> Response:
        return self._problem("Not allowed", str(error), 403)

    async def _missing(self, request: Request, error: Exception) -> Response:
        return self._problem("Not found", "There is no such item here.", 404)

    async def _busy(self, request: Request, error: Exception) -> Response:
        log.warning("console page failed: %s", error)
        text = "The review queue does not answer at this moment. Nothing was lost; try again."
        response = self._problem("One moment", text, 503)
        response.headers["Retry-After"] = "5"
        return response

    async def _http(self, request: Request, error: HTTPException) -> Response:
        return self._problem("Not found", "There is no such page.", error.status_code)

    async def _broken(self, request: Request, error: Exception) -> Response:
        """The server's log has what it was; the page tells nothing of it."""
        return self._problem("That went wrong", "It is the server's fault, and is in its log.", 500)

    def _problem(self, title: str, text: str, status: int) -> Response:
        return self.templates.page("problem.html", status=status, title=title, text=text)


async def _home(request: Request) -> Response:
    return RedirectResponse("/review", status_code=303)


async def _moved(request: Request, error: Exception) -> Response:
    """A key pressed twice reached two servers: the page shows what the first one did."""
    if request.headers.get("accept", "").startswith("application/json"):
        return Response(status_code=409)
    return RedirectResponse("/review", status_code=303)


def _to_login(request: Request) -> Response:
    if request.headers.get("accept", "").startswith("application/json"):
        return Response(status_code=401)
    after = request.url.path if request.method == "GET" else "/review"
    return RedirectResponse(f"/login?next={urllib.parse.quote(after)}", status_code=303)
