"""The list of items with its filters.

Knows what a filter may not tell: where policies audit, nobody who decides may find out an item's
reasons or its arrival by asking for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from imagesieve_server.console.listing import REASONS, categories_of, listed, policy_of
from imagesieve_server.console.rendering import Templates
from imagesieve_server.console.sessions import Session
from imagesieve_server.console.signing_in import for_leads
from imagesieve_server.console.words import STATES
from imagesieve_server.core.errors import InvalidRequest
from imagesieve_server.core.ports import PolicySource, ReviewQueue
from imagesieve_server.core.review import ListRequest, State
from imagesieve_server.core.verdict import ReasonCode

PAGE: Final = 50
_HOUR_S: Final = 3600.0
_AGES: Final[Mapping[str, tuple[str, float, float]]] = {  # title, least and most seconds
    "new": ("Within the last hour", 0.0, _HOUR_S),
    "1h": ("Over an hour ago", _HOUR_S, 0.0),
    "8h": ("Over 8 hours ago", 8 * _HOUR_S, 0.0),
    "1d": ("Over a day ago", 24 * _HOUR_S, 0.0),
    "7d": ("Over a week ago", 7 * 24 * _HOUR_S, 0.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePage:
    """The handler, for leads and admins. ``clock`` gives Unix time."""

    queue: ReviewQueue
    policies: PolicySource
    templates: Templates
    clock: Callable[[], float]

    async def items(self, request: Request, session: Session) -> Response:
        """Items by state, category, reason and age, the oldest first."""
        for_leads(session)
        asked = _asked(request)
        wanted = _wanted(asked, tenant=session.tenant)
        try:
            page = await self.queue.list(wanted)
        except InvalidRequest:  # a page of another question
            return RedirectResponse("/queue", status_code=303)
        now, name = self.clock(), session.account.name
        return self.templates.page(
            "queue.html",
            session=session,
            rows=[
                listed(item, policy=policy_of(self.policies, item), now=now, reader=name)
                for item in page.items
            ],
            states=[(known.value, text) for known, text in STATES.items()],
            categories=categories_of(self.policies),
            reasons=[
                (code.value, text.capitalize())
                for code, text in REASONS.items()
                if code is not ReasonCode.AUDIT_SAMPLE  # who decides is not told which they are
            ],
            ages=[(key, title) for key, (title, _, _) in _AGES.items()],
            asked=asked,
            filtered=any(asked.values()),
            left_out=wanted.told_only and any(policy.audit for policy in self.policies.all()),
            first=not wanted.page_token,
            after=page.next_page_token,
        )


def _asked(request: Request) -> dict[str, str]:
    """The filters, "" where there is none or none like it."""
    given = request.query_params
    known = {"state": [s.value for s in State], "reason": [r.value for r in ReasonCode],
             "age": list(_AGES)}  # fmt: skip
    asked = {"category": given.get("category", "")[:128]}
    for name, values in known.items():
        value = given.get(name, "")
        asked[name] = value if value in values else ""
    return asked | {"after": given.get("after", "")[:1024]}


def _wanted(asked: dict[str, str], *, tenant: str) -> ListRequest:
    """Takes the page's place out of ``asked``, which are then the filters alone."""
    after = asked.pop("after")
    _, least, most = _AGES.get(asked["age"], ("", 0.0, 0.0))
    return ListRequest(
        tenant=tenant,
        states=(State(asked["state"]),) if asked["state"] else (),
        category=asked["category"],
        reason=ReasonCode(asked["reason"]) if asked["reason"] else None,
        min_age_s=least,
        max_age_s=most,
        told_only=bool(asked["reason"] or asked["age"]),
        page_size=PAGE,
        page_token=after,
    )
