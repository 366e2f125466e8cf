"""The leads' overview: how the queue stands, what people did and what it took, how right it was.

Knows what the figures cover and says so on the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from imagesieve_server.console.database import ConsoleDatabase
from imagesieve_server.console.exposure import DAY_S, Limits
from imagesieve_server.console.figures import by_category, by_hour, people
from imagesieve_server.console.kept_figures import KeptFigures
from imagesieve_server.console.listing import Row, categories_of, listed, policy_of
from imagesieve_server.console.precision_plot import DAYS, precision_plots
from imagesieve_server.console.quality_plot import quality_bars
from imagesieve_server.console.rendering import Templates
from imagesieve_server.console.sessions import Session
from imagesieve_server.console.signing_in import for_leads
from imagesieve_server.console.words import STATES
from imagesieve_server.core.ports import PolicySource, ReviewQueue
from imagesieve_server.core.review import ListRequest, State

PARKED: Final = 50
QUALITY_DAYS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewPage:
    """The handler. ``clock`` gives Unix time."""

    queue: ReviewQueue
    figures: KeptFigures
    policies: PolicySource
    database: ConsoleDatabase
    templates: Templates
    limits: Limits
    clock: Callable[[], float]

    async def page(self, request: Request, session: Session) -> Response:
        """All of it, of the tenant at hand."""
        for_leads(session)
        tenant, since = session.tenant, self.clock() - DAY_S
        stats = await self.queue.stats(tenant=tenant)
        waiting = await self.figures.waiting(tenant)
        decided = await self.figures.decided(tenant)
        oldest, titles = stats.oldest_ready_at, dict(categories_of(self.policies))
        return self.templates.page(
            "overview.html",
            session=session,
            stats={STATES[state]: n for state, n in stats.by_state.items()},
            oldest_s=None if oldest is None else max(0.0, stats.now - oldest),
            categories=by_category(waiting, titles=titles),
            partial=waiting.partial,
            hours=by_hour(decided),
            people=people(
                decided=decided,
                deeds=await self.database.deeds(tenant=tenant, since=since),
                unveiled=await self.database.exposures(tenant=tenant, since=since),
                taken=await self.figures.taken(tenant),
                limits=self.limits,
            ),
            limits=self.limits,
            parked=await self._parked(session),
            quality=quality_bars((await self.figures.quality(tenant, days=QUALITY_DAYS)).total),
            quality_days=QUALITY_DAYS,
            **await self._precision(tenant),
        )

    async def _precision(self, tenant: str) -> dict[str, Any]:
        # Where samples must not be told from flags, a day is counted when it is over: or whoever
        # decides an item could see whether the number of flags has risen.
        today = not any(policy.audit for policy in self.policies.all())
        days = await self.figures.judged(tenant, days=DAYS, today=today)
        counts = {ago: judged.counts for ago, judged in days.items()}
        titles = dict(categories_of(self.policies))
        return {
            "precision": precision_plots(counts, titles=titles),
            "precision_days": DAYS,
            "precision_partial": any(judged.partial for judged in days.values()),
            "precision_today": today,
        }

    async def _parked(self, session: Session) -> list[Row]:
        wanted = ListRequest(tenant=session.tenant, states=(State.PARKED,), page_size=PARKED)
        now, name = self.clock(), session.account.name
        return [
            listed(item, policy=policy_of(self.policies, item), now=now, reader=name)
            for item in (await self.queue.list(wanted)).items
        ]
