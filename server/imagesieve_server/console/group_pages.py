"""The leads' pages of look-alikes: which groups wait, and one decision for all of one.

Knows forms and redirects; the rules are the queue's, the words ``group_shown``'s. What a form
decides on is named by the snapshot that its page was made from, and asked once more with the
number of pictures before it is done.
"""

from __future__ import annotations

import asyncio
import secrets
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from imagesieve_server.console import group_shown
from imagesieve_server.console.listing import categories_of, policy_of
from imagesieve_server.console.rendering import Templates
from imagesieve_server.console.review_pages import ReviewPages, labels_of, sentence
from imagesieve_server.console.sessions import Session
from imagesieve_server.console.shown import shown
from imagesieve_server.console.signing_in import Forbidden, Form, field_of, for_leads, read_form
from imagesieve_server.console.words import labels_in_words
from imagesieve_server.core.errors import DecisionConflict, GroupChanged, InvalidRequest
from imagesieve_server.core.groups import (
    CloseGroupRequest,
    GroupSummary,
    UndoGroupCloseRequest,
)
from imagesieve_server.core.ports import ReviewGroups
from imagesieve_server.core.review import ItemPage, Outcome, State

LISTED: Final = 30
"""Groups on the list."""
PAGE: Final = 24
"""Members on one page: fewer than a session remembers as revealed."""
_NO_LABEL: Final = "Choose at least one label for a rejection."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a form says about the close that is wanted."""

    group_id: str
    close_id: str
    snapshot: str
    count: int
    outcome: Outcome
    labels: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPages:
    """Handlers for leads and admins. ``clock`` gives Unix time."""

    groups: ReviewGroups
    review: ReviewPages
    templates: Templates
    clock: Callable[[], float]

    async def list(self, request: Request, session: Session) -> Response:
        """The groups that wait, the largest or the newest first."""
        for_leads(session)
        newest = request.query_params.get("by") == "newest"
        found = await self.groups.list(tenant=session.tenant, limit=LISTED)
        lines = await asyncio.gather(*(self._line(session, summary) for summary in found))
        pairs = list(zip(found, lines, strict=True))
        if newest:
            pairs.sort(key=lambda pair: -pair[0].last_at)
        return self.templates.page(
            "groups.html", session=session, lines=[line for _, line in pairs], newest=newest
        )

    async def page(self, request: Request, session: Session) -> Response:
        """One group: its pictures, what a decision would close, earlier decisions."""
        for_leads(session)
        after = request.query_params.get("after", "")[:1024]
        return await self._page(session, request.path_params["group_id"], after=after)

    async def confirm(self, request: Request, session: Session) -> Response:
        """Ask once more, with the number. Changes nothing."""
        for_leads(session)
        asked = _asked(await read_form(request, session))
        if asked.outcome is Outcome.REJECT and not asked.labels:
            return await self._page(session, asked.group_id, asked=asked, message=_NO_LABEL)
        titles = dict(categories_of(self.review.policies))
        return self.templates.page(
            "group_confirm.html",
            session=session,
            preferences=await self.review.book.of(session.account.name),
            asked=asked,
            verb=group_shown.VERBS[asked.outcome],
            pictures=group_shown.pictures(asked.count),
            labels=labels_in_words(asked.labels, titles),
        )

    async def close(self, request: Request, session: Session) -> Response:
        """Decide on what was shown, and on nothing else."""
        for_leads(session)
        asked = _asked(await read_form(request, session))
        order = CloseGroupRequest(
            tenant=session.tenant,
            close_id=asked.close_id,
            group_id=asked.group_id,
            snapshot=asked.snapshot,
            count=asked.count,
            outcome=asked.outcome,
            labels=asked.labels if asked.outcome is Outcome.REJECT else (),
            note=asked.note,
            actor=session.account.name,
        )
        try:
            await self.groups.close(order)
        except (GroupChanged, DecisionConflict):
            return await self._page(session, asked.group_id, asked=asked)
        except InvalidRequest as error:
            message = sentence(error.problem)
            return await self._page(session, asked.group_id, asked=asked, message=message)
        return _to(asked.group_id)

    async def undo(self, request: Request, session: Session) -> Response:
        """Reopen what a close has decided."""
        for_leads(session)
        form = await read_form(request, session)
        undone = await self.groups.undo(
            UndoGroupCloseRequest(
                tenant=session.tenant,
                close_id=field_of(form, "close_id", limit=128),
                note=field_of(form, "note", limit=2000),
                actor=session.account.name,
            )
        )
        return _to(undone.group_id)

    async def reveal(self, request: Request, session: Session) -> Response:
        """Show a page's pictures unveiled; each is on record first."""
        for_leads(session)
        form = await read_form(request, session)
        group_id, after = field_of(form, "group_id", limit=128), field_of(form, "after", limit=1024)
        items = (await self._members(session, group_id, after)).items
        sessions = self.review.desk.sessions
        async with sessions.lock(session):
            session = await sessions.again(session)
            for item in items:
                if item.state is not State.EXPIRED and item.item_id not in session.work.revealed:
                    session = await self.review.record(session, item, how="asked")
        return _to(group_id, after=after)

    async def _page(
        self,
        session: Session,
        group_id: str,
        *,
        after: str = "",
        message: str = "",
        asked: Asked | None = None,
    ) -> Response:
        """``asked``: what came to nothing, to be changed or sent again."""
        page = await self._members(session, group_id, after)
        group = await self.groups.get(tenant=session.tenant, group_id=group_id)
        if asked is not None and not message:
            message = group_shown.changed(was=asked.count, now=group.closable)
        now, name = self.clock(), session.account.name
        first = page.items[0] if page.items else None
        policy = policy_of(self.review.policies, first) if first else None
        titles = dict(categories_of(self.review.policies))
        labels = shown(first, policy=policy, now=now, reader=name).labels if first else ()
        if asked is not None:
            labels = tuple((label, text, label in asked.labels) for label, text, _ in labels)
        revealed = session.work.revealed
        return self.templates.page(
            "group.html",
            session=session,
            preferences=await self.review.book.of(name),
            message=message,
            group=group,
            line=group_shown.line(group.summary, first, policy=policy, now=now),
            pictures=group_shown.pictures(group.closable),
            left_open=group_shown.left_open(group),
            labels=labels,
            note=asked.note if asked else "",
            close_id=f"console-{secrets.token_hex(12)}",
            members=group_shown.members(
                page.items, policy=policy, now=now, reader=name, revealed=revealed
            ),
            after=after,
            next_page=page.next_page_token,
            closes=[group_shown.close(made, titles=titles, now=now) for made in group.closes],
        )  # fmt: skip

    async def _members(self, session: Session, group_id: str, after: str) -> ItemPage:
        return await self.groups.members(
            tenant=session.tenant, group_id=group_id, page_size=PAGE, page_token=after
        )

    async def _line(self, session: Session, summary: GroupSummary) -> group_shown.Line:
        page = await self.groups.members(
            tenant=session.tenant, group_id=summary.group_id, page_size=1
        )
        seed = page.items[0] if page.items else None
        policy = policy_of(self.review.policies, seed) if seed else None
        return group_shown.line(summary, seed, policy=policy, now=self.clock())


def _asked(form: Form) -> Asked:
    """Raises Forbidden for what no page of ours sends."""
    outcome, count = field_of(form, "outcome").upper(), field_of(form, "count", limit=9)
    if outcome not in [known.value for known in group_shown.VERBS] or not count.isdecimal():
        raise Forbidden("The form does not say what was decided.")
    return Asked(
        group_id=field_of(form, "group_id", limit=128),
        close_id=field_of(form, "close_id", limit=128),
        snapshot=field_of(form, "snapshot"),
        count=int(count),
        outcome=Outcome(outcome),
        labels=labels_of(form),
        note=field_of(form, "note", limit=2000),
    )


def _to(group_id: str, *, after: str = "") -> Response:
    query = "?" + urllib.parse.urlencode({"after": after}) if after else ""
    path = f"/groups/{urllib.parse.quote(group_id, safe='')}{query}"
    return RedirectResponse(path, status_code=303)
