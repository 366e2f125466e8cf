"""The leads' page about how well people decide, and the marking of golden items.

Knows HTTP and which figures a page shows; what they mean is ``core/quality_report.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from imagesieve_server.console.rendering import Templates
from imagesieve_server.console.sessions import Session
from imagesieve_server.console.signing_in import field_of, for_leads, read_form
from imagesieve_server.console.words import labels_in_words
from imagesieve_server.core.agreement import Kappa
from imagesieve_server.core.binomial import Share
from imagesieve_server.core.errors import ArrowNotAllowed
from imagesieve_server.core.golden import DAY_S, GoldenRequest
from imagesieve_server.core.ports import PolicySource, ReviewQuality
from imagesieve_server.core.quality_report import MIN_COUNT, MIN_PAIRS, Counts

SPANS = (7, 30, 90)
"""Days that the page can look back; the second is where it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The figures of all, of a category or of a person, in words."""

    name: str
    pairs: int
    agreement: str
    kappa: str
    golden: int
    right: str
    decisions: int
    overturned: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPages:
    """Handlers for leads and admins. ``clock`` gives Unix time."""

    quality: ReviewQuality
    policies: PolicySource
    templates: Templates
    clock: Callable[[], float]

    async def page(self, request: Request, session: Session) -> Response:
        """Figures of the last days, and the golden items."""
        for_leads(session)
        asked = request.query_params.get("days", "")
        days = int(asked) if asked in map(str, SPANS) else SPANS[1]
        now = self.clock()
        report = await self.quality.quality(
            tenant=session.tenant, since=now - days * DAY_S, until=now
        )
        goldens = await self.quality.goldens(tenant=session.tenant)
        titles = {c.id: c.title for policy in self.policies.all() for c in policy.categories}
        return self.templates.page(
            "quality.html",
            session=session,
            days=days,
            spans=SPANS,
            total=line("All", report.total),
            categories=_named(report.categories, titles),
            people=[line(name, counts) for name, counts in report.reviewers.items()],
            partial=report.partial,
            goldens=goldens,
            titles=titles,
            labels_in_words=labels_in_words,
            now=now,
            min_pairs=MIN_PAIRS,
            min_count=MIN_COUNT,
        )

    async def mark(self, request: Request, session: Session) -> Response:
        """Make a decided item golden."""
        asked = await self._asked(request, session)
        try:
            await self.quality.mark_golden(asked)
        except ArrowNotAllowed:
            pass  # it was contested since; the page shows how it stands
        return RedirectResponse(f"/items/{asked.item_id}", status_code=303)

    async def unmark(self, request: Request, session: Session) -> Response:
        """Give no more copies of it."""
        asked = await self._asked(request, session)
        await self.quality.unmark_golden(asked)
        return RedirectResponse(f"/items/{asked.item_id}", status_code=303)

    async def _asked(self, request: Request, session: Session) -> GoldenRequest:
        for_leads(session)
        form = await read_form(request, session)
        return GoldenRequest(
            tenant=session.tenant,
            item_id=field_of(form, "item_id"),
            actor=session.account.name,
        )


def line(name: str, counts: Counts) -> Line:
    """The counts in words."""
    return Line(
        name=name,
        pairs=counts.table.pairs,
        agreement=_percent(counts.agreement, of=counts.table.pairs),
        kappa=_kappa(counts.kappa, counts),
        golden=counts.golden,
        right=_percent(counts.golden_accuracy, of=counts.golden),
        decisions=counts.decisions,
        overturned=_percent(counts.overturn_rate, of=counts.decisions),
    )


def _named(found: Mapping[str, Counts], titles: Mapping[str, str]) -> list[Line]:
    lines = [line(titles.get(name, name) or "Unsorted", counts) for name, counts in found.items()]
    return sorted(lines, key=lambda each: each.name)


def _percent(share: Share | None, *, of: int) -> str:
    if share is None:
        return "too few" if of else "–"
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def _kappa(found: Kappa | None, counts: Counts) -> str:
    if found is not None:
        return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
    if not counts.table.pairs:
        return "–"
    return "too few" if counts.table.pairs < MIN_PAIRS else "all alike"
