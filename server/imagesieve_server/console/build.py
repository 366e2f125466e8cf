"""The console's own object graph: ports and settings in, an ASGI application out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.types import ASGIApp

from imagesieve_server.console.account_pages import AccountPages, LoginMetrics
from imagesieve_server.console.accounts import Accounts
from imagesieve_server.console.breaks import Breaks
from imagesieve_server.console.choice_page import ChoicePage
from imagesieve_server.console.database import ConsoleDatabase
from imagesieve_server.console.desk import Desk
from imagesieve_server.console.exposure import Exposure, Limits
from imagesieve_server.console.group_pages import GroupPages
from imagesieve_server.console.kept_figures import KeptFigures
from imagesieve_server.console.lead_pages import LeadPages
from imagesieve_server.console.login_limit import LoginLimit
from imagesieve_server.console.overview_page import OverviewPage
from imagesieve_server.console.passwords import Passwords
from imagesieve_server.console.pictures import Pictures
from imagesieve_server.console.preferences import PreferenceBook
from imagesieve_server.console.quality_pages import QualityPages
from imagesieve_server.console.queue_page import QueuePage
from imagesieve_server.console.rendering import Templates
from imagesieve_server.console.review_pages import ReviewMetrics, ReviewPages
from imagesieve_server.console.sessions import Sessions
from imagesieve_server.console.signing_in import Proxy, SigningIn
from imagesieve_server.console.site import Site
from imagesieve_server.core.ports import (
    PolicySource,
    PreviewMaker,
    ReviewFigures,
    ReviewGroups,
    ReviewQuality,
    ReviewQueue,
)


class ConsoleMetrics(LoginMetrics, ReviewMetrics, Protocol):
    """What the console reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleOptions:
    """What the organisation chose."""

    origins: frozenset[str]  # how browsers name the site
    secure: bool  # over TLS alone
    proxy: Proxy
    always_veil: bool
    idle_s: float
    absolute_s: float
    limits: Limits
    break_after_s: float  # 0: nobody is told to take one


def build_console(
    *,
    options: ConsoleOptions,
    accounts: Callable[[], Accounts],
    queue: ReviewQueue,
    groups: ReviewGroups,
    figures: ReviewFigures,
    quality: ReviewQuality,
    policies: PolicySource,
    previews: PreviewMaker,
    database: ConsoleDatabase,
    passwords: Passwords,
    metrics: ConsoleMetrics,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> ASGIApp:
    """The site. ``clock`` gives Unix time."""
    sessions = _sessions(options, accounts, database, clock)
    signing_in = _signing_in(options, sessions, passwords, LoginLimit(clock=monotonic))
    desk = _desk(options, queue, figures, policies, sessions, clock)
    book = PreferenceBook(database=database, always_veil=options.always_veil)
    templates = Templates()
    review = ReviewPages(
        queue=queue,
        groups=groups,
        policies=policies,
        desk=desk,
        pictures=Pictures(queue=queue, maker=previews),
        database=database,
        book=book,
        templates=templates,
        metrics=metrics,
        clock=clock,
    )
    account = AccountPages(
        signing_in=signing_in, desk=desk, book=book, templates=templates, metrics=metrics
    )
    return Site(
        signing_in=signing_in,
        account=account,
        review=review,
        lead=_lead_pages(review),
        listed=QueuePage(queue=queue, policies=policies, templates=templates, clock=clock),
        groups=GroupPages(groups=groups, review=review, templates=templates, clock=clock),
        overview=_overview_page(review, figures, quality, options.limits),
        quality=QualityPages(quality=quality, policies=policies, templates=templates, clock=clock),
        choice=ChoicePage(desk=desk, policies=policies, templates=templates),
        templates=templates,
        origins=options.origins,
    ).app()


def _sessions(
    options: ConsoleOptions,
    accounts: Callable[[], Accounts],
    database: ConsoleDatabase,
    clock: Callable[[], float],
) -> Sessions:
    return Sessions(
        database=database,
        accounts=accounts,
        clock=clock,
        idle_s=options.idle_s,
        absolute_s=options.absolute_s,
    )


def _desk(
    options: ConsoleOptions,
    queue: ReviewQueue,
    figures: ReviewFigures,
    policies: PolicySource,
    sessions: Sessions,
    clock: Callable[[], float],
) -> Desk:
    return Desk(
        queue=queue,
        sessions=sessions,
        exposure=Exposure(figures=figures, policies=policies, limits=options.limits, clock=clock),
        breaks=Breaks(after_s=options.break_after_s, clock=clock),
    )


def _lead_pages(review: ReviewPages) -> LeadPages:
    """Over the same parts."""
    return LeadPages(
        queue=review.queue,
        groups=review.groups,
        desk=review.desk,
        policies=review.policies,
        pictures=review.pictures,
        database=review.database,
        book=review.book,
        templates=review.templates,
        clock=review.clock,
    )


def _overview_page(
    review: ReviewPages, figures: ReviewFigures, quality: ReviewQuality, limits: Limits
) -> OverviewPage:
    return OverviewPage(
        queue=review.queue,
        figures=KeptFigures(figures=figures, quality=quality, clock=review.clock),
        policies=review.policies,
        database=review.database,
        templates=review.templates,
        limits=limits,
        clock=review.clock,
    )


def _signing_in(
    options: ConsoleOptions, sessions: Sessions, passwords: Passwords, limit: LoginLimit
) -> SigningIn:
    return SigningIn(
        sessions=sessions,
        passwords=passwords,
        limit=limit,
        secure=options.secure,
        proxy=options.proxy,
    )
